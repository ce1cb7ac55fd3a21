"""The trunk: MobileNetV2 with a feature pyramid to stride 4, and MoveNet's four heads.

Module names are those of the published float weights, so that their tensors load by name. There
is no batch norm: it is folded into the convolutions.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

#: (in, expanded, out, stride, adds its input) of block 1 to 16.
_BLOCKS = (
    (16, 96, 24, 2, False), (24, 144, 24, 1, True), (24, 144, 32, 2, False),
    (32, 192, 32, 1, True), (32, 192, 32, 1, True), (32, 192, 64, 2, False),
    (64, 384, 64, 1, True), (64, 384, 64, 1, True), (64, 384, 64, 1, True),
    (64, 384, 96, 1, False), (96, 576, 96, 1, True), (96, 576, 96, 1, True),
    (96, 576, 160, 2, False), (160, 960, 160, 1, True), (160, 960, 160, 1, True),
    (160, 960, 320, 1, False),
)
#: Width of the trunk's output at stride 4, and of the pyramid's sums at stride 8 and 16.
FEATURES, WIDE8, WIDE16 = 24, 32, 64


def _same(x):
    # TensorFlow pads a stride-2 layer of an even size on the right and bottom only.
    return F.pad(x, (0, 1, 0, 1))


def up2(x):
    """Twice the size, bilinear with half-pixel centres."""
    return F.interpolate(x, scale_factor=2.0, mode='bilinear', align_corners=False)


class Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise 3x3, project 1x1."""

    def __init__(self, inside, expanded, out, stride, adds):
        super().__init__()
        self.stride, self.adds = stride, adds
        self.expand = nn.Conv2d(inside, expanded, 1)
        self.dw = nn.Conv2d(expanded, expanded, 3, stride, 0 if stride == 2 else 1,
                            groups=expanded)
        self.project = nn.Conv2d(expanded, out, 1)

    def forward(self, x):
        """(N, inside, H, W) -> (N, out, H / stride, W / stride)."""
        y = F.relu6(self.expand(x))
        y = F.relu6(self.dw(_same(y) if self.stride == 2 else y))
        y = self.project(y)
        return x + y if self.adds else y


class _First(nn.Module):
    def __init__(self):
        super().__init__()
        self.dw = nn.Conv2d(32, 32, 3, 1, 1, groups=32)
        self.project = nn.Conv2d(32, 16, 1)

    def forward(self, x):
        return self.project(F.relu6(self.dw(x)))


class _Smooth(nn.Module):
    def __init__(self, inside, out):
        super().__init__()
        self.dw = nn.Conv2d(inside, inside, 3, 1, 1, groups=inside, bias=False)
        self.pw = nn.Conv2d(inside, out, 1)

    def forward(self, x):
        return F.relu(self.pw(self.dw(x)))


class Pyramid(nn.Module):
    """Brings strides 32, 16 and 8 down to stride 4."""

    def __init__(self):
        super().__init__()
        self.lateral32 = nn.Conv2d(1280, 64, 1)
        self.lateral16 = nn.Conv2d(64, 64, 1)
        self.lateral8 = nn.Conv2d(32, 32, 1)
        self.lateral4 = nn.Conv2d(24, 24, 1)
        self.smooth16 = _Smooth(64, 32)
        self.smooth8 = _Smooth(32, 24)
        self.smooth4 = _Smooth(24, 24)

    def forward(self, x4, x8, x16, x32):
        """Returns features at stride 4 (24 channels), sums at stride 8 (32) and 16 (64)."""
        wide16 = up2(self.lateral32(x32)) + self.lateral16(x16)
        wide8 = up2(self.smooth16(wide16)) + self.lateral8(x8)
        f4 = self.smooth4(up2(self.smooth8(wide8)) + self.lateral4(x4))
        return f4, wide8, wide16


class Trunk(nn.Module):
    """Picture (N, 3, H, W), RGB / 127.5 - 1, H and W multiples of 32 -> pyramid features."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, 2)
        self.block0 = _First()
        for i, block in enumerate(_BLOCKS, start=1):
            self.add_module(f'block{i}', Block(*block))
        self.conv_last = nn.Conv2d(320, 1280, 1)
        self.fpn = Pyramid()

    def early(self, x):
        """The first layers, to stride 4: (N, 3, H, W) -> (N, 24, H / 4, W / 4)."""
        x = self.block0(F.relu6(self.conv1(_same(x))))
        return self.block2(self.block1(x))

    def late(self, x4):
        """From :meth:`early`'s output to the pyramid's; see :class:`Pyramid`."""
        x = x4
        for i in (3, 4, 5):
            x = getattr(self, f'block{i}')(x)
        x8 = x
        for i in (6, 7, 8, 9):
            x = getattr(self, f'block{i}')(x)
        x16 = x
        for i in range(10, 17):
            x = getattr(self, f'block{i}')(x)
        return self.fpn(x4, x8, x16, F.relu6(self.conv_last(x)))

    def forward(self, x):
        """Features at stride 4 (N, 24, H/4, W/4), sums at stride 8 (32) and 16 (64)."""
        return self.late(self.early(x))


class Head(nn.Module):
    """Depthwise 3x3, 1x1 to 96, 1x1 out; optionally some more outputs beside the given ones."""

    def __init__(self, out, more=0):
        super().__init__()
        self.dw = nn.Conv2d(FEATURES, FEATURES, 3, 1, 1, groups=FEATURES, bias=False)
        self.pw = nn.Conv2d(FEATURES, 96, 1)
        self.out = nn.Conv2d(96, out, 1)
        if more:
            self.more = nn.Conv2d(96, more, 1)

    def forward(self, x):
        """(N, 24, h, w) -> (N, out + more, h, w), linear."""
        y = F.relu(self.pw(self.dw(x)))
        return torch.cat((self.out(y), self.more(y)), 1) if hasattr(self, 'more') else self.out(y)

    def at(self, x, place):
        """What :meth:`forward` gives at one place of each map, without the rest of it.

        Args:
            x: (N, 24, h, w); place: (N,) cell, row by row.

        Returns:
            (N, out).
        """
        c, w = int(x.shape[1]), int(x.shape[3])
        y = torch.div(place, w, rounding_mode='trunc')
        step = torch.arange(3, device=x.device)
        # in the map with a margin of one cell
        near = (place + 2 * y)[:, None] + ((w + 2) * step[:, None] + step).flatten()
        patch = F.pad(x, (1, 1, 1, 1)).flatten(2).gather(2, near[:, None].expand(-1, c, -1))
        depth = (patch * self.dw.weight.view(c, 9)).sum(2)
        wide = F.relu(F.linear(depth, self.pw.weight[..., 0, 0], self.pw.bias))
        return F.linear(wide, self.out.weight[..., 0, 0], self.out.bias)


def movenet_tensors(path):
    """The published float tensors under this module's names.

    Args:
        path: the .npz with MoveNet Lightning's tensors.

    Returns:
        dict of torch tensors: ``trunk.*`` and ``head.*``.
    """
    with np.load(path, allow_pickle=False) as file:
        return {name if name.startswith('head.') else f'trunk.{name}':
                torch.from_numpy(file[name]) for name in file.files}
