"""The lifter: keypoints and a camera to a posterior over joints in metres."""

import json
from dataclasses import dataclass

import numpy as np

from ..person import ScaleSource, Source
from ..prior import PosePrior
from ..skeleton import GROUPS, NUM_JOINTS
from . import posterior, scale
from .closed_form import Candidates, ClosedForm
from .density import RayDensity
from .depth import DepthImage
from .frames import across, upright
from .inputs import keypoint_covariances, ray_covariances
from .inputs import rows as check_rows
from .proposal import Proposal
from .refine import Problem, refine, robust, start

_OUT = NUM_JOINTS * 3
#: Fewest joints that are lifted.
MIN_JOINTS = 4
#: What is less sure than this is not seen.
_SEEN = 0.05
#: How well gravity is known where it is given, and the pitches that are tried where it is not.
_TILT_SIGMA = np.radians(2.0)
_UNKNOWN_TILT_SIGMA = np.radians(9.0)
_UNKNOWN_PITCHES = np.radians((0.0, 20.0, 42.0))
_UNKNOWN_LOG_WEIGHT = np.log((0.6, 0.25, 0.15))
#: A joint whose robust weight is below this contradicts the others: it is an error.
_WRONG = 0.25
#: Below this log-likelihood a joint the keypoints are no human pose.
_WORST_FIT = -2.5
#: The nearest and farthest pelvis of a result, metres.
_DISTANCES = (0.25, 80.0)


@dataclass(frozen=True, eq=False)
class Lifted:
    """N lifted people; positions in the camera's optical frame.

    Args:
        joints: (N, 17, 3) m, the posterior's mean; NaN for people that could not be lifted.
        covariance: (N, 17, 3, 3) m^2.
        log_likelihood: (N,) of the keypoints under the best candidate, a seen joint: about -1
            where the keypoints are a human pose, far lower where they are not.
        source: (N, 17) of :class:`~lifting_ros.person.Source`.
        scale_source: (N,) of :class:`~lifting_ros.person.ScaleSource`.
    """

    joints: np.ndarray
    covariance: np.ndarray
    log_likelihood: np.ndarray
    source: np.ndarray
    scale_source: np.ndarray

    def __len__(self):
        return len(self.joints)


