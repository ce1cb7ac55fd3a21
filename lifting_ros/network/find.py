"""People in a whole image: peaks of the centre map, boxes from the regressed joints."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import maximum_filter

#: Longer sides at which a picture is looked at: who fills it is seen in the smallest one, who is
#: small in the largest.
SIDES = (192, 320, 544)
_STRIDE = 4
#: Peaks that are looked at, for each person that may be found.
CANDIDATES = 4
_WIDEN = 0.10       # of the joints' longer extent: the boxes of the labels are that much wider
_REACH = 1.8
_OVERLAP = 0.5      # of two boxes that share more than this, the weaker is the same person
_SURE = 0.1         # height of a joint's heat from which it counts as seen
_FAR = 0.3          # of the person's size: a peak that far from the regressed joint is another's
_FEW = 6            # joints that make a box; with fewer the regressed ones do


def _iou(box, others):
    lo = np.maximum(box[:2], others[:, :2])
    hi = np.minimum(box[2:], others[:, 2:])
    inter = np.prod(np.clip(hi - lo, 0, None), axis=1)
    area = np.prod(box[2:] - box[:2])
    return inter / (area + np.prod(others[:, 2:] - others[:, :2], axis=1) - inter + 1e-9)


def find_people(centre, regress, heat, threshold, max_people):
    """Boxes of people.

    Args:
        centre: (h, w) in 0..1.
        regress: (34, h, w) cells, (dy, dx) of each COCO joint.
        heat: (17, h, w) in 0..1, COCO order.
        threshold: least centre score.
        max_people: at most so many.

    Returns:
        boxes (M, 4) x0 y0 x1 y1 px of the picture the maps belong to, scores (M,).
    """
    return boxes_of(_candidates(centre, regress, heat, threshold, CANDIDATES * max_people),
                    centre.shape, max_people)


def _candidates(centre, regress, heat, threshold, count):
    """Yield peaks of the centre map as :func:`boxes_of` takes them, the surest first."""
    h, w = centre.shape
    peak = (centre == maximum_filter(centre, 5, mode='constant')) & (centre >= threshold)
    cy, cx = np.nonzero(peak)
    order = np.argsort(-centre[cy, cx], kind='stable')[:count]
    rows, columns = np.arange(h)[:, None], np.arange(w)
    for y, x in zip(cy[order], cx[order]):
        coarse = regress[:, y, x].reshape(17, 2) + (y, x)
        distance = np.sqrt((rows - coarse[:, 0, None, None]) ** 2
                           + (columns - coarse[:, 1, None, None]) ** 2)
        weighted = heat * _REACH / (distance + _REACH)
        best = weighted.reshape(17, -1).argmax(1)
        joints = np.stack((best % w, best // w), 1).astype(np.float64)
        yield (float(centre[y, x]), coarse[:, ::-1], joints,
               heat.reshape(17, -1)[np.arange(17), best])


def candidates(centre, regress, heat, count):
    """The same on a GPU, without asking it how many there are.

    Args:
        centre: (h, w) in 0..1, regress: (34, h, w), heat: (17, h, w), tensors; count: how many
        peaks are looked at.

    Returns:
        (count, 86): score, 0 where there is no peak; x, y of the regressed joints; x, y of the
        joints' peaks; their heat.
    """
    h, w = centre.shape
    peak = centre == F.max_pool2d(centre[None], 5, 1, 2)[0]
    score, at = torch.where(peak, centre, 0.0 * centre).flatten().topk(count)
    y = torch.div(at, w, rounding_mode='trunc')
    place = torch.stack((y, at - w * y), 1)[:, None]                           # (K, 1, 2) y x
    coarse = regress.flatten(1)[:, at].T.unflatten(1, (17, 2)) + place         # (K, 17, 2) y x
    rows = torch.arange(h, device=centre.device) - coarse[..., :1]             # (K, 17, h)
    columns = torch.arange(w, device=centre.device) - coarse[..., 1:]
    distance = torch.sqrt((rows ** 2)[..., None] + (columns ** 2)[:, :, None])
    best = (heat / (distance + _REACH)).flatten(2).argmax(2)                   # (K, 17)
    warm = heat.flatten(1).T.gather(0, best)
    row = torch.div(best, w, rounding_mode='trunc')
    joints = torch.stack((best - w * row, row), 2)
    return torch.cat((score[:, None], coarse.flip(2).flatten(1), joints.flatten(1), warm), 1)


def split(packed, threshold, count):
    """Yield rows (K, 86) of :func:`candidates`, as an array, as :func:`boxes_of` takes them."""
    for row in packed[:count]:
        if row[0] >= threshold and row[0] > 0:
            yield float(row[0]), row[1:35].reshape(17, 2), row[35:69].reshape(17, 2), row[69:]


def boxes_of(found, shape, max_people):
    """Boxes of candidates, without those that are somebody surer.

    Args:
        found: yields score; regressed joints (17, 2) and their peaks (17, 2), cells x, y; heat
            (17,) of the peaks; the surest first.
        shape: h, w of the maps.
        max_people: at most so many.

    Returns:
        as :func:`find_people`.
    """
    h, w = shape
    boxes, scores = [], []
    for score, rough, joints, warm in found:
        size = max((rough.max(0) - rough.min(0)).max(), 1.0)
        # a peak far from where the regression has the joint is a neighbour's
        sure = (warm > _SURE) & (np.linalg.norm(joints - rough, axis=1) < _FAR * size)
        joints = np.where(sure[:, None], joints, rough)
        use = sure if sure.sum() >= _FEW else np.ones(17, bool)
        px = _STRIDE * joints[use] + (_STRIDE - 1) / 2
        lo, hi = px.min(0), px.max(0)
        grow = _WIDEN * (hi - lo).max() + _STRIDE
        box = np.concatenate((lo - grow, hi + grow))
        box = np.clip(box, 0, [_STRIDE * w - 1, _STRIDE * h - 1] * 2)
        if boxes and _iou(box, np.array(boxes)).max() > _OVERLAP:
            continue
        boxes.append(box)
        scores.append(score)
        if len(boxes) == max_people:
            break
    return np.array(boxes).reshape(-1, 4), np.array(scores)


def merge(parts, max_people):
    """People found at several scales, each once.

    Who is seen at two scales is the surer for it: the scores p of a person combine to
    1 - (1 - p1)(1 - p2).

    Args:
        parts: for each scale (boxes (M, 4) px of the image, scores (M,)); max_people: at most so
            many.

    Returns:
        boxes, scores: of boxes that share more than half the surer one, the surest first.
    """
    boxes = np.concatenate([b for b, _ in parts]).reshape(-1, 4)
    scores = np.concatenate([s for _, s in parts])
    scale = np.repeat(np.arange(len(parts)), [len(s) for _, s in parts])
    keep, doubt = [], []        # the boxes kept; for each, 1 - p at each scale
    for i in np.argsort(-scores, kind='stable'):
        share = _iou(boxes[i], boxes[keep]) if keep else np.zeros(0)
        if len(share) and share.max() > _OVERLAP:
            same = doubt[share.argmax()]
            same[scale[i]] = min(same[scale[i]], 1 - scores[i])
            continue
        keep.append(i)
        doubt.append(np.where(np.arange(len(parts)) == scale[i], 1 - scores[i], 1.0))
    scores = 1 - np.prod(np.array(doubt).reshape(len(keep), len(parts)), axis=1)
    order = np.argsort(-scores, kind='stable')[:max_people]
    return boxes[keep][order], scores[order]
