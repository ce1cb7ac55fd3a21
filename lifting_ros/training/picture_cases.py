"""Cases for the calibration from pictures: what the network's own keypoints make of a lift.

A keypoint of a picture is not the truth and some noise: it is on the other leg, on a neighbour, on
what hides the joint, and its neighbours are wrong in the same way. How far off that leaves a lift
is measured, on rendered people whose truth is known.
"""

import numpy as np
from tqdm import tqdm

from ..evaluation.chain import pictures
from ..network.estimator import Estimator
from .cases import Cases, Ear, joined


def collect_pictures(lifter, estimator, shots, rng, share=1.0, gravity=0.8, given=0.3):
    """Lift people by the network's keypoints and see how far off they are.

    Args:
        lifter: :class:`~lifting_ros.lifting.Lifter` with a density.
        estimator: :class:`~lifting_ros.network.estimator.Estimator`.
        shots: iterable of :class:`~lifting_ros.evaluation.chain.Picture`.
        rng: numpy Generator.
        share: what each person counts.
        gravity, given: shares of the people whose gravity, and whose stature, is told.

    Returns:
        Cases of those who were lifted.

    Raises:
        ValueError: nobody was.
    """
    lifter, ear = Ear.put_into(lifter)
    parts = []
    for shot in shots:
        side = rng.uniform(0.9, 1.15)     # boxes that follow somebody are never quite right
        middle, half = (shot.box[:2] + shot.box[2:]) / 2, (shot.box[2:] - shot.box[:2]) / 2
        middle = middle + rng.normal(0, 0.03, 2) * 2 * half
        box = np.concatenate((middle - side * half, middle + side * half))
        found = estimator.keypoints(shot.image, box[None])
        up = shot.up if rng.random() < gravity else None
        told = shot.stature * np.exp(rng.normal(0, 0.015)) if rng.random() < given else None
        ear.heard = None
        lifter.lift(found.xy, found.confidence, shot.camera, up, found.covariance, told)
        if ear.heard is not None:
            parts.append(Cases.of(ear.heard, shot.joints[None], share))
    if not parts:
        raise ValueError('nobody in these pictures could be lifted')
    return joined(parts)


def from_folders(lifter, network, folders, rng, count, limit=None):
    """:func:`collect_pictures` of folders of ``lifting-ros render crops``.

    Args:
        lifter: Lifter; network: a network's file, None the shipped one.
        folders: paths; limit: at most so many pictures of each.
        rng: numpy Generator.
        count: how many people all of them together count as.
    """
    estimator = Estimator.from_pretrained(network)
    shots = [shot for folder in folders for shot in pictures(folder, limit)]
    bar = tqdm(shots, desc='pictures', mininterval=5)
    return collect_pictures(lifter, estimator, bar, rng, count / len(shots))
