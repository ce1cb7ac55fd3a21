"""The network for a GPU that only has to infer: half precision, channels last, one result.

Only the convolutions are in half precision. Logits, lifts and fusion stay in single: peaks are
read to a fraction of a cell and the lift solves systems. The largest activation of the shipped
network on photographs is 2,200, a thirtieth of what half precision holds.
"""

import copy
import logging
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .constants import take
from .export import CropGraph, WholeGraph
from .find import candidates, split
from .graphs import Graphs, HostCopy

log = logging.getLogger(__name__)

#: People of a batch, for each of which there is a graph; others are filled up to the next.
BATCHES = (1, 2, 4, 8, 16)
_PEAKS = 64         # peaks of the centre map that are looked at
_TIMED = 3          # runs of a batch that are timed, and the share of its time that a larger one
_QUICKER = 0.8      # has to take to be run in its place


class HalfConv(nn.Conv2d):
    """A convolution that takes any precision and gives its weights'; 1x1 ones as a product."""

    @classmethod
    def of(cls, conv, dtype):
        """The same convolution in another precision, channels last."""
        made = cls(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride,
                   conv.padding, conv.dilation, conv.groups, conv.bias is not None,
                   device='meta')
        made.weight = nn.Parameter(conv.weight.detach().to(
            dtype, memory_format=torch.channels_last), False)
        if conv.bias is not None:
            made.bias = nn.Parameter(conv.bias.detach().to(dtype), False)
        return made

    def forward(self, x):
        """(N, in, h, w) -> (N, out, h', w')."""
        x = x.to(self.weight.dtype)
        if self.kernel_size == (1, 1) and self.groups == 1 and self.stride == (1, 1):
            # pixels are rows: one product, which adds the bias on its way
            rows = F.linear(x.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias)
            return rows.permute(0, 3, 1, 2)
        return super().forward(x)


