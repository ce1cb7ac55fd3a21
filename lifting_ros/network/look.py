"""The lifter's looks on a GPU.

Rows of numbers go up and come down, in batches that are filled up to one of a few sizes, each of
which is one CUDA graph.
"""

import numpy as np
import torch

from . import look_fused
from .elimination import bordered_inverse
from .estimator import check_device
from .graphs import Graphs, HostCopy, Upload
from .look_again import TOLD, SecondLook
from .look_first import ROW, FirstLook

#: People of a batch, and those of a batch that is looked at again.
BATCHES = (1, 2, 4, 8, 16, 32, 64)
AGAIN = BATCHES[:-2]


def lift_on(lifter, device):
    """Let a lifter take its looks on a device; depth and ground stay numpy's.

    Args:
        lifter: :class:`~lifting_ros.lifting.Lifter`.
        device: a torch device or its name; on 'cpu' torch is no faster than numpy.

    Returns:
        whether it does; where the device fails, or does not give what numpy gives, a warning has
        said so and numpy goes on.
    """
    return lifter.look_on(Look, device)


class Look:
    """First and second looks on a device.

    Args:
        believer: as of :class:`~.look_first.FirstLook`.
        device: a torch device or its name.
        fused: invert by a Triton kernel, where there is one.
        dtype: as of :class:`~.look_first.FirstLook`.

    Raises:
        RuntimeError: CUDA asked for and absent.
        ValueError: as of :class:`~.look_first.FirstLook`.
    """

    def __init__(self, believer, device, fused=True, dtype=torch.float32):
        self.device = check_device(device)
        self.fused = fused and dtype == torch.float32 and look_fused.ready(self.device)
        inverse = look_fused.inverse if self.fused else bordered_inverse
        graphs = self.device.type == 'cuda'
        self._ways, self._again = {}, {}
        for whole in (False, True):
            first = FirstLook(believer, whole, dtype, inverse)
            second = SecondLook(first).to(self.device)
            self._ways[whole] = Graphs(first, graphs)
            self._again[whole] = Graphs(second, graphs)
        self._uploads, self._to_host = (Upload(self.device), Upload(self.device)), HostCopy()

    @torch.inference_mode()
    def __call__(self, rows, whole=False):
        """What is believed of people, rows (N, 167) float32: rows (N, ...) float64."""
        return self._run(self._ways[whole], self._uploads[0], rows, BATCHES)

    @torch.inference_mode()
    def again(self, rows, whole=False):
        """What is believed of people at a second look, rows (N, 385) float32 of the first look's
        and of ``lifting.device.proposals``: rows (N, 1 + ...) float64, the reading and the first
        look's.
        """
        return self._run(self._again[whole], self._uploads[1], rows, AGAIN)

    def _run(self, way, upload, rows, batches):
        parts = []
        for first in range(0, max(len(rows), 1), batches[-1]):
            some = rows[first:first + batches[-1]]
            n = len(some)
            # the filling is copies of people (of nobody: zeros): nothing in it is not finite
            full = np.resize(some, (next(b for b in batches if b >= n), rows.shape[1]))
            parts.append(self._to_host(way(upload(full)))[:n])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def milliseconds(self, n, again=0, repeats=50):
        """What the graphs alone take on CUDA, by its own clock: the first look at n people, and
        the second at ``again`` of them; 0 of nobody. None elsewhere.
        """
        spent = 0.0
        for way, size, count, batches in ((self._ways, ROW, n, BATCHES),
                                          (self._again, ROW + sum(TOLD), again, AGAIN)):
            for first in range(0, count, batches[-1]):
                some = min(count - first, batches[-1])
                batch = next(b for b in batches if b >= some)
                one = way[False].milliseconds((batch, size), repeats)
                if one is None:
                    return None
                spent += one
        return spent

    def warm_up(self):
        """Record what may come: better before the first image."""
        for whole in self._ways:
            for n in BATCHES:
                self(np.zeros((n, ROW), np.float32), whole)
            for n in AGAIN:
                self.again(np.zeros((n, ROW + sum(TOLD)), np.float32), whole)
