"""Other networks that find people in a whole picture: MoveNet's centre map, BlazePose's detector.

Each is a callable image (H, W, 3) uint8 BGR -> keypoints (M, 17, 2) px in the project's order,
NaN where the network lacks a joint, and scores (M,), all of them down to a low score.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import maximum_filter

from ..network.crops import normalise
from ..skeleton import convert
from .peers import BlazePose, MoveNet, TfLite

_REACH = 1.8
_LEAST = 0.05       # scores below are not worth judging
_SAME = 0.5         # boxes that share more than this are of one person
_ROOM = 1.25        # side of BlazePose's crop over the circle about the body


def box_of(keypoints, widen=0.1):
    """Box about a person's joints, their extent widened by a share of its longer side."""
    low, high = np.nanmin(keypoints, 0), np.nanmax(keypoints, 0)
    pad = widen * (high - low).max()
    return np.concatenate((low - pad, high + pad))


def distinct(boxes, scores, share=_SAME):
    """Indices of boxes (M, 4), surest first, that share little with a surer one."""
    keep = []
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for i in np.argsort(-scores, kind='stable'):
        low = np.maximum(boxes[i, :2], boxes[keep, :2])
        high = np.minimum(boxes[i, 2:], boxes[keep, 2:])
        both = np.prod(np.clip(high - low, 0, None), axis=1)
        if not (both > share * (area[i] + area[keep] - both)).any():
            keep.append(i)
    return np.array(keep, int)


class MoveNetCentres:
    """Float MoveNet Lightning on a whole picture: peaks of its centre map, its own decoding.

    Args:
        path: movenet_lightning.npz; side: the picture's longer side is brought to, px.
        again: look at each person once more in a crop of 256 px.
    """

    def __init__(self, path, side=416, again=False):
        self.crop = MoveNet(path)
        self.model, self.side, self.again = self.crop.model, side, again

    @torch.inference_mode()
    def __call__(self, image):
        """People and scores; see the module."""
        scale = self.side / max(image.shape[:2])
        h, w = (max(1, round(n * scale)) for n in image.shape[:2])
        small = cv2.resize(image, (w, h),
                           interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        x = F.pad(normalise(small[None]), (0, -w % 32, 0, -h % 32), value=-1.0)
        head, f4 = self.model.head, self.model.trunk(x)[0]
        centre = torch.sigmoid(head['center'](f4))[0, 0].numpy()
        regress = head['regress'](f4)[0].numpy().reshape(17, 2, *centre.shape)
        offset = head['offset'](f4)[0].numpy().reshape(17, 2, *centre.shape)
        heat = torch.sigmoid(head['heatmap'](f4)[0, :17]).numpy()
        cy, cx = np.nonzero((centre == maximum_filter(centre, 5)) & (centre > _LEAST))
        rows, columns = np.arange(centre.shape[0])[:, None], np.arange(centre.shape[1])
        joint, people = np.arange(17), []
        for y, x0 in zip(cy, cx):
            rough = regress[:, :, y, x0] + (y, x0)                       # (17, 2) y x
            far = np.hypot(rows - rough[:, 0, None, None], columns - rough[:, 1, None, None])
            py, px = np.unravel_index((heat / (far + _REACH)).reshape(17, -1).argmax(1),
                                      centre.shape)
            people.append(4 * np.stack((px + offset[joint, 1, py, px],
                                        py + offset[joint, 0, py, px]), 1))
        scores = centre[cy, cx].astype(np.float64)
        xy = (np.array(people).reshape(-1, 17, 2) + 0.5) / scale - 0.5
        boxes = np.array([box_of(p) for p in xy]).reshape(-1, 4)
        keep = distinct(boxes, scores)
        xy, scores, boxes = xy[keep], scores[keep], boxes[keep]
        if self.again and len(xy):
            return np.stack([self.crop(image, box) for box in boxes]), scores
        return convert(xy, np.ones(xy.shape[:2]), 'coco')[0], scores


def anchors():
    """Middles of the cells BlazePose's detector speaks of: (2254, 2) x, y in 0..1."""
    rows = []
    for cells, each in ((28, 2), (14, 2), (7, 6)):
        y, x = np.mgrid[:cells, :cells]
        rows.append(np.repeat((np.stack((x, y), 2).reshape(-1, 2) + 0.5) / cells, each, 0))
    return np.concatenate(rows)


class BlazePosePeople:
    """BlazePose's detector, and its full landmark network in the turned crop it asks for."""

    def __init__(self, detector, landmarks):
        self.detector, self.body = TfLite(detector), BlazePose(landmarks)
        self.anchors = anchors()

    def detect(self, image):
        """Boxes (M, 4), middle of the hips and a point of the body's circle (M, 2, 2), scores."""
        h, w = image.shape[:2]
        scale = 224 / max(h, w)
        small = np.zeros((224, 224, 3), np.uint8)
        left, top = (int(round((224 - n * scale) / 2)) for n in (w, h))
        resized = cv2.resize(image, (max(1, round(w * scale)), max(1, round(h * scale))),
                             interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        small[top:top + resized.shape[0], left:left + resized.shape[1]] = resized
        out = self.detector.run(small[None, :, :, ::-1].astype(np.float32) / 127.5 - 1)
        raw = next(o for o in out if o.shape[-1] == 12)[0].astype(np.float64)
        logit = next(o for o in out if o.shape[-1] == 1)[0, :, 0]
        score = 1 / (1 + np.exp(-np.clip(logit, -100, 100).astype(np.float64)))
        use = score > _LEAST
        at = raw[use].reshape(-1, 6, 2)
        place = at + 224 * self.anchors[use][:, None]           # middle, size, then four points
        middle, size = place[:, 0], at[:, 1]
        boxes = np.concatenate((middle - size / 2, middle + size / 2), 1)
        keep = distinct(boxes, score[use], 0.3)
        back = np.array([left, top])
        points = (place[keep, 2:4] - back) / scale
        return (boxes[keep].reshape(-1, 2, 2) - back).reshape(-1, 4) / scale, points, (
            score[use][keep])

    def __call__(self, image):
        """People and scores; see the module."""
        _, points, scores = self.detect(image)
        found = [self.body.turned(image, hips, np.linalg.norm(top - hips),
                                  np.arctan2(top[0] - hips[0], hips[1] - top[1]))
                 for hips, top in points]
        xy = np.array([f[0] for f in found]).reshape(-1, 17, 2)
        return xy, scores * np.array([f[1] for f in found]).reshape(-1)


def finders(movenet=None, folder=None):
    """The finders whose files are there: dict name -> callable.

    Args:
        movenet: float MoveNet's npz, or None; folder: of the .tflite files, or None.
    """
    found = {}
    if movenet and Path(movenet).is_file():
        found['MoveNet float, 416 px'] = MoveNetCentres(movenet)
        found['MoveNet float, 416 px, and each again at 256 px'] = MoveNetCentres(movenet,
                                                                                  again=True)
    if folder:
        files = [Path(folder) / f for f in ('pose_detection.tflite', 'pose_landmark_full.tflite')]
        if all(f.is_file() for f in files):
            found['BlazePose detector and full'] = BlazePosePeople(*files)
    return found
