"""The paper's member of the family: a convolutional pose machine with the lift between its stages.

The trunk is VGG's to stride 8; five more 3x3 layers bring it to the 128 channels that all stages
share. Stage 1 has 1x1 layers only; stages 2 to 6 see the fused maps f_t = w_t b_t + (1 - w_t) p_t,
the shared features and a map of the crop's middle, through five 7x7 layers and two 1x1 ones. The
layers carry the names of the original Caffe model, so that its weights load by name.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ..skeleton import NUM_JOINTS
from .config import LiftConfig
from .lift import Lift
from .maps import EXTRAS, Maps, grid
from .rays import soft_peaks

STRIDE = 8
_MAPS = NUM_JOINTS + 1
#: (name, out channels, pooled afterwards) of the trunk's 3x3 layers.
TRUNK = (
    ('conv1_1', 64, False), ('conv1_2', 64, True), ('conv2_1', 128, False),
    ('conv2_2', 128, True), ('conv3_1', 256, False), ('conv3_2', 256, False),
    ('conv3_3', 256, False), ('conv3_4', 256, True), ('conv4_1', 512, False),
    ('conv4_2', 512, False), ('conv4_3_CPM', 256, False), ('conv4_4_CPM', 256, False),
    ('conv4_5_CPM', 256, False), ('conv4_6_CPM', 256, False), ('conv4_7_CPM', 128, False),
)
_WIDE = 512             # channels of stage 1
_FLOOR = 1e-4
_MIDDLE = 21.0 / 368    # spread of the map of the crop's middle, as a share of the crop


@dataclass(frozen=True)
class CpmConfig(LiftConfig):
    """What makes a ``cpm``, beside :class:`lifting_ros.network.config.LiftConfig`.

    Args:
        stages: belief-map stages.
        channels: of a later stage's layers.
        size: side of the crops, px, a multiple of 8.
        width: factor on the channels of the trunk and of stage 1 (1: the paper's).
        linear: the maps are the beliefs themselves, as in the original, and not their logits.
        kind: name of this member.
    """

    stages: int = 6
    channels: int = 128
    size: int = 368
    width: float = 1.0
    linear: bool = False
    kind: str = 'cpm'


class VggTrunk(nn.ModuleDict):
    """(N, 3, H, W) -> (N, 128, H / 8, W / 8), after the last layer's ReLU."""

    def __init__(self, width=1.0):
        super().__init__()
        inside = 3
        for name, out, _ in TRUNK:
            out = max(1, round(width * out))
            self[name] = nn.Conv2d(inside, out, 3, padding=1)
            inside = out
        self.out_channels = inside

    def forward(self, x):
        """See the class."""
        for name, _, pooled in TRUNK:
            x = F.relu(self[name](x))
            x = F.max_pool2d(x, 2) if pooled else x
        return x


class CpmNet(nn.Module):
    """Crops (N, 3, H, W), RGB / 127.5 - 1, sides multiples of 8 -> Maps of cells of 8 px.

    ``centre`` of what it returns is empty (a ``cpm`` finds nobody in a whole image), ``coarse``
    are the soft peaks of stage 1 in cells of 8 px.
    """

    stride = STRIDE

    def __init__(self, config=None):
        super().__init__()
        self.config = config = config or CpmConfig()
        self.trunk = VggTrunk(config.width)
        features, wide = self.trunk.out_channels, max(1, round(config.width * _WIDE))
        self.first = nn.ModuleDict({'conv5_1_CPM': nn.Conv2d(features, wide, 1),
                                    'conv5_2_CPM': nn.Conv2d(wide, _MAPS, 1)})
        self.extras = nn.Conv2d(wide, len(EXTRAS), 1)
        later = range(2, config.stages + 1)
        self.later = nn.ModuleDict()
        for t in later:
            inside = _MAPS + features + 1
            for i in range(1, 8):
                out = _MAPS if i == 7 else config.channels
                k = 7 if i < 6 else 1
                self.later[f'Mconv{i}_stage{t}'] = nn.Conv2d(inside, out, k, padding=k // 2)
                inside = out
        # w_t = sigmoid(fusion), per stage and joint
        self.fusion = nn.Parameter(torch.full((len(later), NUM_JOINTS), 2.0))
        self.lift = Lift(config.lift_modes, config.lift_dims, config.lift_headings)
        self._start()

    def _start(self):
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
                nn.init.zeros_(layer.bias)
                if layer.out_channels in (_MAPS, len(EXTRAS)):
                    layer.weight.data.mul_(0.1)
                    if not self.config.linear:      # a map is empty until something is seen
                        nn.init.constant_(layer.bias, -4.0)
        if not self.config.linear:
            for layer in (*self.first.values(), *self.later.values()):
                if layer.out_channels == _MAPS:
                    layer.bias.data[-1] = 4.0       # and the background full

    def middle(self, h, w, like):
        """Map of the crop's middle: (1, 1, h, w) in 0..1."""
        x, y = grid(h, w, like)
        spread = _MIDDLE * w
        square = (x - (w - 1) / 2) ** 2 + (y[:, None] - (h - 1) / 2) ** 2
        return torch.exp(-square / (2 * spread ** 2))[None, None].to(like.dtype)

    def beliefs(self, raw):
        """Beliefs (unbounded where the maps are linear) and logits of a stage's output."""
        if not self.config.linear:
            return torch.sigmoid(raw), raw
        # bounded in value, while the gradient passes as if it were not
        kept = raw + (raw.clamp(_FLOOR, 1 - _FLOOR) - raw).detach()
        # within bounds already: maps.logit's clamp would stop the gradient there
        return raw, torch.log(kept) - torch.log1p(-kept)

    def lifted(self, belief, rays):
        """Pose (N, 17, 3) and its maps; the lift works on cells of 4 px."""
        fine = F.interpolate(belief, scale_factor=2.0, mode='bilinear', align_corners=False)
        pose, drawn = self.lift(fine, rays)[:2]
        return pose, F.max_pool2d(drawn, 2)

    def forward(self, x, rays=None):
        """Run all stages; arguments as of :class:`~lifting_ros.network.model.BeliefNet`."""
        features = self.trunk(x)
        return self.heads(features, rays)

    def heads(self, features, rays=None):
        """Everything after the trunk."""
        wide = F.relu(self.first['conv5_1_CPM'](features))
        raw, extras = self.first['conv5_2_CPM'](wide).float(), self.extras(wide).float()
        n, _, h, w = raw.shape
        middle = self.middle(h, w, features).expand(n, 1, h, w)
        belief, logits = self.beliefs(raw)
        out, lifts, fused, projected = [logits], [], [], []
        coarse, _ = soft_peaks(torch.sigmoid(logits[:, :NUM_JOINTS]))
        for t in range(2, self.config.stages + 1):
            if self.config.lift:
                seen = torch.sigmoid(out[-1][:, :NUM_JOINTS])
                pose, drawn = self.lifted(seen, rays)
                share = torch.sigmoid(self.fusion[t - 2])[None, :, None, None]
                mixed = share * belief[:, :NUM_JOINTS] + (1 - share) * drawn
                lifts.append(pose)
                projected.append(drawn)
                fused.append(mixed)
                belief = torch.cat((mixed, belief[:, NUM_JOINTS:]), 1)
            x = torch.cat((belief.to(features.dtype), features, middle), 1)
            for i in range(1, 7):
                x = F.relu(self.later[f'Mconv{i}_stage{t}'](x))
            belief, logits = self.beliefs(self.later[f'Mconv7_stage{t}'](x).float())
            out.append(logits)
        centre = raw.new_full((n, 1, h, w), math.log(_FLOOR))
        return Maps(out, extras, coarse, centre, lifts, fused, projected)