class Lifter:
    """Lifts keypoints of people to 3D joints in metres.

    Args:
        prior: :class:`~lifting_ros.prior.PosePrior`.
        candidates: how many (mode, heading) of the closed form are refined for each person,
            beside the one of the density; without a density two more.
        rounds: steps of the refinement; 0 gives the closed form alone.
        calibration: factors on the variance by joint group (skeleton.GROUPS), [where the joint
            is seen, where it is not] or one for both; or None.
        density: :class:`~lifting_ros.lifting.density.RayDensity`, or None: a candidate and a
            prior of its own in the refinement, its precision times ``trust``.
        trust: factor on its precision.
    """

    def __init__(self, prior, candidates=1, rounds=5, calibration=None, density=None,
                 trust=1.0):
        self.prior = prior
        self.closed_form = ClosedForm(prior, headings=16, coarse=6, keep=5)
        self.candidates = candidates + 2 * (density is None)
        self.rounds = rounds
        self.density, self.trust = density, trust
        self._proposal = Proposal(prior)
        self._length_root = None
        if prior.length_mean is not None:
            self._length_root = np.linalg.cholesky(np.linalg.inv(prior.length_covariance)).T
        self.scale = np.ones((2, NUM_JOINTS))
        for group, pair in (calibration or {}).items():
            self.scale[:, GROUPS[group]] = np.reshape(pair, (-1, 1))

    @classmethod
    def from_pretrained(cls, prior=None, density=None):
        """The lifter of the shipped prior and learned density, or of files of them.

        Args:
            prior: a prior's file; None the shipped one.
            density: a learned density's file; None the shipped one, 'none' without one.

        Raises:
            WeightsError: the file is missing or not the expected one.
        """
        model = None if density == 'none' else RayDensity.load(density)
        scales = json.loads(model.metadata.get('calibration', '{}')) if model else None
        return cls(PosePrior.load(prior), density=model, calibration=scales)

    def lift(self, keypoints, confidence, camera, up=None, keypoint_covariance=None,
             stature=None, depth=None, camera_height=None):
        """Lift people.

        Args:
            keypoints: (N, 17, 2) px; NaN where not seen.
            confidence: (N, 17) 0..1; below 0.05 where not seen.
            camera: :class:`~lifting_ros.camera.Camera`.
            up: (3,) or (N, 3) unit vector against gravity, optical frame; None or NaN where
                unknown: it is then estimated, the camera being about level or looking down.
            keypoint_covariance: (N, 17, 2, 2) px^2, or None (about 0.6 % of the person's
                apparent size and 2 px); NaN entries mean unknown.
            stature: (N,) or a number, metres; None or NaN where unknown (the prior's).
            depth: :class:`~lifting_ros.lifting.depth.DepthImage`, or a depth image (H, W)
                registered to ``camera`` (floating metres or whole millimetres; 0 and NaN
                invalid), or a tuple (image, its camera[, rotation (3, 3), translation (3,) m of
                the depth camera in the colour camera's frame]); None without.
            camera_height: (N,) or a number, metres of the camera over the ground on which the
                people stand; None or NaN where unknown. It says something where gravity is
                known and a foot is seen.

        Returns:
            Lifted. A person with fewer than four joints seen, or whose keypoints are no human
            pose, has NaN joints, source UNKNOWN and scale source NONE.

        Raises:
            ValueError: shapes that do not fit together.
        """
        keypoints = np.asarray(keypoints, dtype=np.float64)
        confidence = np.asarray(confidence, dtype=np.float64)
        if keypoints.ndim != 3 or keypoints.shape[1:] != (NUM_JOINTS, 2):
            raise ValueError(f'keypoints must be (N, {NUM_JOINTS}, 2), not {keypoints.shape}')
        n = len(keypoints)
        if confidence.shape != (n, NUM_JOINTS):
            raise ValueError(f'confidence must be ({n}, {NUM_JOINTS}), not {confidence.shape}')
        up = check_rows(up, n, 3, 'up')
        clues = _Clues(check_rows(stature, n, None, 'stature'), DepthImage.of(depth, camera),
                       check_rows(camera_height, n, None, 'camera_height'))
        out = _empty(n)
        if n == 0:
            return out
        rays = camera.rays(np.where(np.abs(keypoints) < 1e7, keypoints, np.nan))
        seen = np.isfinite(rays).all(-1) & (np.nan_to_num(confidence) >= _SEEN)
        people = np.flatnonzero(seen.sum(1) >= MIN_JOINTS)
        if not len(people):
            return out
        weight = np.where(seen, np.clip(np.nan_to_num(confidence), _SEEN, 1.0), 0.0)
        middle = np.where(seen[..., None], rays, 0).sum(1)
        length = np.linalg.norm(middle, axis=1, keepdims=True)
        middle = np.where(length > 1e-6, middle / np.maximum(length, 1e-6), [0.0, 0.0, 1.0])
        rays = np.where(seen[..., None], rays, middle[:, None])
        covariance = keypoint_covariances(keypoints, keypoint_covariance, seen)
        wrong = self._lift(out, people, rays, middle, weight, covariance, camera, up, clues)
        again = people[wrong[people].any(1)]
        if len(again):
            # a joint that no pose explains with the others misleads search and density alike
            self._lift(out, again, rays, middle, np.where(wrong, 0.0, weight), covariance, camera,
                       up, clues)
        return out

    def _lift(self, out, people, rays, middle, weight, covariance, camera, up, clues):
        """Lift ``people`` (indices) and write them into ``out``; all else as in :meth:`lift`,
        rays and middle ray in the optical frame.
        """
        search = self._hypotheses(people, up)
        owner = search.owner
        to_up = upright(search.up, middle[owner])
        turned = rays[owner] @ np.swapaxes(to_up, -1, -2)
        angular = np.sqrt(np.trace(covariance, axis1=-2, axis2=-1) / 2) / camera.focal
        found = self.closed_form.search(turned, weight[owner], angular[owner], self.candidates)
        found, guessed, opinion = self._with_density(found, search, people, weight, angular,
                                                     to_up, turned)
        row, column = self._select(found, search, people, guessed)
        count = row.shape[1]
        flat = row.ravel()
        mode = found.mode[row, column].ravel()
        side = across(turned[flat])
        sizes, told = scale.statures(clues.stature[people], self.prior.stature)
        problem = Problem(
            turned[flat], side, weight[owner[flat]],
            ray_covariances(rays[owner[flat]], side, to_up[flat], covariance[owner[flat]],
                            camera),
            self.prior.mean[mode], self.prior.basis[mode],
            self.prior.psi[mode] + self.prior.skeleton_noise ** 2, search.sigma[flat],
            np.repeat(sizes, count, axis=0), length_mean=self.prior.length_mean,
            length_root=self._length_root,
            **({} if opinion is None else {
                'pose_mean': opinion[0][flat], 'pose_precision': opinion[1][flat]}))
        state = start(problem, found.coefficients[row, column].reshape(len(flat), -1),
                      found.heading[row, column].ravel(),
                      found.translation[row, column].reshape(-1, 3))
        state, linear = refine(problem, state, self.rounds)
        height = clues.height[owner[flat]]
        if clues.depth is not None or np.isfinite(height).any():
            problem, state = scale.marked(problem, state, linear, rays[owner[flat]], clues.depth,
                                          height, search.known[flat])
            state, linear = refine(problem, state, max(self.rounds, 1))
        mean, spread, evidence = posterior.joints(problem, state, linear)
        bad = ~np.isfinite(evidence) | ~np.isfinite(found.score[row, column].ravel())
        evidence = np.where(bad, -np.inf, evidence + np.log(self.prior.weight[mode])
                            + search.log_weight[flat])
        turn = to_up[flat][:, None]
        mean = np.where(bad[:, None, None], 0, mean @ to_up[flat])
        spread = np.where(bad[:, None, None, None], 0,
                          np.swapaxes(turn, -1, -2) @ spread @ turn)
        shape = (len(people), count)
        joints, spread, _ = posterior.mix(
            mean.reshape(shape + mean.shape[1:]), spread.reshape(shape + spread.shape[1:]),
            evidence.reshape(shape))
        chosen = evidence.reshape(shape).argmax(1) + np.arange(len(people)) * count
        seen = problem.confidence[chosen] > 0
        fit, belief = _fit(linear, problem, chosen)
        wrong = np.zeros(weight.shape, dtype=bool)
        few = seen & (belief < _WRONG)
        few &= ((few.sum(1) <= 3) & ((seen & ~few).sum(1) >= 6))[:, None]
        wrong[people] = few
        distance = np.linalg.norm(joints[:, 0], axis=-1)
        ok = (np.isfinite(joints).all((1, 2)) & np.isfinite(spread).all((1, 2, 3))
              & ~bad.reshape(shape).all(1) & (distance > _DISTANCES[0])
              & (distance < _DISTANCES[1]) & (fit > _WORST_FIT)
              & (np.where(seen, joints[..., 2], 1) > 0.05).all(1))
        people = people[ok]
        out.joints[people] = joints[ok]
        factor = np.where(seen[ok], *self.scale)
        out.covariance[people] = spread[ok] * factor[..., None, None]
        out.log_likelihood[people] = fit[ok]
        fixed, by_depth = scale.sources(problem, linear, chosen, told)
        source = np.where(seen, Source.OBSERVED, Source.LIFTED)
        out.source[people] = np.where(by_depth & seen, Source.DEPTH, source)[ok]
        out.scale_source[people] = fixed[ok]
        return wrong

    def _hypotheses(self, people, up):
        """One a person where gravity is known; one a pitch of the camera where it is not."""
        length = np.linalg.norm(np.nan_to_num(up[people]), axis=1)
        known = np.isfinite(up[people]).all(1) & (length > 1e-6)
        owner, ups, sigma, log = [], [], [], []
        for person, sure, size in zip(people, known, length, strict=True):
            if sure:
                owner.append(person)
                ups.append(up[person] / size)
                sigma.append(_TILT_SIGMA)
                log.append(0.0)
            else:
                owner.extend([person] * len(_UNKNOWN_PITCHES))
                ups.extend([0.0, -np.cos(p), -np.sin(p)] for p in _UNKNOWN_PITCHES)
                sigma.extend([_UNKNOWN_TILT_SIGMA] * len(_UNKNOWN_PITCHES))
                log.extend(_UNKNOWN_LOG_WEIGHT)
        return _Hypotheses(np.array(owner), np.array(ups), np.array(sigma), np.array(log),
                           np.isin(owner, people[known]))

    def _with_density(self, found, search, people, weight, angular, to_up, turned):
        """The learned density's candidate beside those found, and its opinion in every row.

        Where gravity is not known it is asked once, for a level camera and saying so, and what
        it answers is turned into the frame of each hypothesis.

        Returns:
            Candidates with a column more, how many columns are the density's, and None or
            (mean (R, 17, 3), precision (R, 51, 51)) of the rows.
        """
        if self.density is None:
            return found, 0, None
        first = np.searchsorted(search.owner, people)
        known = search.known[first]
        # the first hypothesis of who has no gravity is a level camera
        mean, covariance = self.density(turned[first], weight[people], angular[people], known)
        covariance += self.prior.skeleton_noise ** 2 * np.eye(covariance.shape[-1])
        precision = self.trust * np.linalg.inv(covariance)
        if not known.all():
            person = np.searchsorted(people, search.owner)
            change = to_up @ np.swapaxes(to_up[first][person], 1, 2)
            back = np.swapaxes(change, 1, 2)
            mean = mean[person] @ back
            rows = change[:, None] @ precision[person].reshape(-1, NUM_JOINTS, 3, _OUT)
            precision = (rows.reshape(-1, _OUT, NUM_JOINTS, 3) @ back[:, None]).reshape(
                -1, _OUT, _OUT)
        guess = self._proposal(mean, turned, weight[search.owner])
        both = Candidates(*(np.concatenate((getattr(guess, f), getattr(found, f)), axis=1)
                            for f in found.__dict__))
        return both, 1, (mean, precision)

    def _select(self, found, search, people, guessed):
        """Row and column (people, C) of the best candidates of each person over its rows; the
        first ``guessed`` columns are the density's, of which the best is always taken.
        """
        score = found.score - 2 * search.log_weight[:, None]
        rows, columns = [], []
        for person in people:
            mine = np.flatnonzero(search.owner == person)
            row, column = [], []
            for part, at, keep in ((score[mine, :guessed], 0, guessed),
                                   (score[mine, guessed:], guessed, self.candidates)):
                order = np.argsort(part.ravel())[:keep]
                row.extend(mine[order // max(part.shape[1], 1)])
                column.extend(at + order % max(part.shape[1], 1))
            rows.append(row)
            columns.append(column)
        return np.array(rows), np.array(columns)


@dataclass(frozen=True, eq=False)
class _Clues:
    """What is known about the scale: stature (N,) m, DepthImage or None, height (N,) m."""

    stature: np.ndarray
    depth: DepthImage | None
    height: np.ndarray


@dataclass(frozen=True, eq=False)
class _Hypotheses:
    """Rows of the search: whose (R,), up (R, 3) optical frame, how sure of it (R,) radians, log
    weight (R,), and whether it was given (R,).
    """

    owner: np.ndarray
    up: np.ndarray
    sigma: np.ndarray
    log_weight: np.ndarray
    known: np.ndarray


def _fit(linear, problem, rows):
    """How well the chosen rows explain what is seen: mean of -robust cost / 2 a joint (rows,);
    and the robust weight of each joint (rows, 17).
    """
    residual, spread = linear.residual[rows], linear.spread[rows]
    white = np.linalg.solve(spread, residual[..., None])[..., 0]
    value, belief = robust(np.sqrt((residual * white).sum(-1)))
    c = problem.confidence[rows]
    return -0.5 * (c * value).sum(1) / np.maximum(c.sum(1), 1e-9), belief


def _empty(n):
    return Lifted(np.full((n, NUM_JOINTS, 3), np.nan), np.full((n, NUM_JOINTS, 3, 3), np.nan),
                  np.full(n, np.nan), np.full((n, NUM_JOINTS), Source.UNKNOWN, dtype=np.uint8),
                  np.full(n, ScaleSource.NONE, dtype=np.uint8))
