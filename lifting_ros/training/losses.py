"""Losses on belief maps; everything is masked by what is known, nothing is guessed."""

import torch
import torch.nn.functional as F

from ..network.constants import take
from ..skeleton import MIRROR, NUM_JOINTS

_POSE = 5.0     # weight of the error in 3D, in statures, beside nats of the maps
_FAR = 1.0      # statures: a lift that is farther off has lost its depth and teaches nothing


def targets(keypoints, belief, h, w, sigma=1.0, stride=4):
    """Gaussian belief maps.

    Args:
        keypoints: (N, J, 2) px of the crop, NaN unknown.
        belief: (N, J) height; 0 gives an empty map.
        h, w: cells; sigma: cells.

    Returns:
        (N, J, h, w).
    """
    cell = (torch.nan_to_num(keypoints, nan=-1e4) - (stride - 1) / 2) / stride
    x = torch.arange(w, device=cell.device, dtype=cell.dtype)
    y = torch.arange(h, device=cell.device, dtype=cell.dtype)
    gx = torch.exp(-(x - cell[..., 0, None]) ** 2 / (2 * sigma ** 2))
    gy = torch.exp(-(y - cell[..., 1, None]) ** 2 / (2 * sigma ** 2))
    return belief[..., None, None] * gy[..., None] * gx[:, :, None]


def map_loss(logits, target, known):
    """Loss per map: where the joint is, and how sure it looks.

    The place is a cross-entropy over cells between the softmax of the logits and the normalised
    target; the height a binary cross-entropy per cell, whose gradient at the logits is that of
    the squared error of the belief without the factor that dies where a map is sure and wrong.

    Args:
        logits, target: (N, J, h, w); known: (N, J) bool.

    Returns:
        place (N, J), height (N, J): zero where unknown; place zero where the target is empty.
    """
    mass = target.flatten(2).sum(2)
    there = known & (mass > 0.5)
    log_p = F.log_softmax(logits.flatten(2), 2)
    place = -(target.flatten(2) * log_p).sum(2) / mass.clamp(min=0.5)
    height = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    height = height.flatten(2).sum(2)
    zero = logits.new_zeros(())
    return torch.where(there, place, zero), torch.where(known, height, zero)


def better_side(logits, keypoints, belief, known, swap, sigma=1.0, stride=4):
    """Exchange left and right of the labels that fit the maps better so.

    Args:
        logits: (N, >=17, h, w) of some stage.
        keypoints: (N, J, 2), belief: (N, J), known: (N, J), the seventeen first.
        swap: (N,) bool: labels that may be exchanged; others stay.

    Returns:
        keypoints, belief, known.
    """
    labels = keypoints, belief, known
    with torch.no_grad():
        maps = logits[:, :NUM_JOINTS].detach()
        costs, readings = [], []
        for order in (tuple(range(NUM_JOINTS)), MIRROR):
            reading = [take(v, tuple(order), 1) for v in labels]
            k, b, m = reading
            t = targets(k, b, *maps.shape[2:], sigma, stride)
            costs.append(map_loss(maps, t, m)[0].sum(1))
            readings.append(reading)
        # of everybody, though few may be turned: a GPU is not asked who
        turned = swap & (costs[1] < costs[0])
    out = []
    for value, other in zip(labels, readings[1], strict=True):
        where = turned.view(-1, *[1] * (value.dim() - 1))
        out.append(torch.cat((torch.where(where, other, value[:, :NUM_JOINTS]),
                              value[:, NUM_JOINTS:]), 1))
    return tuple(out)


