"""The belief-map network: stages, and between them lift, re-projection and fusion (design 6).

Stage 1 is the trunk's heatmap head, each map weighted by the distance to where the regression at
the crop's person says the joint is, which keeps a neighbour's joints out. Every later stage adds
a correction to the logits of the stage before; it sees the trunk's features and the fused maps
f_t = w_t b_t + (1 - w_t) p_t, p_t being the 3D pose of stage t projected back into the crop.
``Config.fuse`` has two other forms, in which the fused map of every stage, the last included, is
what is read and what the loss is on: that sum, and the product b_t p_t^g of likelihood and
prediction, p_t being what the other joints say of each.
"""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..skeleton import INDEX, JOINTS, NUM_JOINTS, ORDERS
from .lift import Lift
from .predict import bowl, predict
from .trunk import FEATURES, WIDE8, WIDE16, Head, Trunk, up2

STRIDE = 4
#: Joints that the trunk's own head has no map for, and its extra maps outside the seventeen.
NEW_JOINTS = ('pelvis', 'spine', 'neck', 'head_top')
EXTRAS = ('left_eye', 'right_eye', 'left_ear', 'right_ear')
#: Where each of the seventeen is in the head's 17 COCO + 4 new maps; then the extras.
_HEAD_ORDER = ORDERS['coco'] + NEW_JOINTS
_FROM_HEAD = tuple(_HEAD_ORDER.index(n) for n in JOINTS)
_EXTRA_FROM_HEAD = tuple(_HEAD_ORDER.index(n) for n in EXTRAS)
_REACH = 1.8    # cells: distance at which a map is halved by the person's weighting
#: Brings the trunk's features (stride 4, sums at 8 and at 16) to a size of about one.
_SIZES = (6.0, 0.15, 0.013)
_PRODUCT = (0.6, 3.0, 0.03)     # exponent, width and floor of a product at the start: good as is
_FLOOR = 1e-4   # beliefs are kept off 0 and 1 by this when turned into logits


def _complete():
    """(17, 17): from COCO's joints to the seventeen, those it lacks from their neighbours."""
    at = dict(zip(ORDERS['coco'], torch.eye(len(ORDERS['coco'])), strict=True))
    at['pelvis'] = (at['left_hip'] + at['right_hip']) / 2
    at['neck'] = (at['left_shoulder'] + at['right_shoulder']) / 2
    at['spine'] = (at['pelvis'] + at['neck']) / 2
    at['head_top'] = at['nose'] + 0.5 * (at['nose'] - at['neck'])
    return torch.stack([at[name] for name in JOINTS])


_COMPLETE = _complete()


@dataclass(frozen=True)
class LiftConfig:
    """What every member has; stored in the weights file.

    Args:
        lift: whether poses are lifted and fused between stages.
        lift_dims: dimensions of the prior used inside the network.
        lift_headings: headings tried inside the network.
        lift_modes: modes of the prior the tables hold.
        margin: side of a crop over the longer side of its box.
    """

    lift: bool = True
    lift_dims: int = 8
    lift_headings: int = 16
    lift_modes: int = 12
    margin: float = 1.25

    def to_dict(self):
        """Plain dict, for the weights file."""
        return asdict(self)


@dataclass(frozen=True)
class Config(LiftConfig):
    """What makes a network, beside :class:`LiftConfig`.

    Args:
        stages: belief-map stages, 1 or more.
        channels: width of a later stage's block.
        layers: depthwise 7x7 layers in a later stage's block (at stride 8).
        size: side of the crops it is meant for, px.
        fuse: 'between' the stages only; 'sum' or 'product': read out too, of every stage.
    """

    stages: int = 6
    channels: int = 64
    layers: int = 1
    size: int = 256
    fuse: str = 'between'

    def __post_init__(self):
        if self.fuse not in ('between', 'sum', 'product'):
            raise ValueError(f"fuse is {self.fuse!r}, not 'between', 'sum' or 'product'")

    @property
    def read_fused(self):
        """Whether keypoints are read from the fused maps."""
        return self.lift and self.fuse != 'between'


class Maps(NamedTuple):
    """What the network returns for N crops; h = H / 4, w = W / 4."""

    logits: list         # per stage (N, 18, h, w): 17 joints and background, before the sigmoid
    extras: torch.Tensor     # (N, 4, h, w) logits of eyes and ears
    coarse: torch.Tensor     # (N, 17, 2) cells x, y: where the regression says each joint is
    centre: torch.Tensor     # (N, 1, h, w) logits: is a person centred here
    lifts: list          # per lift (N, 17, 3) in statures, camera frame; empty when off
    fused: list          # per lift (N, 17, h, w): what the next stage was given
    projected: list      # per lift (N, 17, h, w): the 3D pose drawn as maps


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
        """pixel_shuffle(out(x), 2) as one transposed convolution, half of its time on a CPU."""
        c, h, w = (int(side) for side in x.shape[1:])
        maps = NUM_JOINTS + 1
        weight = self.out.weight.view(maps, 4, c).permute(2, 0, 1).reshape(c, maps, 2, 2)
        bias = self.out.bias.view(maps, 1, 2, 1, 2).expand(-1, h, -1, w, -1)
        return F.conv_transpose2d(x, weight, stride=2) + bias.reshape(maps, 2 * h, 2 * w)


