"""Many small positive definite systems at once, by elimination unrolled.

Their size is small and fixed, so batches of any size run as a few operations, on every device
and in ONNX.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from .constants import constant, frozen

_for_onnxruntime = ContextVar('for_onnxruntime', default=False)


@contextmanager
def for_onnxruntime():
    """What is exported within has each inverse as one operation of onnxruntime's own.

    Unrolled they are a third of the graph's operations, each far smaller than its call; other
    runtimes don't know the one operation.
    """
    token = _for_onnxruntime.set(True)
    try:
        yield
    finally:
        _for_onnxruntime.reset(token)


class _Inverse(torch.autograd.Function):
    """The inverse, exported as ``com.microsoft.Inverse``."""

    @staticmethod
    def forward(ctx, square):
        return torch.linalg.inv(square)

    @staticmethod
    def symbolic(g, square):
        return g.op('com.microsoft::Inverse', square).setType(square.type())


def eliminate(square, count):
    """Gauss elimination of the first ``count`` unknowns of many symmetric systems.

    The systems are last, where a vector unit finds them side by side.

    Args:
        square: (n, n, B), the leading count x count blocks positive definite.

    Returns:
        Schur complement (n - count, n - count, B); list of the rows (B on the right of what is
        left of n after the pivot) by which was eliminated, over their pivots; pivots (count, B).
    """
    rows, pivots = [], []
    for _ in range(count):
        n = square.shape[0] - 1
        head, tail = square.split((1, n))
        pivot, row = head.split((1, n), 1)
        pivots.append(pivot.clamp(min=1e-12))
        rows.append(row / pivots[-1])
        column, rest = tail.split((1, n), 1)
        square = rest - column * rows[-1]
    return square, rows, torch.cat(pivots)[:, 0]


def inverse(square):
    """Inverse of positive definite matrices (..., n, n) by Gauss and Jordan."""
    if _for_onnxruntime.get():
        return _Inverse.apply(square)
    n = int(square.shape[-1])
    eye = torch.eye(n, device=square.device, dtype=square.dtype)
    both = F.pad(square, (0, n)) + F.pad(eye, (n, 0))
    for i in range(n):
        row = both[..., i:i + 1, :]
        row = row / row[..., i:i + 1].clamp(min=1e-12)
        # the pivot's own row: both - (pivot - 1) * row is the row over its pivot
        both = both - (both[..., :, i:i + 1] - eye[:, i:i + 1]) * row
    return both[..., n:]


def bordered_inverse(square):
    """Inverse of positive definite matrices (B, n, n), in two operations a pivot, and the
    logarithm of their determinants (B,).

    What is left of [[A, 1], [-1, 0]] when A is eliminated is the inverse of A. Pivots are not
    kept from zero, as :func:`inverse` does.
    """
    n = square.shape[-1]
    border = constant(_border(n), square)
    square = F.pad(square, (0, n, 0, n)) + border
    pivots = []
    for _ in range(n):
        pivots.append(square[:, 0, 0])
        row = square[:, :1, 1:] / square[:, :1, :1]
        square = torch.addcmul(square[:, 1:, 1:], square[:, 1:, :1], row, value=-1)
    return square, torch.stack(pivots, 1).log().sum(1)


@lru_cache
def _border(n):
    border = np.zeros((2 * n, 2 * n))
    border[:n, n:], border[n:, :n] = np.eye(n), -np.eye(n)
    return frozen(border)


def diagonal(values):
    """(n,) -> (n, n); torch.diag has no ONNX counterpart."""
    return values * torch.eye(len(values), device=values.device, dtype=values.dtype)