def belief_loss(maps, keypoints, belief, known, weight, height_weight=0.15, sigma=1.0, stride=4):
    """The loss of all stages.

    Args:
        maps: network.maps.Maps.
        keypoints: (N, 21, 2) px, belief (N, 21), known (N, 21): seventeen joints, four extras.
        weight: (N, 21) trust in each label.
        height_weight: of the height against the place; sigma: cells; stride: px a cell.

    Returns:
        loss (scalar), dict of scalars for the log.
    """
    h, w = maps.logits[0].shape[2:]
    target = targets(keypoints, belief, h, w, sigma, stride)
    joint, extra = target[:, :NUM_JOINTS], target[:, NUM_JOINTS:]
    known_j, weight_j = known[:, :NUM_JOINTS], weight[:, :NUM_JOINTS]
    count = (known_j * weight_j).sum().clamp(min=1)
    total, log = 0.0, {}
    # the background is known only where nearly all joints are
    whole = (known_j.sum(1) >= 12).float()
    ground = 1 - joint.amax(1)
    for t, logits in enumerate(maps.logits):
        place, height = map_loss(logits[:, :NUM_JOINTS], joint, known_j)
        back = F.binary_cross_entropy_with_logits(logits[:, NUM_JOINTS], ground,
                                                  reduction='none').sum((1, 2))
        place = (place * weight_j).sum() / count
        height = (height * weight_j).sum() / count
        back = (back * whole).sum() / whole.sum().clamp(min=1) / NUM_JOINTS
        share = 1.0 if t == len(maps.logits) - 1 else 0.5
        total = total + share * (place + height_weight * (height + back))
        log[f'place{t + 1}'], log[f'height{t + 1}'] = place.detach(), height.detach()
    known_e, weight_e = known[:, NUM_JOINTS:], weight[:, NUM_JOINTS:]
    place, height = map_loss(maps.extras, extra, known_e)
    total = total + 0.1 * ((place + height_weight * height) * weight_e).sum() / (
        (known_e * weight_e).sum().clamp(min=1))
    cell = (torch.nan_to_num(keypoints[:, :NUM_JOINTS]) - (stride - 1) / 2) / stride
    use = (known_j & (belief[:, :NUM_JOINTS] > 0)).float() * weight_j
    coarse = F.smooth_l1_loss(maps.coarse, cell, reduction='none', beta=2.0).sum(2)
    coarse = (coarse * use).sum() / use.sum().clamp(min=1)
    log['coarse'] = coarse.detach()
    return total + 0.05 * coarse, log


def pose_loss(lifts, joints, height):
    """Root-relative joint error of the lifts, in statures, where the 3D truth is known.

    Args:
        lifts: per lift (N, 17, 3) statures, camera frame.
        joints: (N, 17, 3) m, camera frame, NaN where there is no truth.
        height: (N,) m, the person's stature (NaN where unknown).

    Returns:
        scalar.
    """
    known = torch.isfinite(joints).all(2).all(1) & torch.isfinite(height)
    total = torch.zeros((), device=joints.device)
    if not lifts:
        return total
    size = torch.where(known, height, 1.0)[:, None, None]
    truth = torch.where(known[:, None, None], joints - joints[:, :1], 0.0) / size
    count = known.sum().clamp(min=1)
    for lift in lifts:
        error = torch.sqrt((((lift - lift[:, :1]) - truth) ** 2).sum(2) + 1e-6)
        error = error.clamp(max=_FAR).mean(1)
        total = total + torch.where(known, error, 0.0).sum() / count
    return total / len(lifts)


def batch_loss(maps, batch, stride=4):
    """Loss of a batch: that of the maps on the better side of each mirrored one, and of the pose.

    Args:
        maps: of :class:`..network.maps.Maps`; batch: dict of a mixture; without ``joints`` the
            maps alone count. stride: of the maps, px.

    Returns:
        the loss, and a dict of scalars: its parts.
    """
    labels = better_side(maps.logits[-1], batch['keypoints'], batch['belief'], batch['known'],
                         batch['swap'], stride=stride)
    loss, said = belief_loss(maps, *labels, batch['weight'], stride=stride)
    if 'joints' in batch:
        pose = pose_loss(maps.lifts, batch['joints'], batch['height'])
        loss = loss + _POSE * pose
        said['pose'] = pose.detach()
    return loss, said
