"""Lifting by the prior alone: search over modes and headings, then refinement (design.md 5).

Used where there is no learned density.
"""

from dataclasses import dataclass

import numpy as np

from . import posterior, scale
from .closed_form import ClosedForm
from .frames import across, upright
from .inputs import Answer, ray_covariances
from .problem import Problem, robust, start
from .refine import refine

#: How well gravity is known where it is given, and the pitches that are tried where it is not.
_TILT_SIGMA = np.radians(2.0)
_UNKNOWN_TILT_SIGMA = np.radians(9.0)
_UNKNOWN_PITCHES = np.radians((0.0, 20.0, 42.0))
_UNKNOWN_LOG_WEIGHT = np.log((0.6, 0.25, 0.15))
#: A joint whose robust weight is below this contradicts the others: it is an error.
_WRONG = 0.25
#: Below this log-likelihood a joint the keypoints are no human pose.
_WORST_FIT = -2.5


class Searcher:
    """Lifts what is seen by closed form and refinement.

    Args:
        prior: :class:`~lifting_ros.prior.PosePrior`.
        candidates: how many (mode, heading) of the closed form are refined for each person.
        rounds: steps of the refinement; 0 gives the closed form alone.
    """

    def __init__(self, prior, candidates=3, rounds=5):
        self.prior, self.candidates, self.rounds = prior, candidates, rounds
        self._made = None
        self.length_root = None
        if prior.length_mean is not None:
            self.length_root = np.linalg.cholesky(np.linalg.inv(prior.length_covariance)).T

    @property
    def closed_form(self):
        """The closed form; its tables are made when they are first needed."""
        if self._made is None:
            self._made = ClosedForm(self.prior, headings=16, coarse=6, keep=5)
        return self._made

    def __call__(self, sight):
        """Lift :class:`~lifting_ros.lifting.inputs.Sight`: Answer."""
        answer, wrong = self._lift(sight)
        again = np.flatnonzero(wrong.any(1))
        if len(again):
            # a joint that no pose explains with the others misleads the search
            part = sight[again]
            part.weight[wrong[again]] = 0
            answer[again] = self._lift(part)[0]
        return answer

    def _lift(self, sight):
        """Answer, and which joints (N, 17) contradict the others."""
        n = len(sight)
        search = self._hypotheses(sight)
        owner = search.owner
        to_up = upright(search.up, sight.middle[owner])
        turned = sight.rays[owner] @ np.swapaxes(to_up, -1, -2)
        weight, angular = sight.weight[owner], sight.angular()[owner]
        found = self.closed_form.search(turned, weight, angular, self.candidates)
        row, column = self._select(found, search, n)
        count = row.shape[1]
        flat = row.ravel()
        mode = found.mode[row, column].ravel()
        side = across(turned[flat])
        sizes, told = scale.statures(sight.stature, self.prior.stature)
        problem = Problem(
            turned[flat], side, weight[flat],
            ray_covariances(sight.rays[owner[flat]], side, to_up[flat],
                            sight.covariance[owner[flat]], sight.camera),
            self.prior.mean[mode], self.prior.basis[mode],
            self.prior.psi[mode] + self.prior.skeleton_noise ** 2, search.sigma[flat],
            np.repeat(sizes, count, axis=0), length_mean=self.prior.length_mean,
            length_root=self.length_root)
        state = start(problem, found.coefficients[row, column].reshape(len(flat), -1),
                      found.heading[row, column].ravel(),
                      found.translation[row, column].reshape(-1, 3))
        state, linear = refine(problem, state, self.rounds)
        height = sight.height[owner[flat]]
        if sight.depth is not None or np.isfinite(height).any():
            problem, state = scale.marked(problem, state, linear, sight.rays[owner[flat]],
                                          sight.depth, height, search.known[flat])
            state, linear = refine(problem, state, max(self.rounds, 1))
        mean, spread, evidence = posterior.joints(problem, state, linear)
        bad = ~np.isfinite(evidence) | ~np.isfinite(found.score[row, column].ravel())
        evidence = np.where(bad, -np.inf, evidence + np.log(self.prior.weight[mode])
                            + search.log_weight[flat])
        turn = to_up[flat][:, None]
        mean = np.where(bad[:, None, None], 0, mean @ to_up[flat])
        spread = np.where(bad[:, None, None, None], 0,
                          np.swapaxes(turn, -1, -2) @ spread @ turn)
        shape = (n, count)
        joints, spread, _ = posterior.mix(
            mean.reshape(shape + mean.shape[1:]), spread.reshape(shape + spread.shape[1:]),
            evidence.reshape(shape))
        chosen = evidence.reshape(shape).argmax(1) + np.arange(n) * count
        seen = problem.confidence[chosen] > 0
        fit, belief = _fit(linear, problem, chosen)
        wrong = seen & (belief < _WRONG)
        wrong &= ((wrong.sum(1) <= 3) & ((seen & ~wrong).sum(1) >= 6))[:, None]
        ok = ~bad.reshape(shape).all(1) & (fit > _WORST_FIT)
        fixed, by_depth = scale.sources(problem, linear, chosen, told)
        return Answer(joints, spread, fit, ok, by_depth, fixed), wrong

    @staticmethod
    def _hypotheses(sight):
        """One a person where gravity is known; one a pitch of the camera where it is not."""
        ups, known = sight.gravity()
        owner, up, sigma, log = [], [], [], []
        for person, sure in enumerate(known):
            if sure:
                owner.append(person)
                up.append(ups[person])
                sigma.append(_TILT_SIGMA)
                log.append(0.0)
            else:
                owner.extend([person] * len(_UNKNOWN_PITCHES))
                up.extend([0.0, -np.cos(p), -np.sin(p)] for p in _UNKNOWN_PITCHES)
                sigma.extend([_UNKNOWN_TILT_SIGMA] * len(_UNKNOWN_PITCHES))
                log.extend(_UNKNOWN_LOG_WEIGHT)
        owner = np.array(owner)
        return _Hypotheses(owner, np.array(up), np.array(sigma), np.array(log), known[owner])

    def _select(self, found, search, n):
        """Row and column (people, C) of the best candidates of each person over its rows."""
        score = found.score - 2 * search.log_weight[:, None]
        rows, columns = [], []
        for person in range(n):
            mine = np.flatnonzero(search.owner == person)
            order = np.argsort(score[mine].ravel())[:self.candidates]
            rows.append(mine[order // score.shape[1]])
            columns.append(order % score.shape[1])
        return np.array(rows), np.array(columns)


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
