"""The lifter: keypoints and a camera to a posterior over joints in metres."""

from dataclasses import dataclass

import numpy as np

from ..person import ScaleSource, Source
from ..prior import PosePrior
from ..skeleton import GROUPS, NUM_JOINTS
from . import posterior
from .closed_form import ClosedForm
from .frames import across, upright
from .refine import Problem, refine, robust, start

#: Fewest joints that are lifted.
MIN_JOINTS = 4
#: sigma of a keypoint whose covariance is not given: a part of the person's apparent size, and
#: pixels.
_KEYPOINT_SIGMA = (0.006, 2.0)
#: How well gravity is known where it is given, and the pitches that are tried where it is not.
_TILT_SIGMA = np.radians(2.0)
_UNKNOWN_TILT_SIGMA = np.radians(9.0)
_UNKNOWN_PITCHES = np.radians((0.0, 20.0, 42.0))
_UNKNOWN_LOG_WEIGHT = np.log((0.6, 0.25, 0.15))
#: A given stature is believed to this relative sigma.
_GIVEN_STATURE_SIGMA = 0.012
#: Below this log-likelihood a joint the keypoints are no human pose.
_WORST_FIT = -6.0
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
        candidates: how many (mode, heading) are refined for each person.
        rounds: steps of the refinement; 0 gives the closed form alone.
        calibration: factors on the variance by joint group (skeleton.GROUPS), or None.
    """

    def __init__(self, prior, candidates=3, rounds=8, calibration=None):
        self.prior = prior
        self.closed_form = ClosedForm(prior, headings=16, coarse=8, keep=8)
        self.candidates = candidates
        self.rounds = rounds
        self._length_root = None
        if prior.length_mean is not None:
            self._length_root = np.linalg.cholesky(np.linalg.inv(prior.length_covariance)).T
        self.scale = np.ones(NUM_JOINTS)
        for group, factor in (calibration or {}).items():
            self.scale[list(GROUPS[group])] = factor

    @classmethod
    def from_pretrained(cls, prior=None):
        """The lifter of the shipped prior, or of a prior's file.

        Raises:
            WeightsError: the file is missing or not the expected one.
        """
        return cls(PosePrior.load(prior))

    def lift(self, keypoints, confidence, camera, up=None, keypoint_covariance=None,
             stature=None):
        """Lift people.

        Args:
            keypoints: (N, 17, 2) px; NaN where not seen.
            confidence: (N, 17) 0..1; 0 where not seen.
            camera: :class:`~lifting_ros.camera.Camera`.
            up: (3,) or (N, 3) unit vector against gravity, optical frame; None or NaN where
                unknown: it is then estimated, the camera being about level or looking down.
            keypoint_covariance: (N, 17, 2, 2) px^2, or None (about 0.6 % of the person's
                apparent size and 2 px); NaN entries mean unknown.
            stature: (N,) or a number, metres; None or NaN where unknown (the prior's).

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
        up = _rows(up, n, 3, 'up')
        stature = _rows(stature, n, None, 'stature')
        out = _empty(n)
        if n == 0:
            return out
        rays = camera.rays(np.where(np.abs(keypoints) < 1e7, keypoints, np.nan))
        seen = np.isfinite(rays).all(-1) & (np.nan_to_num(confidence) > 0)
        people = np.flatnonzero(seen.sum(1) >= MIN_JOINTS)
        if not len(people):
            return out
        weight = np.where(seen, np.clip(np.nan_to_num(confidence), 0.01, 1.0), 0.0)
        middle = np.where(seen[..., None], rays, 0).sum(1)
        length = np.linalg.norm(middle, axis=1, keepdims=True)
        middle = np.where(length > 1e-6, middle / np.maximum(length, 1e-6), [0.0, 0.0, 1.0])
        rays = np.where(seen[..., None], rays, middle[:, None])
        covariance = _covariance(keypoints, keypoint_covariance, seen)
        self._lift(out, people, keypoints, rays, middle, weight, covariance, camera, up, stature)
        return out

    def _lift(self, out, people, keypoints, rays, middle, weight, covariance, camera, up,
              stature):
        known = np.isfinite(up[people]).all(1) & (np.linalg.norm(
            np.nan_to_num(up[people]), axis=1) > 1e-6)
        # rows of the search: one a person where gravity is known, one a pitch where it is not
        owner, tilt_sigma, tilt_log, ups = [], [], [], []
        for person, sure in zip(people, known):
            if sure:
                owner.append(person)
                ups.append(up[person] / np.linalg.norm(up[person]))
                tilt_sigma.append(_TILT_SIGMA)
                tilt_log.append(0.0)
                continue
            for pitch, log in zip(_UNKNOWN_PITCHES, _UNKNOWN_LOG_WEIGHT):
                owner.append(person)
                ups.append([0.0, -np.cos(pitch), -np.sin(pitch)])
                tilt_sigma.append(_UNKNOWN_TILT_SIGMA)
                tilt_log.append(log)
        owner = np.array(owner)
        tilt_sigma, tilt_log = np.array(tilt_sigma), np.array(tilt_log)
        to_up = upright(np.array(ups), middle[owner])
        turned = rays[owner] @ np.swapaxes(to_up, -1, -2)
        angular = np.sqrt(np.trace(covariance[owner], axis1=-2, axis2=-1) / 2) / camera.focal
        found = self.closed_form.search(turned, weight[owner], angular, self.candidates)
        best = self._select(found, owner, people, tilt_log)
        row, column = best                                  # (people, C) each
        count = row.shape[1]
        flat = row.ravel()
        mode = found.mode[row, column].ravel()
        side = across(turned[flat])
        given = stature[people]
        size = np.where(np.isfinite(given) & (given > 0.3) & (given < 2.6), given, np.nan)
        sizes = np.stack((np.where(np.isfinite(size), np.log(np.where(
            np.isfinite(size), size, 1.0)), self.prior.stature[0]),
            np.where(np.isfinite(size), _GIVEN_STATURE_SIGMA, self.prior.stature[1])), -1)
        problem = Problem(
            turned[flat], side, weight[owner[flat]],
            _ray_covariance(rays[owner[flat]], side, to_up[flat], covariance[owner[flat]],
                            camera, keypoints[owner[flat]]),
            self.prior.mean[mode], self.prior.basis[mode],
            self.prior.psi[mode] + self.prior.skeleton_noise ** 2, tilt_sigma[flat],
            np.repeat(sizes, count, axis=0), length_mean=self.prior.length_mean,
            length_root=self._length_root)
        state = start(problem, found.coefficients[row, column].reshape(len(flat), -1),
                      found.heading[row, column].ravel(),
                      found.translation[row, column].reshape(-1, 3))
        state, linear = refine(problem, state, self.rounds)
        mean, spread, evidence = posterior.joints(problem, state, linear)
        bad = ~np.isfinite(evidence) | ~np.isfinite(found.score[row, column].ravel())
        evidence = np.where(bad, -np.inf, evidence + np.log(self.prior.weight[mode])
                            + tilt_log[flat])
        turn = to_up[flat][:, None]
        mean = np.where(bad[:, None, None], 0, mean @ to_up[flat])
        spread = np.where(bad[:, None, None, None], 0,
                          np.swapaxes(turn, -1, -2) @ spread @ turn)
        shape = (len(people), count)
        joints, covar, _ = posterior.mix(
            mean.reshape(shape + mean.shape[1:]), spread.reshape(shape + spread.shape[1:]),
            evidence.reshape(shape))
        chosen = evidence.reshape(shape).argmax(1) + np.arange(len(people)) * count
        seen = problem.confidence[chosen] > 0
        fit = _fit(linear, problem, chosen)
        distance = np.linalg.norm(joints[:, 0], axis=-1)
        ok = (np.isfinite(joints).all((1, 2)) & np.isfinite(covar).all((1, 2, 3))
              & ~bad.reshape(shape).all(1) & (distance > _DISTANCES[0])
              & (distance < _DISTANCES[1]) & (fit > _WORST_FIT)
              & (np.where(seen, joints[..., 2], 1) > 0.05).all(1))
        covar = covar * self.scale[:, None, None]
        people, joints, covar = people[ok], joints[ok], covar[ok]
        out.joints[people], out.covariance[people] = joints, covar
        out.log_likelihood[people] = fit[ok]
        out.source[people] = np.where(seen[ok], Source.OBSERVED, Source.LIFTED)
        out.scale_source[people] = np.where(np.isfinite(size[ok]), ScaleSource.STATURE,
                                            ScaleSource.PRIOR)

    def _select(self, found, owner, people, tilt_log):
        """Row and column (people, C) of the best candidates of each person over its rows."""
        score = found.score - 2 * tilt_log[:, None]
        rows, columns = [], []
        for person in people:
            mine = np.flatnonzero(owner == person)
            order = np.argsort(score[mine].ravel())[:self.candidates]
            rows.append(mine[order // score.shape[1]])
            columns.append(order % score.shape[1])
        return np.array(rows), np.array(columns)


def _fit(linear, problem, rows):
    """How well the chosen rows explain what is seen: mean of -robust cost / 2 a joint."""
    residual, spread = linear.residual[rows], linear.spread[rows]
    white = np.linalg.solve(spread, residual[..., None])[..., 0]
    value, _ = robust(np.sqrt((residual * white).sum(-1)))
    c = problem.confidence[rows]
    return -0.5 * (c * value).sum(1) / np.maximum(c.sum(1), 1e-9)


def _rows(value, n, width, name):
    """A number, a vector or rows of them as (n,) or (n, width) float64; None is NaN."""
    shape = (n,) if width is None else (n, width)
    if value is None:
        return np.full(shape, np.nan)
    try:
        return np.broadcast_to(np.asarray(value, dtype=np.float64), shape)
    except ValueError:
        raise ValueError(f'{name} must be of shape {shape} or one for all, not '
                         f'{np.shape(value)}') from None


def _empty(n):
    return Lifted(np.full((n, NUM_JOINTS, 3), np.nan), np.full((n, NUM_JOINTS, 3, 3), np.nan),
                  np.full(n, np.nan), np.full((n, NUM_JOINTS), Source.UNKNOWN, dtype=np.uint8),
                  np.full(n, ScaleSource.NONE, dtype=np.uint8))


def _covariance(keypoints, given, seen):
    """Covariances of the keypoints (N, 17, 2, 2) px^2, the default where none is given."""
    xy = np.where(seen[..., None], keypoints, np.nan)
    low = np.where(seen[..., None], xy, np.inf).min(1)
    high = np.where(seen[..., None], xy, -np.inf).max(1)
    with np.errstate(invalid='ignore'):
        size = np.nan_to_num(np.linalg.norm(high - low, axis=-1), posinf=0)
    part, pixels = _KEYPOINT_SIGMA
    default = ((part * size) ** 2 + pixels ** 2)[:, None, None, None] * np.eye(2)
    default = np.broadcast_to(default, keypoints.shape[:2] + (2, 2))
    if given is None:
        return default
    given = np.asarray(given, dtype=np.float64)
    if given.shape != default.shape:
        raise ValueError(f'keypoint_covariance must be {default.shape}, not {given.shape}')
    a, b, c = given[..., 0, 0], (given[..., 0, 1] + given[..., 1, 0]) / 2, given[..., 1, 1]
    good = np.isfinite(given).all((-1, -2)) & (a > 0) & (c > 0) & (a * c > b * b)
    floor = 0.25 * np.eye(2)  # half a pixel: nothing is located better
    return np.where(good[..., None, None], given + floor, default)


def _ray_covariance(rays, side, to_up, covariance, camera, keypoints):
    """Covariance of rays in the two directions across them, radians^2: (B, 17, 2, 2).

    A pixel moves a ray by d(ray) = (I - d d^T) / |(x, y, 1)| times K^-1 of the step.
    """
    inverse = np.linalg.inv(camera.K[:2, :2])
    scale = rays[..., 2:3, None]  # 1 / |(x, y, 1)|
    camera_side = side @ to_up[:, None]
    jac = camera_side[..., :2] @ inverse * scale
    return jac @ covariance @ np.swapaxes(jac, -1, -2)
