"""Measures of keypoints on photographs: PCK of the torso and OKS."""

import numpy as np

from ..skeleton import INDEX, LIMBS, MIRROR, NOSE

#: COCO's constants of the joints that OKS is measured on: nose and the twelve limb joints.
_KAPPA = {'nose': .026, 'shoulder': .079, 'elbow': .072, 'wrist': .062, 'hip': .107,
          'knee': .087, 'ankle': .089}
OKS_JOINTS = (NOSE,) + LIMBS
_K = np.array([_KAPPA['nose']] + [
    next(v for n, v in _KAPPA.items() if name.endswith(n))
    for name in (next(k for k, i in INDEX.items() if i == j) for j in LIMBS)])
_MIRROR = np.array(MIRROR)


def pck(found, truth, labelled, share=0.2):
    """Which limb joints are right.

    Args:
        found, truth: (N, 17, 2) px.
        labelled: (N, 17) bool.
        share: of the torso (labelled left shoulder to right hip).

    Returns:
        right (N, 12) bool, counted (N, 12) bool: labelled, in a person with both torso joints.
    """
    torso = np.linalg.norm(truth[:, INDEX['left_shoulder']] - truth[:, INDEX['right_hip']], axis=1)
    counted = labelled[:, LIMBS] & np.isfinite(torso)[:, None] & (torso > 0)[:, None]
    error = np.linalg.norm(found[:, LIMBS] - truth[:, LIMBS], axis=2)
    with np.errstate(invalid='ignore'):
        return (error <= share * torso[:, None]) & counted, counted


def pck_table(found, truth, labelled):
    """PCK@0.2, the same with each person's sides as they fit better, and by joint.

    Returns:
        dict: pck, pck_sides_as_fit, by_joint (shoulder ... ankle), people, joints.
    """
    right, counted = pck(found, truth, labelled)
    swapped, _ = pck(found[:, _MIRROR], truth, labelled)
    better = np.where((swapped.sum(1) > right.sum(1))[:, None], swapped, right)
    kinds = ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')
    by_joint = {kind: float(right[:, [i, i + 6]].sum() / max(counted[:, [i, i + 6]].sum(), 1))
                for i, kind in enumerate(kinds)}
    total = max(counted.sum(), 1)
    return {'pck': float(right.sum() / total), 'pck_sides_as_fit': float(better.sum() / total),
            'by_joint': by_joint, 'people': int(counted.any(1).sum()),
            'joints': int(counted.sum())}


def oks(found, truth, labelled, area):
    """Object keypoint similarity over nose and limbs.

    Args:
        found, truth: (N, 17, 2) px; labelled: (N, 17) bool; area: (N,) px^2 (COCO's constants
            speak of the segment's area; 0.53 of the box stands in for it, as is the custom).

    Returns:
        (N,) in 0..1; NaN where none of the joints is labelled.
    """
    d2 = ((found[:, OKS_JOINTS] - truth[:, OKS_JOINTS]) ** 2).sum(2)
    use = labelled[:, OKS_JOINTS]
    value = np.exp(-np.where(use, d2, 0) / (2 * area[:, None] * (2 * _K) ** 2))
    count = use.sum(1)
    return np.where(count > 0, (value * use).sum(1) / np.maximum(count, 1), np.nan)


def box_area(boxes):
    """0.53 of the boxes' areas, (N, 4) -> (N,) px^2: about the area of a person in it."""
    return 0.53 * (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def oks_table(values):
    """Mean OKS and the share above 0.5."""
    values = values[np.isfinite(values)]
    return {'oks': float(values.mean()), 'over_half': float((values > 0.5).mean()),
            'people': len(values)}
