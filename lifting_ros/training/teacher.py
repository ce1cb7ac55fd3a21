"""MoveNet as it was, as a teacher: labels for what nobody labelled, where it is sure of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..network import BeliefNet, Config
from ..network.crops import cut, normalise
from ..network.decode import decode
from ..network.estimator import Estimator
from ..network.trunk import movenet_tensors
from ..skeleton import HIPS, INDEX, MIRROR, NECK, PELVIS, SHOULDERS, SPINE

_MIRROR, _EXTRA_MIRROR = list(MIRROR), [1, 0, 3, 2]
#: Joints that MoveNet has no map for.
_NONE = [INDEX[n] for n in ('pelvis', 'spine', 'neck', 'head_top')]
_VIEWS = ((1.25, 256), (1.25, 192), (1.5, 256))
#: Joints with a side, how near a label's is to be, and how many more of them exchanged.
_SIDED = [i for i, other in enumerate(MIRROR) if i != other]
_CLOSE, _DOUBT = 0.12, 0.3


def movenet(path):
    """MoveNet as a network of one stage: its own decoding, at the places of our joints."""
    model = BeliefNet(Config(stages=1, lift=False, margin=1.25))
    model.load_movenet(movenet_tensors(path))
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@torch.inference_mode()
def _view(model, people, margin, size, flip):
    cuts = [cut(p.image, p.box[None], size, margin) for p in people]
    crops = np.concatenate([c[0] for c in cuts])
    scale = np.concatenate([c[1] for c in cuts])[:, None, None]
    offset = np.concatenate([c[2] for c in cuts])[:, None]
    if flip:
        crops = crops[:, :, ::-1]
    maps = model(normalise(crops))
    beliefs = torch.sigmoid(torch.cat((maps.logits[-1][:, :17], maps.extras), 1))
    xy, confidence, _ = decode(beliefs)
    xy, confidence = xy.double().numpy(), confidence.double().numpy()
    if flip:
        order = _MIRROR + [17 + i for i in _EXTRA_MIRROR]
        xy[..., 0] = size - 1 - xy[..., 0]
        xy, confidence = xy[:, order], confidence[:, order]
    return (xy - offset) / scale, confidence


def look(model, people, views=_VIEWS):
    """The teacher's word on people: an ensemble over flips and scales.

    Args:
        model: of :func:`movenet`.
        people: list of Labelled; only their pictures and boxes are looked at.
        views: (margin, size) of the crops.

    Returns:
        keypoints (N, 21, 2) px of the image: the seventeen, then eyes and ears; confidence
        (N, 21), lowered where the views disagree, 0 where there is no map.
    """
    seen = [_view(model, people, *view, flip) for view in views for flip in (False, True)]
    found, sure = (np.stack(v) for v in zip(*seen))               # (V, N, 21, 2), (V, N, 21)
    mean = (found * sure[..., None]).sum(0) / (sure.sum(0)[..., None] + 1e-9)
    side = np.array([max(p.box[2:] - p.box[:2]) for p in people])[:, None]
    spread = np.sqrt((((found - mean) ** 2).sum(3) * sure).sum(0) / (sure.sum(0) + 1e-9)) / side
    confidence = sure.mean(0) * np.exp(-(spread / 0.03) ** 2)
    confidence[:, _NONE] = 0
    for middle, (a, b) in ((PELVIS, HIPS), (NECK, SHOULDERS), (SPINE, (PELVIS, NECK))):
        mean[:, middle] = (mean[:, a] + mean[:, b]) / 2
        confidence[:, middle] = np.minimum(confidence[:, a], confidence[:, b])
    return mean, confidence


def teach(path, people, views=_VIEWS, batch=16, progress=iter):
    """The teacher's word on labelled people; see :func:`look`.

    Args:
        path: MoveNet's npz; people: list of Labelled; progress: wraps the loop.

    Returns:
        keypoints (N, 21, 2) float32, confidence (N, 21) float32.
    """
    model = movenet(path)
    said = [look(model, people[i:i + batch], views)
            for i in progress(range(0, len(people), batch))]
    if not said:
        return np.zeros((0, 21, 2), np.float32), np.zeros((0, 21), np.float32)
    return tuple(np.concatenate(v).astype(np.float32) for v in zip(*said))


def sides_exchanged(keypoints, people):
    """Whose labels fit what a network sees better with left and right exchanged.

    Args:
        keypoints: (N, 17, 2) px of the image, the network's; people: list of Labelled.

    Returns:
        (N,) bool: of the labelled limb joints a share of 0.3 more lie within 0.12 of the box's
        longer side of what the network sees.
    """
    label = np.stack([p.keypoints for p in people])[:, _SIDED]
    labelled = np.stack([p.visible for p in people])[:, _SIDED] > 0
    box = np.stack([p.box for p in people])
    reach = _CLOSE * (box[:, 2:] - box[:, :2]).max(1)[:, None]

    def agree(points):
        near = np.linalg.norm(points[:, _SIDED] - label, axis=2) < reach
        return (near & labelled).sum(1) / labelled.sum(1).clip(1)
    return agree(keypoints[:, _MIRROR]) - agree(keypoints) > _DOUBT


@dataclass
class Found:
    """People the teacher found in a photo without labels: boxes (M, 4)."""

    photo: str
    boxes: np.ndarray


def find_in(path, photos, threshold=0.4, least=48, progress=iter):
    """People in unlabelled photos.

    Args:
        photos: list of (name, image).
        least: px, the least height of a person worth learning from.

    Returns:
        list of Found.
    """
    estimator = Estimator(movenet(path))
    out = []
    for name, image in progress(photos):
        boxes, _ = estimator.find(image, threshold, 8, 416)
        tall = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
        out.append(Found(name, boxes[tall >= least]))
    return out


def cached(file, make):
    """Arrays of ``make()``, kept in ``file`` (.npz)."""
    file = Path(file)
    if file.is_file():
        with np.load(file, allow_pickle=False) as data:
            return {n: data[n] for n in data.files}
    arrays = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, **arrays)
    return arrays
