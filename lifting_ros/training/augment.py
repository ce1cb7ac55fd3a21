"""From a labelled person to a training crop: geometry, things in the way, and bad cameras."""

from dataclasses import dataclass

import cv2
import numpy as np

from ..skeleton import MIRROR

_MIRROR = np.array(MIRROR)
_EXTRA_MIRROR = np.array([1, 0, 3, 2])


@dataclass(frozen=True)
class Augment:
    """How hard. All probabilities are per crop.

    Args:
        margin: side of a crop over the box's longer side, as at inference.
        scale: sigma of the logarithm of the scale.
        shift: sigma of the shift over the crop's side.
        turn: sigma of the rotation in rad; any_turn: share rotated by any angle.
        cut: share cut by an image border; occlude: share with things in front.
        colour, blur, coarse, jpeg, noise, grey: shares with that harm.
    """

    margin: float = 1.25
    scale: float = 0.15
    shift: float = 0.05
    turn: float = 0.35
    any_turn: float = 0.25
    cut: float = 0.1
    occlude: float = 0.12
    colour: float = 0.4
    blur: float = 0.05
    coarse: float = 0.06
    jpeg: float = 0.06
    noise: float = 0.05
    grey: float = 0.05


@dataclass
class Crop:
    """A training crop.

    Args:
        image: (S, S, 3) uint8 BGR.
        keypoints: (21, 2) px of the crop, the seventeen joints and four extras, NaN unknown.
        belief: (21,) height of the target: 1 visible, less hidden, 0 certainly out of sight.
        known: (21,) bool: the map has a target (of zeros where the joint is out of sight).
        matrix: (2, 3) affine map from the photo to the crop.
        mirrored: bool.
    """

    image: np.ndarray
    keypoints: np.ndarray
    belief: np.ndarray
    known: np.ndarray
    matrix: np.ndarray
    mirrored: bool


def crop_truth(person, crop, view=0.96):
    """The camera of a crop, and the 3D truth before it.

    A crop that is turned is what a camera sees that is turned about its optical axis; one that
    is shifted or scaled is another principal point and focal length.

    Args:
        person: Labelled; crop: :class:`Crop` of it.
        view: rad a crop is taken to span where the photo's camera is not known.

    Returns:
        camera (3,) focal length and principal point, px; joints (17, 3) m (NaN unknown).
    """
    size = crop.image.shape[0]
    if person.joints is None:
        middle = (size - 1) / 2
        return np.array([size / 2 / np.tan(view / 2), middle, middle]), np.full((17, 3), np.nan)
    linear = crop.matrix[:, :2]
    scale = np.sqrt(abs(np.linalg.det(linear)))
    joints = np.array(person.joints, np.float64)
    joints[:, :2] = joints[:, :2] @ (linear / scale).T
    if crop.mirrored:
        joints = joints[_MIRROR]
    middle = linear @ person.camera[:2, 2] + crop.matrix[:, 2]
    return np.array([scale * person.camera[0, 0], *middle]), joints


_HIDDEN = 0.6    # height of the belief of a joint that is labelled but hidden


def crop_matrix(rng, box, size, how):
    """A random affine map (2, 3) from the photo to a crop of ``size`` px, and if it mirrors."""
    side = how.margin * max(box[2] - box[0], box[3] - box[1], 4.0)
    side *= np.exp(np.clip(rng.normal(0, how.scale), -2 * how.scale, 2 * how.scale))
    middle = (box[:2] + box[2:]) / 2 + rng.normal(0, how.shift, 2) * side
    angle = rng.normal(0, how.turn) * (rng.random() < 0.7)
    if rng.random() < how.any_turn:
        angle = rng.uniform(-np.pi, np.pi)
    mirrored = bool(rng.random() < 0.5)
    s = size / side
    turn = s * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirrored:
        turn = turn * np.array([[-1.0], [1.0]])
    offset = (size - 1) / 2 - turn @ middle
    return np.concatenate((turn, offset[:, None]), 1), mirrored