def halved(model, dtype=torch.float16):
    """A copy of a network with its convolutions in half precision."""
    made = copy.deepcopy(model).eval().requires_grad_(False)
    for parent in list(made.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Conv2d:
                setattr(parent, name, HalfConv.of(child, dtype))
    return made


def _normal(pixels, dtype):
    """BGR 0..255 (N, 3, h, w) as the network takes it."""
    x = take(pixels, (2, 1, 0), 1) * (1 / 127.5) - 1
    return x.to(dtype, memory_format=torch.channels_last)


def packed(xy, confidence, covariance):
    """(N, 17, 2), (N, 17), (N, 17, 2, 2) as one tensor (N, 17, 7), one copy to the host."""
    return torch.cat((xy, confidence[..., None], covariance.flatten(2)), 2)


def unpacked(out):
    """:func:`packed`, as an array, taken apart again."""
    return out[..., :2], out[..., 2], out[..., 3:].reshape(*out.shape[:2], 2, 2)


class _Crops(nn.Module):
    """Crops BGR 0..255 (N, 3, S, S) -> (N, 17, 7): x, y, confidence, covariance."""

    def __init__(self, model, dtype):
        super().__init__()
        self.graph, self.dtype = CropGraph(model), dtype

    def forward(self, pixels):
        return packed(*self.graph(_normal(pixels, self.dtype)))


class _Whole(nn.Module):
    """An image BGR uint8 (h, w, 3) -> candidates, see :func:`.find.candidates`."""

    def __init__(self, model, dtype):
        super().__init__()
        self.graph, self.dtype = WholeGraph(model), dtype

    def forward(self, pixels):
        h, w, _ = pixels.shape
        x = _normal(pixels.permute(2, 0, 1)[None].float(), self.dtype)
        x = F.pad(x, (0, -w % 32, 0, -h % 32), value=-1.0)
        centre, regress, heat = self.graph(x)
        return candidates(centre[0, 0], regress[0], heat[0], _PEAKS)


class HalfNetwork:
    """Both uses of a network on a GPU.

    Args:
        model: of the family, on the device.
        graphs: replay CUDA graphs.
        dtype: of the convolutions.
    """

    def __init__(self, model, graphs=True, dtype=torch.float16):
        self.model = halved(model, dtype)
        self._crops = Graphs(_Crops(self.model, dtype), graphs)
        self._whole = Graphs(_Whole(self.model, dtype), graphs)
        self._to_host = HostCopy()
        self._run_as = {n: n for n in BATCHES}

    def crops(self, pixels):
        """Keypoints of crops BGR 0..255 (N, 3, S, S), on the device.

        Returns:
            px (N, 17, 2), confidence (N, 17), covariance px^2 (N, 17, 2, 2): arrays.
        """
        parts = []
        for some in pixels.split(BATCHES[-1]):
            n = len(some)
            full = self._run_as[next(b for b in BATCHES if b >= n)]
            if full > n:
                some = F.pad(some, (0,) * 7 + (full - n,))
            parts.append(self._to_host(self._crops(some))[:n])
        out = np.concatenate(parts)
        return unpacked(out)

    def whole(self, pixels, threshold, count):
        """Candidates in an image BGR (h, w, 3) uint8 on the device: see :func:`.find.boxes_of`."""
        return split(self._to_host(self._whole(pixels)), threshold, count)

    def warm_up(self, size, device):
        """Record what may come, with crops of ``size`` px: better before the first image.

        Libraries choose a kernel for each batch, now and then a bad one: on an H100 two crops of
        ``cpm`` took three times as long as eight. Such a batch is filled up to the quicker one.
        """
        self._run_as = {n: n for n in BATCHES}
        spent = {n: self._spent(torch.zeros(n, 3, size, size, device=device)) for n in BATCHES}
        for n in BATCHES:
            quickest = min((b for b in BATCHES if b >= n), key=spent.get)
            if spent[quickest] < _QUICKER * spent[n]:
                self._run_as[n] = quickest

    def _spent(self, pixels):
        """Least time of crops, s, once what they need is recorded."""
        self.crops(pixels)
        times = []
        for _ in range(_TIMED):
            began = time.perf_counter()
            self.crops(pixels)      # which waits for the result
            times.append(time.perf_counter() - began)
        return min(times)


def mannequin(size):
    """Somebody drawn in a crop (size, size, 3) uint8: what is seen in it has to be the same.

    Blurred noise would not do: it has no peaks, and where they are is left to rounding.
    """
    points = np.array([[.5, .14], [.5, .24], [.5, .52], [.38, .26], [.30, .40], [.26, .54],
                       [.62, .26], [.70, .40], [.74, .54], [.44, .53], [.42, .72], [.41, .90],
                       [.56, .53], [.58, .72], [.59, .90]])
    limbs = ((3, 4, 26), (4, 5, 22), (6, 7, 26), (7, 8, 22), (9, 10, 34), (10, 11, 28),
             (12, 13, 34), (13, 14, 28))
    image = np.full((size, size, 3), (150, 160, 165), np.uint8)
    at = np.rint(points * size).astype(int)
    cv2.fillConvexPoly(image, at[[3, 6, 12, 9]], (70, 60, 150))
    for a, b, width in limbs:
        colour = (70, 60, 150) if a < 9 else (90, 70, 50)
        cv2.line(image, at[a].tolist(), at[b].tolist(), colour, max(1, width * size // 320))
    for hand in (5, 8):
        cv2.circle(image, at[hand].tolist(), size // 32, (130, 160, 210), -1)
    cv2.circle(image, at[0].tolist(), size // 14, (130, 160, 210), -1)
    return cv2.GaussianBlur(image, (0, 0), size / 200)


def agrees(ours, plain):
    """Whether two answers (xy, confidence, covariance) about the same crops are the same.

    Half precision moves a peak by a tenth of a pixel and a doubtful joint to its other peak now
    and then; a wrong kernel moves everything.
    """
    if not all(np.isfinite(part).all() for part in ours):
        return False
    sure = plain[1] > 0.2
    near = np.linalg.norm(ours[0] - plain[0], axis=-1) < 2.0
    same = np.abs(ours[1] - plain[1]) < 0.1
    return bool(same.mean() > 0.8 and (near & same)[sure].sum() >= 0.8 * sure.sum())
