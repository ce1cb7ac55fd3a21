"""The lifter: keypoints and a camera to a posterior over joints in metres."""

import json
from dataclasses import dataclass

import numpy as np

from ..person import ScaleSource, Source
from ..prior import PosePrior
from ..skeleton import GROUPS, NUM_JOINTS
from .believe import Believer
from .calibration import Calibration
from .density import RayDensity
from .depth import DepthImage
from .device import OnDevice, quick
from .inputs import Sight, covariance_rows, keypoint_covariances
from .inputs import rows as check_rows
from .search import Searcher

#: Fewest joints that are lifted.
MIN_JOINTS = 4
#: What is less sure than this is not seen.
_SEEN = 0.05
#: The nearest and farthest pelvis of a result, metres.
_DISTANCES = (0.25, 80.0)


@dataclass(frozen=True, eq=False)
class Lifted:
    """N lifted people; positions in the camera's optical frame.

    Args:
        joints: (N, 17, 3) m, the posterior's mean; NaN for people that could not be lifted.
        covariance: (N, 17, 3, 3) m^2.
        log_likelihood: (N,) of the keypoints given one another, a seen joint: -0.1 to -0.5
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

    With a learned density its Gaussian is conditioned on what is seen
    (:mod:`lifting_ros.lifting.believe`); without one the prior's modes are searched and the best
    refined (:mod:`lifting_ros.lifting.search`).

    Args:
        prior: :class:`~lifting_ros.prior.PosePrior`.
        candidates: without a density, how many (mode, heading) of the closed form are refined.
        rounds: without a density, steps of the refinement; 0 gives the closed form alone.
        calibration: factors on the density's variance (not on the stature's) by joint group
            (skeleton.GROUPS), [where the joint is seen, where it is not] or one for both; or a
            :class:`~lifting_ros.lifting.calibration.Calibration`; or None.
        density: :class:`~lifting_ros.lifting.density.RayDensity`, or None.
    """

    def __init__(self, prior, candidates=3, rounds=5, calibration=None, density=None):
        self.prior, self.density = prior, density
        self._search = Searcher(prior, candidates, rounds)
        factors = calibration
        if not isinstance(calibration, Calibration):
            factors = np.ones((2, NUM_JOINTS))
            for group, pair in (calibration or {}).items():
                factors[:, GROUPS[group]] = np.reshape(pair, (-1, 1))
        self._way = (self._search if density is None
                     else Believer(prior, density, factors))

    @property
    def length_root(self):
        """W (12, 12) with W^T W the precision of the lengths of bones, or None."""
        return self._search.length_root

    @property
    def closed_form(self):
        """The closed form that is searched without a density."""
        return self._search.closed_form

    @property
    def device(self):
        """Where the first look is taken: 'cpu', by numpy, or a torch device's name."""
        look = getattr(self._way, 'look', None)
        return 'cpu' if look is None else str(look.device)

    def device_milliseconds(self, n):
        """Of a lift of ``n`` people just done on a device: the milliseconds that its graphs alone
        take by the device's clock (None but on CUDA), and how many it looked at twice.
        """
        again = self._way.looked_again
        return self._way.look.milliseconds(n, again if self._way.second else 0), again

    def look_on(self, make, device):
        """Take the first look in torch from now on (:mod:`lifting_ros.lifting.device`): of
        :func:`lifting_ros.network.look.lift_on`, which is what users call.

        Args:
            make: :class:`lifting_ros.network.look.Look`; device: a torch device or its name.

        Returns:
            whether it is; where not, a warning has said why, and numpy goes on.
        """
        if self.density is None:
            return False
        self._way = quick(getattr(self._way, 'believer', self._way), make, device)
        return isinstance(self._way, OnDevice)

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
        scales = None
        if model:
            scales = (Calibration.of(model.layers)
                      or json.loads(model.metadata.get('calibration', '{}')))
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
        stature = check_rows(stature, n, None, 'stature')
        height = check_rows(camera_height, n, None, 'camera_height')
        depth = DepthImage.of(depth, camera)
        if n == 0:
            return _empty(n)
        rays = camera.rays(np.where(np.abs(keypoints) < 1e7, keypoints, np.nan))
        sure = np.nan_to_num(confidence)
        seen = np.isfinite(rays).all(-1) & (sure >= _SEEN)
        people = np.flatnonzero(seen.sum(1) >= MIN_JOINTS)
        if not len(people):
            return _empty(n)
        seen, rays = seen[people], rays[people]
        middle = np.where(seen[..., None], rays, 0).sum(1)
        length = np.sqrt((middle ** 2).sum(1, keepdims=True))
        middle = np.where(length > 1e-6, middle / np.maximum(length, 1e-6), [0.0, 0.0, 1.0])
        given = covariance_rows(keypoint_covariance, n, people)
        sight = Sight(
            np.where(seen[..., None], rays, middle[:, None]), middle,
            np.where(seen, np.clip(sure[people], _SEEN, 1.0), 0.0),
            keypoint_covariances(keypoints[people], given, seen), camera, up[people],
            stature[people], height[people], depth)
        return self._lifted(n, people, sight, self._way(sight))

    @staticmethod
    def _lifted(n, people, sight, answer):
        """Lifted of n people, of an answer about ``people`` (indices) where it makes sense."""
        seen = sight.weight > 0
        distance = np.sqrt((answer.joints[:, 0] ** 2).sum(-1))
        ok = (answer.ok & np.isfinite(answer.joints).all((1, 2))
              & np.isfinite(answer.covariance).all((1, 2, 3))
              & (distance > _DISTANCES[0]) & (distance < _DISTANCES[1])
              & (np.where(seen, answer.joints[..., 2], 1) > 0.05).all(1))
        source = np.where(seen, Source.OBSERVED, Source.LIFTED)
        source = np.where(answer.by_depth & seen, Source.DEPTH, source)
        if len(people) == n and ok.all():       # nothing to fill up: no copies
            return Lifted(answer.joints, answer.covariance, answer.fit, source.astype(np.uint8),
                          answer.scale_source.astype(np.uint8))
        out, people = _empty(n), people[ok]
        out.joints[people] = answer.joints[ok]
        out.covariance[people] = answer.covariance[ok]
        out.log_likelihood[people] = answer.fit[ok]
        out.source[people] = source[ok]
        out.scale_source[people] = answer.scale_source[ok]
        return out


def _empty(n):
    return Lifted(np.full((n, NUM_JOINTS, 3), np.nan), np.full((n, NUM_JOINTS, 3, 3), np.nan),
                  np.full(n, np.nan), np.full((n, NUM_JOINTS), Source.UNKNOWN, dtype=np.uint8),
                  np.full(n, ScaleSource.NONE, dtype=np.uint8))
