"""How the network errs: its keypoints' errors and confidences, to be put onto other bodies.

A network's keypoint is not the truth and some noise: it is on the other leg, or on what hides the
joint, and more often so where its confidence is low. What is learned from rendered people, whose
truth is known, the density of poses learns to expect.
"""

from dataclasses import dataclass

import numpy as np

from ..lifting.frames import upright
from ..prior.fit import facing
from ..skeleton import MIRROR

#: Below it a keypoint is not seen, as for the lifter.
_SEEN = 0.05
#: Fewest keypoints seen.
_ENOUGH = 4
#: Share of all cases, to either side in heading, among which a case is drawn.
_NEAR = 0.06


@dataclass(frozen=True, eq=False)
class Mistakes:
    """M cases, in the order of their headings.

    Args:
        heading: (M,) radians, rising: where the person faces, 0 away from the camera.
        offset: (M, 17, 2) of the keypoints from the truth, statures, to the right and down.
        confidence: (M, 17), 0 not seen.
        sigma: (M, 17) of the keypoints as the network says, statures.
    """

    heading: np.ndarray
    offset: np.ndarray
    confidence: np.ndarray
    sigma: np.ndarray

    def __len__(self):
        return len(self.heading)

    def draw(self, heading, rng):
        """A case for each of N people who face about the same way.

        Args:
            heading: (N,) radians; rng: numpy Generator.

        Returns:
            offset (N, 17, 2), confidence (N, 17), sigma (N, 17).
        """
        wrapped = (heading + np.pi) % (2 * np.pi) - np.pi
        reach = max(1, round(_NEAR * len(self)))
        index = (np.searchsorted(self.heading, wrapped)
                 + rng.integers(-reach, reach + 1, len(wrapped))) % len(self)
        return self.offset[index], self.confidence[index], self.sigma[index]


def mistakes(heading, offset, confidence, sigma):
    """Mistakes of cases in any order, and of their mirror images.

    Args:
        as of :class:`Mistakes`.
    """
    heading = np.concatenate((heading, -heading))
    offset = np.concatenate((offset, offset[:, MIRROR] * [-1.0, 1.0]))
    confidence = np.concatenate((confidence, confidence[:, MIRROR]))
    sigma = np.concatenate((sigma, sigma[:, MIRROR]))
    heading = (heading + np.pi) % (2 * np.pi) - np.pi
    order = np.argsort(heading)
    return Mistakes(heading[order], offset[order], confidence[order], sigma[order])


def collect(estimator, shots, rng):
    """Look at rendered people and see how far off the keypoints are.

    Args:
        estimator: :class:`~lifting_ros.network.estimator.Estimator`.
        shots: iterable of :class:`~lifting_ros.evaluation.chain.Picture`.
        rng: numpy Generator, of boxes that are a little off, as those that follow somebody are.

    Returns:
        Mistakes.

    Raises:
        ValueError: nobody was seen.
    """
    rows = []
    for shot in shots:
        side = rng.uniform(0.9, 1.15)
        middle, half = (shot.box[:2] + shot.box[2:]) / 2, (shot.box[2:] - shot.box[:2]) / 2
        middle = middle + rng.normal(0, 0.03, 2) * 2 * half
        found = estimator.keypoints(
            shot.image, np.concatenate((middle - side * half, middle + side * half))[None])
        seen = found.confidence[0] >= _SEEN
        if seen.sum() < _ENOUGH:
            continue
        unit = shot.camera.focal * shot.stature / np.linalg.norm(shot.joints[0])   # px a stature
        variance = np.trace(found.covariance[0], axis1=1, axis2=2) / 2
        ray = shot.joints[:1] / np.linalg.norm(shot.joints[0])
        level = upright(shot.up[None], ray)[0]
        ahead = level @ ray[0]
        heading = facing((shot.joints @ level.T)[None])[0] - np.arctan2(ahead[1], ahead[0])
        rows.append((heading, (found.xy[0] - shot.keypoints) / unit,
                     np.where(seen, found.confidence[0], 0), np.sqrt(variance) / unit))
    if not rows:
        raise ValueError('nobody is seen in these pictures')
    return mistakes(*(np.array(x) for x in zip(*rows, strict=True)))


def put_on(rays, ahead, distance, drawn):
    """Rays (N, 17, 3) with errors.

    Args:
        rays: unit, z up; ahead: (N, 3) unit, towards the people; distance: (N,) statures.
        drawn: offsets (N, 17, 2) of :meth:`Mistakes.draw`.

    Returns:
        (N, 17, 3) unit.
    """
    left = np.stack((-ahead[:, 1], ahead[:, 0], 0 * ahead[:, 0]), -1)
    left /= np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-9)
    up = np.cross(ahead, left)
    step = drawn / distance[:, None, None]
    out = rays - step[..., :1] * left[:, None] - step[..., 1:] * up[:, None]
    return out / np.linalg.norm(out, axis=-1, keepdims=True)


def from_folders(network, folders, seed=0):
    """:func:`collect` of folders of ``lifting-ros render crops``, with a progress bar.

    Args:
        network: a network's file, None the shipped one. folders: paths.
    """
    from tqdm import tqdm

    from ..evaluation.chain import pictures
    from ..network.estimator import Estimator
    shots = [shot for folder in folders for shot in pictures(folder)]
    return collect(Estimator.from_pretrained(network), tqdm(shots, desc='pictures', mininterval=5),
                   np.random.default_rng(seed))
