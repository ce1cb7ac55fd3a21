"""Depth images of people of known joints: limbs of chained spheres before a wall and a floor.

The girths are those of adults in anthropometric tables (means over both sexes, rounded to the
centimetre), not those that the lifter assumes; every person's differ by a tenth.
"""

import numpy as np

from ..skeleton import INDEX
from ..training.mocap import stature

#: Radii in metres of a person of 1.70 m, from girths: wrist 17 cm, forearm at the elbow 27,
#: upper arm 31, neck 37, head 57, thigh 56, knee 38, ankle 24; half-depths of the trunk.
_RADII = (
    ('wrist', 'elbow', 0.027, 0.043), ('elbow', 'shoulder', 0.045, 0.052),
    ('ankle', 'knee', 0.040, 0.058), ('knee', 'hip', 0.060, 0.088))
_TRUNK = (
    ('pelvis', 'neck', 0.110, 0.085), ('left_hip', 'right_hip', 0.090, 0.090),
    ('left_shoulder', 'right_shoulder', 0.055, 0.055),
    ('left_hip', 'left_shoulder', 0.090, 0.060), ('right_hip', 'right_shoulder', 0.090, 0.060),
    ('neck', 'head_top', 0.060, 0.060))
_SPHERES = 10
_WALL = 1.5    # metres behind the person


def spheres(joints, rng):
    """The body as spheres.

    Args:
        joints: (17, 3) m, any frame; rng: numpy Generator, of the girth.

    Returns:
        centres (S, 3) m and radii (S,) m.
    """
    size = float(stature(joints)) / 1.70 * float(np.exp(rng.normal(0, 0.1)))
    limbs = [(f'{s}_{a}', f'{s}_{b}', p, q) for a, b, p, q in _RADII for s in ('left', 'right')]
    centres, radii = [], []
    t = np.linspace(0, 1, _SPHERES)[:, None]
    for a, b, first, last in (*limbs, *_TRUNK):
        start, end = joints[INDEX[a]], joints[INDEX[b]]
        r = first + (last - first) * t[:, 0]
        if b == 'head_top':        # the skin ends there
            end = end - (end - start) / max(np.linalg.norm(end - start), 1e-6) * 0.06 * size
        centres.append(start + t * (end - start))
        radii.append(size * r)
    # the skull: a ball below the head's top
    neck, top = joints[INDEX['neck']], joints[INDEX['head_top']]
    along = (top - neck) / max(np.linalg.norm(top - neck), 1e-6)
    centres.append((top - 0.095 * size * along)[None])
    radii.append(np.array([0.092 * size]))
    return np.concatenate(centres), np.concatenate(radii)


def draw(joints, camera, up, height, rng, invalid=0.05):
    """The depth image of one person.

    Args:
        joints: (17, 3) m, optical frame.
        camera: Camera, of the image that is drawn.
        up: (3,) against gravity, optical frame; height: m of the camera over the floor.
        rng: numpy Generator; invalid: share of pixels without a depth.

    Returns:
        (H, W) float32 m along the optical axis, exact; 0 where invalid.
    """
    h, w = camera.height, camera.width
    rows, columns = np.mgrid[0:h, 0:w]
    xy = camera.normalise(np.stack((columns, rows), -1).astype(float))
    rays = np.concatenate((xy, np.ones((h, w, 1))), -1)          # depth 1
    image = np.full((h, w), joints[:, 2].max() + _WALL)
    fall = -(rays @ up)
    floor = np.where(fall > 1e-6, height / np.maximum(fall, 1e-6), np.inf)
    image = np.minimum(image, np.where(floor > 0.1, floor, np.inf))
    centres, radii = spheres(joints, rng)
    # the farthest first is not needed: the nearest surface wins
    for c, r in zip(centres, radii, strict=True):
        if c[2] < r + 0.1:
            continue
        u, v = camera.project(c)
        half = 1.3 * camera.focal * r / (c[2] - r) + 2
        x0, x1 = int(max(u - half, 0)), int(min(u + half + 1, w))
        y0, y1 = int(max(v - half, 0)), int(min(v + half + 1, h))
        if x0 >= x1 or y0 >= y1:
            continue
        d = rays[y0:y1, x0:x1]
        square = (d * d).sum(-1)
        along = d @ c
        inner = along ** 2 - square * (c @ c - r * r)
        z = np.where(inner > 0, (along - np.sqrt(np.maximum(inner, 0))) / square, np.inf)
        image[y0:y1, x0:x1] = np.minimum(image[y0:y1, x0:x1], z)
    image[rng.random((h, w)) < invalid] = 0
    return image.astype(np.float32)


def depth_images(scenes, rng, scale=0.5):
    """Depth images of all people of scenes, of ``scale`` times the image's resolution.

    Args:
        scenes: :class:`~.scenes.Scenes`; rng: numpy Generator.

    Returns:
        list of (H, W) float32 m, and the Camera of all.
    """
    camera = scenes.camera
    camera = camera.scaled(round(scale * camera.width), round(scale * camera.height))
    return [draw(j, camera, up, height, rng) for j, up, height in
            zip(scenes.joints, scenes.up, scenes.height, strict=True)], camera