def logit(b):
    """Inverse of the sigmoid, finite."""
    b = b.clamp(_FLOOR, 1 - _FLOOR)
    return torch.log(b / (1 - b))


def grid(h, w, like):
    """Cell indices: x (w,) and y (h,) as floats on the device of ``like``."""
    return (torch.arange(w, device=like.device, dtype=torch.float32),
            torch.arange(h, device=like.device, dtype=torch.float32))


class BeliefNet(nn.Module):
    """Crops (N, 3, H, W), RGB / 127.5 - 1, sides multiples of 32 -> :class:`Maps`."""

    def __init__(self, config=None):
        super().__init__()
        self.config = config = config or Config()
        self.trunk = Trunk()
        self.head = nn.ModuleDict({'center': Head(1), 'heatmap': Head(17, len(NEW_JOINTS)),
                                   'regress': Head(34), 'offset': Head(34)})
        nn.init.normal_(self.head['heatmap'].more.weight, std=0.01)
        nn.init.constant_(self.head['heatmap'].more.bias, -4.0)
        later = config.stages - 1
        self.context = Context(config.channels) if later else None
        self.stages = nn.ModuleList(Stage(config.channels, config.layers) for _ in range(later))
        # w_t = sigmoid(fusion): per stage and joint. Half and half: where little of the lifted
        # pose gets through at the start, nothing is learned from it.
        lifts = config.stages if config.read_fused else later
        self.fusion = nn.Parameter(torch.zeros(lifts, NUM_JOINTS))
        if config.fuse == 'product':
            # log of: the prediction's exponent, the factor on its covariance, and its floor, by
            # which a pose that is wrong altogether only takes so much
            start = torch.tensor(_PRODUCT).log()[:, None, None]
            self.product = nn.Parameter(start.expand(3, lifts, NUM_JOINTS).clone())
        self.lift = Lift(config.lift_modes, config.lift_dims, config.lift_headings)
        # gain and bias of stage 1's logits: the head's maps lie on a floor of one per cent a
        # cell, which over a whole map outweighs any peak
        self.gain = nn.Parameter(torch.full((NUM_JOINTS + len(EXTRAS),), 2.0))
        self.bias = nn.Parameter(torch.full((NUM_JOINTS + len(EXTRAS),), 0.5))

    def features(self, x):
        """Trunk features at stride 4, and the pyramid's sums at stride 8 and 16."""
        return self.trunk(x)

    def first(self, f4):
        """Stage 1: maps of the one person in the crop's middle.

        Returns:
            joint logits (N, 17, h, w), extras (N, 4, h, w), coarse (N, 17, 2), centre.
        """
        n, _, h, w = f4.shape
        centre = self.head['center'](f4).float()
        x, y = grid(h, w, f4)
        middle = torch.sqrt((x - w / 2) ** 2 + (y[:, None] - h / 2) ** 2)       # (h, w)
        best = (torch.sigmoid(centre[:, 0]) / (middle + _REACH)).flatten(1).argmax(1)   # (N,)
        at = self.head['regress'].at(f4, best).float().view(n, 17, 2)
        row = torch.div(best, w, rounding_mode='trunc')
        coco = at.flip(2) + torch.stack((best - w * row, row), 1)[:, None]      # (N, 17, 2) x y
        coarse = _COMPLETE.to(coco) @ coco
        heat = self.head['heatmap'](f4).float()
        all_coarse = torch.cat((coarse, coco[:, 1:5]), 1)                       # 17 + extras
        maps = heat[:, _FROM_HEAD + _EXTRA_FROM_HEAD]
        dx = x - all_coarse[..., 0, None]                                       # (N, 21, w)
        dy = y - all_coarse[..., 1, None]                                       # (N, 21, h)
        distance = torch.sqrt((dx ** 2)[:, :, None] + (dy ** 2 + 1e-6)[..., None])
        weighted = logit(torch.sigmoid(maps) * (_REACH / (distance + _REACH)))
        weighted = self.gain[:, None, None] * weighted + self.bias[:, None, None]
        return weighted[:, :NUM_JOINTS], weighted[:, NUM_JOINTS:], coarse, centre

    def forward(self, x, rays=None):
        """Run all stages.

        Args:
            x: (N, 3, H, W) crops.
            rays: optional (N, 3) focal length, x and y of the principal point in px of the crop;
                where absent the crop spans 55 degrees.

        Returns:
            Maps.
        """
        return self.heads(*self.features(x), rays)

    def heads(self, f4, wide8, wide16, rays=None):
        """Everything after the trunk; see :meth:`forward`."""
        joints, extras, coarse, centre = self.first(f4)
        logits, lifts, fused, projected = self.refine(joints, f4, wide8, wide16, rays)
        return Maps(logits, extras, coarse, centre, lifts, fused, projected)

    def fuse(self, t, logits, rays, found, search=True):
        """Lift the joint logits (N, 17, h, w) of stage t (from 0) and fuse what that predicts.

        Returns:
            fused logits, projected maps (N, 17, h, w), pose, Found.
        """
        joint = torch.sigmoid(logits)
        if self.config.fuse == 'product':
            pose, place, spread, found = predict(self.lift, joint, rays, found, search)
            power, wide, floor = torch.exp(self.product[:, t, :, None, None])
            drawn = torch.exp(-bowl(place, wide * spread, *logits.shape[2:]))
            return logits + power * torch.log(drawn + floor), drawn, pose, found
        pose, drawn, found = self.lift(joint, rays, found, search)
        w = torch.sigmoid(self.fusion[t])[:, None, None]
        return logit(drawn + w * (joint - drawn)), drawn, pose, found

    def refine_read(self, logits, shared, rays, found):
        """:meth:`refine` where the fused maps are what is read."""
        out, lifts, fused, projected = [], [], [], []
        searched = found is not None
        for t in range(len(self.stages) + 1):
            joint, rest = logits.split((NUM_JOINTS, 1), 1)
            mixed, drawn, pose, found = self.fuse(t, joint, rays, found, t == 0 and not searched)
            out.append(torch.cat((mixed, rest), 1))
            lifts.append(pose)
            projected.append(drawn)
            fused.append(torch.sigmoid(mixed))
            if t < len(self.stages):
                logits = logits + self.stages[t](shared, torch.sigmoid(out[-1]))
        return out, lifts, fused, projected

    def refine(self, joints, f4, wide8, wide16, rays=None, found=None):
        """The later stages: stage 1's joint logits (N, 17, h, w) and the trunk's features in.

        ``found``: what a search of stage 1's maps found, where that is known beforehand.

        Returns:
            logits, lifts, fused, projected as in :class:`Maps`.
        """
        background = logit(1 - torch.sigmoid(joints).amax(1, keepdim=True))
        logits = torch.cat((joints, background), 1)
        out, lifts, fused, projected = [logits], [], [], []
        shared = self.context(f4, wide8, wide16).float() if len(self.stages) else None
        if self.config.read_fused:
            return self.refine_read(logits, shared, rays, found)
        searched = found is not None
        for t, stage in enumerate(self.stages):
            belief = torch.sigmoid(logits)
            if self.config.lift:
                joint, rest = belief.split((NUM_JOINTS, 1), 1)
                # by later lifts the search says what it said before: measured, no keypoint moves
                pose, drawn, found = self.lift(joint, rays, found, t == 0 and not searched)
                w = torch.sigmoid(self.fusion[t])[:, None, None]
                mixed = drawn + w * (joint - drawn)
                lifts.append(pose)
                projected.append(drawn)
                fused.append(mixed)
                belief = torch.cat((mixed, rest), 1)
            logits = logits + stage(shared, belief)
            out.append(logits)
        return out, lifts, fused, projected

    def load_movenet(self, tensors):
        """Start from MoveNet's tensors (:func:`.trunk.movenet_tensors`)."""
        missing, unexpected = self.load_state_dict(tensors, strict=False)
        left = [n for n in missing if n.startswith(('trunk.', 'head.')) and '.more.' not in n]
        if left or unexpected:
            raise ValueError(f'not MoveNet Lightning: missing {left}, unexpected {unexpected}')
        with torch.no_grad():
            head, coco = self.head['heatmap'], ORDERS['coco']
            for i, parts in enumerate((('left_hip', 'right_hip'), None,
                                       ('left_shoulder', 'right_shoulder'), None)):
                if parts:  # the middle looks a little like its sides; quickly unlearned
                    rows = [coco.index(p) for p in parts]
                    head.more.weight[i] = 0.5 * head.out.weight[rows].mean(0)


__all__ = ['BeliefNet', 'Config', 'EXTRAS', 'INDEX', 'Maps', 'STRIDE', 'Stage', 'grid', 'logit']