def make_crop(rng, person, size, how, occluders):
    """A random training crop.

    Args:
        rng: numpy Generator; everything random comes from it.
        person: Labelled.
        size: side, px.
        how: Augment.
        occluders: list of BGR pictures from which things in the way are cut.

    Returns:
        Crop.
    """
    matrix, mirrored = crop_matrix(rng, person.box, size, how)
    image = cv2.warpAffine(person.image, matrix, (size, size), flags=cv2.INTER_LINEAR,
                           borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    extras = np.full((4, 2), np.nan) if person.extras is None else person.extras
    points = np.concatenate((person.keypoints, extras))
    visible = np.concatenate((person.visible, np.where(np.isfinite(extras[:, 0]), 2, 0)))
    points = points @ matrix[:, :2].T + matrix[:, 2]
    if mirrored:
        order = np.concatenate((_MIRROR, 17 + _EXTRA_MIRROR))
        points, visible = points[order], visible[order]
    belief = np.where(visible >= 1.5, 1.0, _HIDDEN) * (visible > 0)
    if rng.random() < how.cut:
        image, gone = _border(rng, image, points)
        belief = np.where(gone, 0.0, belief)
    if rng.random() < how.occlude:
        image, hidden = _occlude(rng, image, points, occluders)
        belief = np.where(hidden, np.minimum(belief, _HIDDEN), belief)
    with np.errstate(invalid='ignore'):
        outside = ((points < -0.5) | (points > size - 0.5)).any(1)
    belief = np.where(outside, 0.0, belief)
    image = _harm(rng, image, how)
    known = (visible > 0) & np.isfinite(points).all(1)
    return Crop(image, points, belief * known, known, matrix, mirrored)


def _border(rng, image, points):
    """Black beyond a line near one side, as where a photo ends."""
    size, side = image.shape[0], rng.integers(4)
    depth = int(size * rng.uniform(0.08, 0.4))
    image = image.copy()
    axis, far = side % 2, side // 2
    strip = [slice(None), slice(None)]
    strip[1 - axis] = slice(size - depth, None) if far else slice(0, depth)
    image[tuple(strip)] = 0
    with np.errstate(invalid='ignore'):
        gone = points[:, axis] > size - depth - 0.5 if far else points[:, axis] < depth - 0.5
    return image, gone


def _occlude(rng, image, points, occluders):
    size = image.shape[0]
    mask = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 4)):
        middle = rng.uniform(0.15, 0.85, 2) * size
        axes = rng.uniform(0.05, 0.22, 2) * size
        if rng.random() < 0.5:
            cv2.ellipse(mask, (middle.astype(int).tolist(), (2 * axes).astype(int).tolist(),
                               float(rng.uniform(0, 180))), 255, -1)
        else:
            corners = cv2.boxPoints((middle.tolist(), (2 * axes).tolist(),
                                     float(rng.uniform(0, 180))))
            cv2.fillPoly(mask, [corners.astype(np.int32)], 255)
    if occluders and rng.random() < 0.8:
        source = occluders[rng.integers(len(occluders))]
        y = rng.integers(max(1, source.shape[0] - size // 2))
        x = rng.integers(max(1, source.shape[1] - size // 2))
        cover = cv2.resize(source[y:y + size // 2, x:x + size // 2], (size, size))
    else:
        cover = np.empty_like(image)
        cover[:] = rng.integers(0, 256, 3)
    image = np.where(mask[..., None] > 0, cover, image)
    at = np.nan_to_num(points, nan=-1).round().astype(int)
    inside = ((at >= 0) & (at < size)).all(1)
    at = at.clip(0, size - 1)
    return image, inside & (mask[at[:, 1], at[:, 0]] > 0)


def _harm(rng, image, how):
    size = image.shape[0]
    if rng.random() < how.coarse:
        small = int(size * rng.uniform(0.25, 0.7))
        image = cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA),
                           (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < how.blur:
        if rng.random() < 0.5:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.8))
        else:
            length = int(rng.integers(3, 10))
            kernel = np.zeros((length, length), np.float32)
            angle = rng.uniform(0, np.pi)
            reach = (length - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
            a, b = (np.round((length - 1) / 2 + s * reach).astype(int).tolist() for s in (-1, 1))
            cv2.line(kernel, a, b, 1.0)
            image = cv2.filter2D(image, -1, kernel / kernel.sum())
    if rng.random() < how.colour:
        table = np.arange(256) / 255.0
        gain = rng.uniform(0.6, 1.5) * rng.uniform(0.85, 1.15, 3)
        gamma, lift = rng.uniform(0.7, 1.4), rng.uniform(-0.1, 0.1)
        table = np.clip(gain * table[:, None] ** gamma + lift, 0, 1) * 255
        image = cv2.LUT(image, table.astype(np.uint8).reshape(256, 1, 3))
    if rng.random() < how.grey:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if rng.random() < how.noise:
        noise = rng.normal(0, rng.uniform(2, 14), image.shape).astype(np.float32)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < how.jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 75))]
        image = cv2.imdecode(cv2.imencode('.jpg', image, quality)[1], cv2.IMREAD_COLOR)
    return image
