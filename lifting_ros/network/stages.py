"""The later stages of the belief-map network: what they share, and what each of them adds."""

import torch.nn.functional as F
from torch import nn

from ..skeleton import NUM_JOINTS
from .trunk import FEATURES, WIDE8, WIDE16, up2

#: Brings the trunk's features (stride 4, sums at 8 and at 16) to a size of about one.
_SIZES = (6.0, 0.15, 0.013)


class Context(nn.Module):
    """What all later stages share: the trunk's features brought to stride 8, wide.

    The trunk's pyramid is narrow where it meets (24 channels at stride 4); its sums before that
    say more about the whole person. Two blocks at stride 16, 11x11 cells between them, let every
    place see most of the crop.
    """

    def __init__(self, channels):
        super().__init__()
        self.wide = nn.Conv2d(WIDE16, channels, 1)
        self.dw = nn.ModuleList(nn.Conv2d(channels, channels, 5, 1, 2, groups=channels)
                                for _ in range(2))
        self.widen = nn.ModuleList(nn.Conv2d(channels, 3 * channels, 1) for _ in range(2))
        self.narrow = nn.ModuleList(nn.Conv2d(3 * channels, channels, 1) for _ in range(2))
        self.fine = nn.Conv2d(FEATURES, channels, 2, 2)
        self.middle = nn.Conv2d(WIDE8, channels, 1)
        self.coarse = nn.Conv2d(channels, channels, 1)
        for last in self.narrow:
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)

    def forward(self, f4, wide8, wide16):
        """Features at stride 4, and the pyramid's sums at 8 and 16 -> (N, channels, h/2, w/2)."""
        x = F.relu(self.wide(_SIZES[2] * wide16))
        for dw, widen, narrow in zip(self.dw, self.widen, self.narrow):
            x = x + narrow(F.relu(widen(dw(x))))
        fine = self.fine(_SIZES[0] * f4)
        return fine + self.middle(_SIZES[1] * wide8) + up2(self.coarse(x))


class Stage(nn.Module):
    """A later stage: from the shared features and fused maps to a correction of the logits.

    It works at stride 8; the four cells of stride 4 in each of its own are channels, so nothing
    of the maps is lost on the way in and nothing has to be guessed on the way out.
    """

    def __init__(self, channels, layers):
        super().__init__()
        maps = NUM_JOINTS + 1
        self.enter = nn.Conv2d(maps, channels, 2, 2)
        self.dw = nn.ModuleList(nn.Conv2d(channels, channels, 7, 1, 3, groups=channels)
                                for _ in range(layers))
        self.widen = nn.ModuleList(nn.Conv2d(channels, 2 * channels, 1) for _ in range(layers))
        self.narrow = nn.ModuleList(nn.Conv2d(2 * channels, channels, 1) for _ in range(layers))
        self.out = nn.Conv2d(channels, 4 * maps, 1)
        for last in self.narrow:
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, shared, fused):
        """Context's features, fused maps (N, 18, h, w) -> correction (N, 18, h, w)."""
        x = F.relu(shared + self.enter(fused))
        for dw, widen, narrow in zip(self.dw, self.widen, self.narrow):
            x = x + narrow(F.relu(widen(dw(x))))
        return self.spread(x)

    def spread(self, x):
        """pixel_shuffle(out(x), 2); on a CPU a transposed convolution, half of its time there."""
        if x.device.type != 'cpu' or x.dtype != self.out.weight.dtype:
            return F.pixel_shuffle(self.out(x), 2)
        c, h, w = (int(side) for side in x.shape[1:])
        maps = NUM_JOINTS + 1
        weight = self.out.weight.view(maps, 4, c).permute(2, 0, 1).reshape(c, maps, 2, 2)
        bias = self.out.bias.view(maps, 1, 2, 1, 2).expand(-1, h, -1, w, -1)
        return F.conv_transpose2d(x, weight, stride=2) + bias.reshape(maps, 2 * h, 2 * w)
