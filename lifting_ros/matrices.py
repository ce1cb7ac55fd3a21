"""Many small matrices at once."""

import numpy as np


def inverse(a):
    """Inverses (..., 3, 3) of symmetric (..., 3, 3): see :func:`inverted`."""
    return inverted(a)[0]


def inverted(a):
    """Inverses and determinants of symmetric 3 x 3 matrices, by cofactors.

    Ten times as fast as numpy's for so small ones.

    Args:
        a: (..., 3, 3) symmetric, regular.

    Returns:
        (..., 3, 3) and (...).
    """
    xx, xy, xz = a[..., 0, 0], a[..., 0, 1], a[..., 0, 2]
    yy, yz, zz = a[..., 1, 1], a[..., 1, 2], a[..., 2, 2]
    c0, c1, c2 = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    determinant = xx * c0 + xy * c1 + xz * c2
    out = np.empty(np.shape(a))
    out[..., 0, 0] = c0
    out[..., 0, 1] = out[..., 1, 0] = c1
    out[..., 0, 2] = out[..., 2, 0] = c2
    out[..., 1, 1] = xx * zz - xz * xz
    out[..., 1, 2] = out[..., 2, 1] = xy * xz - xx * yz
    out[..., 2, 2] = xx * yy - xy * xy
    out /= determinant[..., None, None]
    return out, determinant
