"""Many small matrices at once."""

import numpy as np

#: Where the six different numbers of a symmetric matrix (xx xy xz yy yz zz) are in its nine, and
#: which of the six are in the nine.
SIX, NINE = np.array([0, 1, 2, 4, 5, 8]), np.array([0, 1, 2, 1, 3, 4, 2, 4, 5])
#: Cofactors: products of rows, less products of rows.
_PLUS = np.array([3, 2, 1, 0, 1, 0]), np.array([5, 4, 4, 5, 2, 3])
_MINUS = np.array([4, 1, 2, 2, 0, 1]), np.array([4, 5, 3, 2, 4, 1])
#: (6, 9): rows of six numbers times this are the nine: of many, faster than taking them.
FROM_SIX = np.zeros((6, 9))
FROM_SIX[NINE, np.arange(9)] = 1.0


def inverse(a):
    """Inverses (..., 3, 3) of symmetric (..., 3, 3): see :func:`inverted`."""
    return inverted(a)[0]


def inverted(a):
    """Inverses and determinants of symmetric 3 x 3 matrices.

    Ten times as fast as numpy's for so small ones.

    Args:
        a: (..., 3, 3) symmetric, regular.

    Returns:
        (..., 3, 3) and (...).
    """
    six, determinant = inverted_six(a.reshape(-1, 9).T.take(SIX, 0))
    return (six.T @ FROM_SIX).reshape(a.shape), determinant.reshape(a.shape[:-2])


def inverted_six(six):
    """The same of matrices by their six numbers: (6, ...) -> (6, ...) and (...), by cofactors."""
    out = (six.take(_PLUS[0], 0) * six.take(_PLUS[1], 0)
           - six.take(_MINUS[0], 0) * six.take(_MINUS[1], 0))
    determinant = (six[:3] * out[:3]).sum(0)
    out /= determinant
    return out, determinant
