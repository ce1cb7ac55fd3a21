"""Small tables on the device that needs them, brought there once.

A list as an index, or ``torch.tensor`` in a forward pass, is a copy from the host at every call:
slow on a GPU, and forbidden while a CUDA graph is recorded.
"""

from functools import lru_cache

import numpy as np
import torch


@lru_cache(maxsize=256)
def _made(values, device, dtype):
    with torch.inference_mode(False):   # for training may come after inference
        return torch.tensor(values, device=device, dtype=dtype)


def frozen(table):
    """A numpy array as nested tuples, such as :func:`constant` takes."""
    return tuple(map(frozen, table)) if np.ndim(table) else float(table)


def constant(values, like, dtype=None):
    """``values``, nested tuples of numbers, as a tensor of ``like``'s device and type.

    Args:
        values: hashable; like: tensor; dtype: another type than ``like``'s.
    """
    return _made(values, like.device, dtype or like.dtype)


def take(x, indices, dim=-1):
    """Entries ``indices``, a tuple of integers, of ``x`` along an axis."""
    return x.index_select(dim, constant(indices, x, torch.long))
