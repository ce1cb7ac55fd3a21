"""From a guessed pose to a candidate of the mixture: mode, heading, coefficients, place."""

import numpy as np

from ..matrices import inverse
from ..prior.fit import align, facing, turn
from .closed_form import Candidates

_EYE = np.eye(3)
_NOISE = 0.03   # statures: how far the guess is from the pose, roughly


class Proposal:
    """Projects poses onto the prior's modes.

    Args:
        prior: :class:`~lifting_ros.prior.PosePrior`.
    """

    def __init__(self, prior):
        k, m = prior.modes, prior.dimensions
        self.prior = prior
        e = prior.basis.reshape(k, m, -1)
        noise = (prior.psi + _NOISE ** 2)[:, None, None]
        covariance = np.swapaxes(e, 1, 2) @ e + noise * np.eye(e.shape[-1])
        factor = np.linalg.cholesky(covariance)
        self.white = np.swapaxes(np.linalg.inv(factor), 1, 2)
        self.constant = (2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
                         - 2 * np.log(prior.weight))
        # posterior mean of the coefficients of a pose seen with that noise
        self.gain = np.linalg.solve(e @ np.swapaxes(e, 1, 2) + noise * np.eye(m), e)

    def __call__(self, poses, rays, confidence):
        """One candidate a person.

        Args:
            poses: (N, 17, 3) about the pelvis, statures, z up.
            rays: (N, 17, 3) unit, z up; confidence: (N, 17).

        Returns:
            Candidates with one column; its score is the mixture's alone.
        """
        n = len(poses)
        heading = facing(poses)
        flat = turn(poses, -heading).reshape(n, 1, -1) - self.prior.mean.reshape(
            1, self.prior.modes, -1)
        score = ((flat[..., None, :] @ self.white)[..., 0, :] ** 2).sum(-1) + self.constant
        mode = score.argmin(1)
        # facing is the shoulders' and hips'; a mode has its own idea of it
        heading = heading - align(turn(poses, -heading), self.prior.mean[mode])
        off = turn(poses, -heading) - self.prior.mean[mode]
        a = (self.gain[mode] @ off.reshape(n, -1, 1))[..., 0]
        place = translation(poses, rays, confidence)
        return Candidates(mode[:, None], heading[:, None], a[:, None], place[:, None],
                          score[np.arange(n), mode][:, None])


def translation(poses, rays, confidence):
    """Where the pelvis is (N, 3), by least squares of the distances from the rays.

    Args:
        poses: (N, 17, 3) about the pelvis; rays: (N, 17, 3) unit; confidence: (N, 17).
    """
    weighed = confidence[..., None] * rays
    along = (rays * poses).sum(-1, keepdims=True)
    off = (confidence[:, None] @ poses)[:, 0] - (along * weighed).sum(1)
    square = ((confidence.sum(1) + 1e-6)[:, None, None] * _EYE
              - np.swapaxes(rays, 1, 2) @ weighed)
    return -(inverse(square) @ off[..., None])[..., 0]
