"""Vectors and symmetric 3x3 matrices of many joints at once, where numpy's calls cost most.

``filters.py`` keeps the coordinates first, the people and joints last: vectors are three rows,
symmetric matrices six (xx xy xz yy yz zz), others nine. Numpy then runs along the joints; with
the coordinates last every call is a loop of three for each joint.
"""

import numpy as np

from ..matrices import COLUMN, FROM_SIX, IDENTITY, NINE, OFTEN, ROW

#: Of nine rows those of the six, and those of their mirror images.
ABOVE, BELOW = 3 * ROW + COLUMN, 3 * COLUMN + ROW
#: Six rows of nine, the mean of mirror images.
_PACK = np.zeros((6, 9))
for _i in range(6):
    _PACK[_i, ABOVE[_i]] += 0.5
    _PACK[_i, BELOW[_i]] += 0.5
#: Rows of a and of b, side by side, whose products are a a^T (6), a b^T (9) and b b^T (6).
SQUARES = (np.concatenate((ROW, np.arange(9) // 3, 3 + ROW)),
           np.concatenate((COLUMN, 3 + np.arange(9) % 3, 3 + COLUMN)))
#: The identity, to be added to six rows of (T, J).
EYE = IDENTITY[:, None, None]


def to_rows(vectors):
    """(T, J, 3) -> (3, T, J)."""
    return np.ascontiguousarray(vectors.transpose(2, 0, 1))


def to_vectors(rows):
    """(3, T, J) -> (T, J, 3)."""
    return np.ascontiguousarray(rows.transpose(1, 2, 0))


def pack(matrices):
    """(T, J, 3, 3) symmetric -> (6, T, J)."""
    return (_PACK @ matrices.reshape(-1, 9).T).reshape(6, *matrices.shape[:2])


def unpack(six):
    """(6, T, J) -> (T, J, 3, 3)."""
    return (six.reshape(6, -1).T @ FROM_SIX).reshape(*six.shape[1:], 3, 3)


def full(six):
    """(6, ...) -> (3, 3, ...)."""
    return six.take(NINE, 0).reshape(3, 3, *six.shape[1:])


def mirrored(nine):
    """A + A^T of A: (9, ...) -> (6, ...)."""
    return nine.take(ABOVE, 0) + nine.take(BELOW, 0)


def outer(a):
    """a a^T: (3, ...) -> (6, ...)."""
    return a.take(ROW, 0) * a.take(COLUMN, 0)


def both(a, b):
    """a b^T + b a^T: (3, ...), (3, ...) -> (6, ...)."""
    return (a.take(ROW, 0) * b.take(COLUMN, 0)) + (a.take(COLUMN, 0) * b.take(ROW, 0))


def within(six, other):
    """Sum of the products of all elements: (6, T, J), (6, T, J) -> (T, J); of a a^T: a^T S a."""
    return (OFTEN @ (six * other).reshape(6, -1)).reshape(six.shape[1:])


def turning(rotation):
    """(6, 6) that takes the six rows of S to those of R S R^T."""
    return _PACK @ np.kron(rotation, rotation) @ FROM_SIX.T


def split(rays, cov, share):
    """A S A of a covariance S, A = root of the shares along the ray and across it.

    Args:
        rays: (3, T, J) unit; cov: (6, T, J); share: (2, N, 1 or T, 1 or J) along, across, for each
            of N results.

    Returns:
        (N, 6, T, J), between 0 and S where the ray is an axis of S.
    """
    # with A = c I + d r r^T and w = S r: c^2 S + c d (w r^T + r w^T) + d^2 (r^T w) r r^T
    weighed = np.einsum('ijtk,jtk->itk', full(cov), rays)
    along, across = np.sqrt(share)[:, :, None]
    more = along - across
    out = across * across * cov
    out += across * more * both(rays, weighed)
    out += more * more * ((rays * weighed).sum(0) * outer(rays))
    return out


def unit(position):
    """Unit vectors (3, ...) to positions."""
    length = np.sqrt((position * position).sum(0))
    return position / np.maximum(length, 1e-9)


def median(values):
    """Medians over the last axis; NaN where one of them is. numpy's own takes ten times longer."""
    values = np.sort(values, axis=-1)
    n = values.shape[-1]
    middle = values[..., n // 2]
    if n % 2 == 0:
        middle = (values[..., n // 2 - 1] + middle) / 2
    return np.where(np.isnan(values[..., -1]), np.nan, middle)
