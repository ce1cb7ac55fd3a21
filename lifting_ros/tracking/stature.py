"""How tall people are, by their bones: it says who is who when places do not."""

import numpy as np

from ..skeleton import INDEX, NECK, PELVIS

_CHAINS = tuple((INDEX[f'{side}_{a}'], INDEX[f'{side}_{b}']) for side in ('left', 'right')
                for a, b in (('hip', 'knee'), ('knee', 'ankle')))
_TOP = INDEX['head_top']


def bone_stature(joints):
    """Shin, thigh, trunk and head, and 5 % for what lies below the ankle.

    Args:
        joints: (N, 17, 3) m.

    Returns:
        (N,) m, NaN where joints are.
    """
    child = [b for _, b in _CHAINS] + [NECK, _TOP]
    parent = [a for a, _ in _CHAINS] + [PELVIS, NECK]
    length = np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1)
    return 1.05 * (length[:, :4].sum(1) / 2 + length[:, 4:].sum(1))
