"""How tall people are, by their bones: it says who is who when places do not."""

import numpy as np

from ..matrices import dot
from ..skeleton import INDEX, NECK, PELVIS

_CHAINS = tuple((INDEX[f'{side}_{a}'], INDEX[f'{side}_{b}']) for side in ('left', 'right')
                for a, b in (('hip', 'knee'), ('knee', 'ankle')))
_TOP = INDEX['head_top']
_CHILDREN = np.array([b for _, b in _CHAINS] + [NECK, _TOP])
_PARENTS = np.array([a for a, _ in _CHAINS] + [PELVIS, NECK])
_SHARE = 1.05 * np.array([0.5] * 4 + [1.0] * 2)     # left and right are averaged


def bone_stature(joints):
    """Shin, thigh, trunk and head, and 5 % for what lies below the ankle.

    Args:
        joints: (N, 17, 3) m.

    Returns:
        (N,) m, NaN where joints are.
    """
    bone = joints.take(_CHILDREN, 1) - joints.take(_PARENTS, 1)
    return np.sqrt(dot(bone, bone)) @ _SHARE
