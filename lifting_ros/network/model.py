"""The belief-map network: stages, and between them lift, re-projection and fusion (design 6).

Stage 1 is the trunk's heatmap head, each map weighted by the distance to where the regression at
the crop's person says the joint is, which keeps a neighbour's joints out. Every later stage adds
a correction to the logits of the stage before; it sees the trunk's features and the fused maps
f_t = w_t b_t + (1 - w_t) p_t, p_t being the 3D pose of stage t projected back into the crop.
``Config.fuse`` has two other forms, in which the fused map of every stage, the last included, is
what is read and what the loss is on: that sum, and the product b_t p_t^g of likelihood and
prediction, p_t being what the other joints say of each.
"""

import torch
from torch import nn

from ..skeleton import JOINTS, NUM_JOINTS, ORDERS
from .config import Config
from .constants import constant, frozen, take
from .lift import Lift
from .maps import EXTRAS, Maps, grid, logit
from .predict import bowl, predict
from .stages import Context, Stage
from .trunk import Head, Trunk

#: Joints that the trunk's own head has no map for.
NEW_JOINTS = ('pelvis', 'spine', 'neck', 'head_top')
#: Where each of the seventeen is in the head's 17 COCO + 4 new maps; then the extras.
_HEAD_ORDER = ORDERS['coco'] + NEW_JOINTS
_FROM_HEAD = tuple(_HEAD_ORDER.index(n) for n in JOINTS)
_EXTRA_FROM_HEAD = tuple(_HEAD_ORDER.index(n) for n in EXTRAS)
_REACH = 1.8    # cells: distance at which a map is halved by the person's weighting
_PRODUCT = (0.6, 3.0, 0.03)     # exponent, width and floor of a product at the start: good as is


def _complete():
    """(17, 17): from COCO's joints to the seventeen, those it lacks from their neighbours."""
    at = dict(zip(ORDERS['coco'], torch.eye(len(ORDERS['coco'])), strict=True))
    at['pelvis'] = (at['left_hip'] + at['right_hip']) / 2
    at['neck'] = (at['left_shoulder'] + at['right_shoulder']) / 2
    at['spine'] = (at['pelvis'] + at['neck']) / 2
    at['head_top'] = at['nose'] + 0.5 * (at['nose'] - at['neck'])
    return torch.stack([at[name] for name in JOINTS])


_COMPLETE = frozen(_complete().numpy())


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
        coarse = constant(_COMPLETE, coco) @ coco
        heat = self.head['heatmap'](f4).float()
        all_coarse = torch.cat((coarse, coco[:, 1:5]), 1)                       # 17 + extras
        maps = take(heat, _FROM_HEAD + _EXTRA_FROM_HEAD, 1)
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
