"""Pictures of what the network is bad at: ``lifting-ros eval chain --pictures FILE``."""

from types import SimpleNamespace

import cv2
import numpy as np

from ..drawing import draw_people
from ..skeleton import BONES

_SIDE, _COLUMNS = 240, 4


def errors(result, shots):
    """Mean error of each picture's visible keypoints as a share of its box's longer side (N,)."""
    out = np.full(len(shots), np.nan)
    for i, p in enumerate(shots):
        off = np.linalg.norm(result.keypoints[i] - p.keypoints, axis=1)[p.visible > 0]
        if np.isfinite(off).any():
            out[i] = np.nanmean(off) / np.ptp(p.box.reshape(2, 2), axis=0).max()
    return out


def tile(shot, keypoints, confidence, text):
    """A person cut out: what was found in colour, the truth as a thin white line.

    Args:
        shot: :class:`~lifting_ros.evaluation.chain.Picture`; keypoints: (17, 2) px;
        confidence: (17,); text: written below.

    Returns:
        (240, 240, 3) uint8 BGR.
    """
    middle = shot.box.reshape(2, 2).mean(0)
    side = 1.25 * np.ptp(shot.box.reshape(2, 2), axis=0).max()
    scale = _SIDE / side
    matrix = np.array([[scale, 0, _SIDE / 2 - scale * middle[0]],
                       [0, scale, _SIDE / 2 - scale * middle[1]]])
    image = cv2.warpAffine(shot.image, matrix, (_SIDE, _SIDE),
                           flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    found, truth = (p @ matrix[:, :2].T + matrix[:, 2] for p in (keypoints, shot.keypoints))
    image = draw_people(image, [SimpleNamespace(
        keypoints=found, keypoint_confidence=confidence, confidence=1.0)], 0.05, labels=False)
    for child, parent in BONES:
        ends = [tuple(int(v) for v in np.round(truth[j])) for j in (parent, child)]
        cv2.line(image, *ends, (255, 255, 255), 1, cv2.LINE_AA)
    cv2.putText(image, text, (6, _SIDE - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3)
    cv2.putText(image, text, (6, _SIDE - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
    return image


def gallery(result, shots, found, count=12):
    """The worst pictures, the worst first.

    Args:
        result: :class:`~lifting_ros.evaluation.chain.Result`; shots: list of Picture.
        found: list of :class:`~lifting_ros.network.estimator.Keypoints`.
        count: how many; a multiple of four.

    Returns:
        (H, W, 3) uint8 BGR; indices of the pictures.
    """
    error = errors(result, shots)
    worst = np.argsort(np.where(np.isfinite(error), -error, np.inf), kind='stable')[:count]
    tiles = [tile(shots[i], found[i].xy[0], found[i].confidence[0],
                  f'{100 * error[i]:.0f} % of the box') for i in worst]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % _COLUMNS)
    rows = [np.hstack(tiles[i:i + _COLUMNS]) for i in range(0, len(tiles), _COLUMNS)]
    return np.vstack(rows), worst
