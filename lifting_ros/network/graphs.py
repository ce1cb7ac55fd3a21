"""Modules as CUDA graphs: what a GPU is told once is replayed by one launch.

The network is some five hundred kernels of a few microseconds each; launched one by one from
Python it would wait for the host most of the time.
"""

import logging
from typing import NamedTuple

import numpy as np
import torch

from .fallback import is_out_of_memory

log = logging.getLogger(__name__)


class _Slot(NamedTuple):
    given: torch.Tensor     # where the graph reads
    out: torch.Tensor       # where it writes
    graph: object


class Graphs:
    """A module of one tensor in, one tensor out, recorded for every shape that comes.

    Args:
        module: no gradients, no host in it; see ``test/test_gpu_path.py`` for how that is known.
        enabled: False calls the module as it is, which is also what happens where recording
            fails, after a warning.
        keep: shapes that are kept; of more the oldest are forgotten.
    """

    def __init__(self, module, enabled=True, keep=16):
        self.module, self.enabled, self._keep = module, enabled, keep
        self._slots, self._pool = {}, None

    def __call__(self, x):
        """The module's output of x, on the device, valid until the next call."""
        if not self.enabled:
            return self.module(x)
        slot = self._slots.get(x.shape)
        if slot is None:
            slot = self._try_to_record(x)
            if slot is None:
                return self.module(x)
        slot.given.copy_(x, non_blocking=True)
        slot.graph.replay()
        return slot.out

    def milliseconds(self, shape, repeats):
        """What the graph of a shape takes on the device, by its own clock: the least of some
        runs, or None where there is no such graph.
        """
        slot = self._slots.get(torch.Size(shape))
        if slot is None:
            return None
        spent = []
        for _ in range(repeats):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            slot.graph.replay()
            end.record()
            end.synchronize()
            spent.append(begin.elapsed_time(end))
        return min(spent)

    def _try_to_record(self, x):
        try:
            slot = self._record(x)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            log.warning('no CUDA graph of the network (%s): it runs kernel by kernel, slower',
                        str(error).splitlines()[0])
            self.enabled = False
            self._slots.clear()
            return None
        while len(self._slots) >= self._keep:
            self._slots.pop(next(iter(self._slots)))
        self._slots[x.shape] = slot
        return slot

    def _record(self, x):
        given = x.clone()
        # libraries choose their kernels, Triton compiles its own: not while it is recorded
        side = torch.cuda.Stream(x.device)
        side.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(side):
            for _ in range(3):
                self.module(given)
        torch.cuda.current_stream(x.device).wait_stream(side)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # other threads of a node may use the device meanwhile
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode='thread_local'):
            out = self.module(given)
        return _Slot(given, out, graph)


class HostCopy:
    """The way of a result from the device to the host: pinned, and waited for once."""

    def __init__(self):
        self._pinned = {}

    def __call__(self, x):
        """A tensor as a float64 array of its own."""
        if not x.is_cuda:
            return x.double().numpy()
        held = self._pinned.get(x.shape)
        if held is None:
            held = self._pinned[x.shape] = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
        held.copy_(x, non_blocking=True)
        torch.cuda.current_stream(x.device).synchronize()
        return held.numpy().astype('float64')


class Upload:
    """The way of an array to the device: copied into pinned memory, fetched from there.

    The device's copy is written again by the next array of the same shape.
    """

    _SHAPES = 8

    def __init__(self, device):
        self.device, self._held = device, {}

    def __call__(self, image):
        """An array, of any strides, such as an image, as a tensor on the device."""
        if self.device.type != 'cuda':
            return torch.from_numpy(image.copy()).to(self.device)
        key = image.shape, image.dtype
        held = self._held.get(key)
        if held is None:
            if len(self._held) >= self._SHAPES:
                self._held.pop(next(iter(self._held)))
            kind = torch.from_numpy(np.empty(0, image.dtype)).dtype
            held = (torch.empty(image.shape, dtype=kind, pin_memory=True),
                    torch.empty(image.shape, dtype=kind, device=self.device))
            self._held[key] = held
        pinned, there = held
        # who reads a result has waited for it: the last image has arrived
        pinned.numpy()[:] = image
        return there.copy_(pinned, non_blocking=True)
