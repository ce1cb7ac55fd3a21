"""Inverses of many small matrices as one Triton kernel, for the looks on a GPU.

:func:`.elimination.bordered_inverse` is two of torch's kernels a pivot, which are a third of all
that a first look launches. Needs the package ``triton``; where it is missing those run.
"""

import torch

try:
    import triton
    import triton.language as tl
except ImportError:     # a CPU build of torch, or a Jetson's
    triton = None


def ready(device):
    """Whether the kernel can run on a torch device."""
    return triton is not None and device.type == 'cuda'


if triton is not None:
    @triton.jit
    def _inverse(given, out, log, N: tl.constexpr, SIZE: tl.constexpr):
        """Gauss and Jordan in place, a matrix (N, N) a program, in a tile of SIZE, and the
        logarithm of its determinant.
        """
        i = tl.arange(0, SIZE)
        r, c = i[:, None], i[None, :]
        at = tl.program_id(0).to(tl.int64) * N * N + r * N + c
        inside = (r < N) & (c < N)
        a = tl.load(given + at, mask=inside, other=0.0)
        determinant = 0.0
        for k in range(N):
            row = tl.sum(tl.where(r == k, a, 0.0), 0)
            column = tl.sum(tl.where(c == k, a, 0.0), 1)
            pivot = tl.sum(tl.where(i == k, row, 0.0), 0)
            determinant += tl.log(pivot)
            row = tl.where(i == k, 1.0, row) / pivot
            column = tl.where(i == k, -1.0, column)
            rest = tl.where((r == k) | (c == k), 0.0, a)
            a = rest - column[:, None] * row[None, :]
        tl.store(out + at, a, mask=inside)
        tl.store(log + tl.program_id(0), determinant)


def inverse(square):
    """Inverse of positive definite matrices (B, n, n), float32, and the logarithm of their
    determinants (B,).
    """
    square = square.contiguous()
    out, log = torch.empty_like(square), square.new_empty(len(square))
    n = square.shape[-1]
    _inverse[(len(square),)](square, out, log, N=n, SIZE=max(16, triton.next_power_of_2(n)),
                             num_warps=1)
    return out, log
