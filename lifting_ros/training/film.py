"""The demo clip and the pictures of the tests: dressed people in a workshop, all of it made here.

No photograph is in them, so that they may be shipped; the motion is of subjects that no fit of
the project has seen, from the Carnegie Mellon motion capture.
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from . import scene as world
from .clothing import Garment, Outfit
from .render import Studio, visible
from .renderer import TEXTURE_SIZE, Light
from .retarget import Style

SIZE = (640, 480)
FPS = 30
#: clip of the capture, from (s), for how long (s): a walk (in place), then reaching and
#: washing. Joined by a blend.
_PARTS = (('02_01', 0.3, 2.4), ('02_10', 10.9, 9.1))
_BLEND = 0.5
_WOOD, _PLASTER, _BRICK, _WEAVE, _BOARD, _CARD = range(6)


def textures(rng):
    """Floor boards, plaster, bricks, weave, chipboard, card: (6, T, T, 3) uint8 RGB."""
    n = TEXTURE_SIZE
    y, x = np.mgrid[:n, :n] / n

    def grain(cells, ratio=1):
        small = rng.normal(0, 1, (cells, max(2, int(cells * ratio)))).astype(np.float32)
        small = np.concatenate((small, small[:, ::-1]), 1)
        return cv2.resize(np.concatenate((small, small[::-1])), (n, n),
                          interpolation=cv2.INTER_CUBIC)[..., None]
    board = (x * 6).astype(int)
    tone = rng.uniform(0.75, 1.1, 6)[board][..., None]
    gap = np.where((x * 6) % 1 < 0.04, 0.45, 1.0)[..., None]
    wood = np.array([168, 124, 84]) * tone * gap + 9 * grain(3, 16) + 4 * grain(40)
    plaster = np.array([205, 203, 196]) + 3 * grain(6) + 2.5 * grain(60)
    row = (y * 8).astype(int)
    mortar = ((y * 8) % 1 < 0.12) | ((x * 4 + 0.5 * (row % 2)) % 1 < 0.06)
    brick = np.where(mortar[..., None], 170,
                     np.array([150, 88, 70]) + 12 * grain(8) + 6 * grain(50))
    weave = 150 + 20 * (np.sin(2 * np.pi * 32 * x) * np.sin(2 * np.pi * 32 * y))[..., None]
    weave = weave + 8 * grain(40) + np.zeros(3)
    chip = np.array([196, 164, 120]) + 12 * grain(30) + 10 * grain(60)
    card = np.array([172, 136, 96]) + 4 * grain(20) - 25 * (np.abs(y - 0.5) < 0.02)[..., None]
    return np.clip(np.stack((wood, plaster, brick, weave, chip, card)), 0, 255).astype(np.uint8)


def workshop():
    """A room of 8 x 7 m with a door, a window, a bench, shelves and boxes; meshes in the world.

    The camera looks along +x from about x = -3; people are near the origin.
    """
    x, y, z = np.eye(3)
    quad, box = world.quad, world.box
    grey = np.full(3, 0.5)
    out = [quad(np.array([0.5, 0, 0]), 4.2 * x, 3.6 * y, grey, layer=_WOOD, scale=0.9,
                patterned=1.0, casts=False),
           quad(np.array([0.5, 0, 3.0]), 4.2 * x, 3.6 * y, np.full(3, 0.75), casts=False),
           quad(np.array([3.4, 0, 1.5]), 3.6 * y, 1.5 * z, grey, layer=_PLASTER, scale=0.4,
                patterned=1.0, casts=False)]
    for side in (-1, 1):
        out.append(quad(np.array([0.5, side * 3.2, 1.5]), 4.2 * x, 1.5 * z, grey,
                        layer=_BRICK if side > 0 else _PLASTER, scale=0.8, patterned=1.0,
                        casts=False))
    out += [box(np.array([3.38, 0, 0.05]), (0.03, 7, 0.1), np.full(3, 0.6), casts=False),
            box(np.array([3.38, -1.9, 1.03]), (0.05, 0.95, 2.06), np.array([0.30, 0.36, 0.38])),
            box(np.array([3.35, -1.55, 1.0]), (0.05, 0.1, 0.03), np.full(3, 0.7)),
            box(np.array([3.38, 1.15, 1.75]), (0.04, 1.5, 1.1), np.array([0.85, 0.92, 1.0])),
            box(np.array([3.35, 1.15, 1.75]), (0.04, 0.05, 1.1), np.full(3, 0.8)),
            box(np.array([3.35, 1.15, 1.75]), (0.04, 1.5, 0.05), np.full(3, 0.8)),
            box(np.array([3.37, -0.35, 1.65]), (0.02, 0.6, 0.8), np.array([0.12, 0.2, 0.3]),
                layer=_WEAVE, scale=1.0, patterned=0.3)]
    out += [box(np.array([3.0, 1.3, 0.88]), (0.7, 2.0, 0.06), grey, layer=_BOARD, scale=1.0,
                patterned=1.0)]
    out += [box(np.array([2.75 + 0.5 * a, 0.4 + 1.8 * b, 0.43]), (0.07, 0.07, 0.86),
                np.full(3, 0.12)) for a in (0, 1) for b in (0, 1)]
    out += [box(np.array([3.0, 0.8, 1.03]), (0.3, 0.35, 0.24), np.array([0.35, 0.05, 0.04])),
            box(np.array([2.9, 1.8, 1.0]), (0.25, 0.2, 0.18), np.array([0.05, 0.12, 0.3]))]
    for level in (0.25, 0.85, 1.45, 2.0):
        out.append(box(np.array([1.6, 3.0, level]), (1.8, 0.4, 0.03), np.full(3, 0.25)))
        out += [box(np.array([1.0 + 0.55 * k, 2.98, level + 0.16]), (0.4, 0.32, 0.3), grey,
                    0.1 * k, layer=_CARD, scale=1.2, patterned=1.0)
                for k in range(3) if (k + level) % 2 > 0.3]
    out += [box(np.array([2.3, -2.7, 0.3]), (0.6, 0.6, 0.6), grey, 0.2, layer=_CARD, scale=1.0,
                patterned=1.0),
            box(np.array([2.35, -2.7, 0.78]), (0.45, 0.45, 0.36), grey, -0.1, layer=_CARD,
                scale=1.0, patterned=1.0)]
    return out


def lamps(view):
    """Light of the workshop: lamps above and before, a window behind."""
    direction = view.rotation @ np.array([-0.55, 0.35, 1.0])
    return Light(tuple(direction), (0.78, 0.75, 0.7), (0.52, 0.54, 0.58), (0.30, 0.27, 0.24),
                 tuple(view.up))


def worker(which=0):
    """Outfits of the people in the workshop."""
    skin = np.array([(224, 178, 150), (150, 104, 74), (205, 158, 124)][which % 3]) / 255
    hair = np.array([(62, 42, 30), (24, 20, 20), (150, 110, 66)][which % 3]) / 255
    shirt = np.array([(52, 84, 146), (196, 60, 50), (230, 226, 216)][which % 3]) / 255
    trousers = np.array([(58, 58, 62), (46, 58, 88), (120, 104, 78)][which % 3]) / 255
    return Outfit(skin, hair, [
        Garment('shoes', np.array([0.16, 0.12, 0.10]), 0.006, 0.004, wrinkles=0.0, gloss=0.05,
                size={'shaft': 0.03}),
        Garment('trousers', trousers, 0.007, 0.012, _WEAVE, 8.0, 0.15, 0.35,
                size={'legs': 0.95, 'waist': 0.18}),
        Garment('shirt', shirt, 0.011, 0.012, _WEAVE, 8.0, 0.12, 0.35,
                size={'sleeve': (0.93, 0.35, 0.3)[which % 3], 'hem': -0.04, 'collar': 0.0}),
        Garment('hair', hair, 0.012, 0.0, wrinkles=1.2, gloss=0.04,
                size={'front': 0.72, 'back': -0.6})])


def build(studio, which=0):
    """Bodies of average adult build."""
    shape = [{'gender': 0.12, 'muscle': 0.55, 'weight': 0.48},
             {'gender': 0.9, 'muscle': 0.5, 'weight': 0.5},
             {'gender': 0.3, 'muscle': 0.6, 'weight': 0.6}][which % 3]
    return studio.bodies.make(shape, (1.74, 1.66, 1.80)[which % 3])


def motion(captures, t):
    """The captured pose t seconds into the clip, headed to the camera, turning slowly."""
    poses, begin = [], 0.0
    for name, start, length in _PARTS:
        clip = int(np.flatnonzero(captures.clip_names == name)[0])
        first = int(captures.start[clip])
        into = t - begin
        share = 1.0
        if into < _BLEND and begin > 0:
            share = np.clip((into + _BLEND) / (2 * _BLEND), 0, 1)
        if into > length - _BLEND and (name, start, length) != _PARTS[-1]:
            share = np.clip((length + _BLEND - into) / (2 * _BLEND), 0, 1)
        if -_BLEND < into < length + _BLEND:
            poses.append((share, _headed(captures, first, start, start + into)))
        begin += length
    total = sum(w for w, _ in poses)
    points = {n: sum(w * p.points[n] for w, p in poses) / total for n in poses[0][1].points}
    turn = np.radians(10 + 40 * np.sin(2 * np.pi * t / 11.0))
    c, s = np.cos(turn), np.sin(turn)
    r = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return replace(poses[0][1], points={n: r @ p for n, p in points.items()})


def _headed(captures, first, start, t):
    """The pose, turned so that the hips of the clip's first moment face -x."""
    begin = captures.between(first, start).points
    left = begin['left_hip'] - begin['right_hip']
    # facing is left turned by -90 degrees about z; it has to be -x: left has to be -y
    turn = -np.pi / 2 - np.arctan2(left[1], left[0])
    c, s = np.cos(turn), np.sin(turn)
    r = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    pose = captures.between(first, t)
    # nine tenths of the way gone are taken off: a walk stays in the picture
    about = (0.1 * begin['pelvis'] + 0.9 * pose.points['pelvis']) * [1, 1, 0]
    return replace(pose, points={n: r @ (p - about) for n, p in pose.points.items()})


def _camera(distance=3.3):
    """The clip's camera: 1.5 m over the floor, 12 degrees down."""
    pitch = np.radians(12)
    return world.look(np.array([0, 0, 1.5 - distance * np.sin(pitch)]), 0.0, pitch, distance,
                      np.radians(60), SIZE)


def photograph(studio, view, room, actors, rng, noise=2.0):
    """A picture of actors in a room, and their visible joints (N, 17)."""
    meshes = [world.to_optical(replace(m), view) for m in room]
    for number, actor in enumerate(actors, 1):
        meshes += studio.meshes(actor, view, number, np.random.default_rng(number))
    centre = view.to_optical(np.array([0, 0, 0.8]))
    image, identity, depth = studio.renderer.draw(meshes, view.k, *view.size, lamps(view),
                                                  centre=centre, radius=2.6)
    image = np.clip(image + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8)
    joints = np.stack([view.to_optical(a.joints) for a in actors])
    pixels = view.project(joints)
    seen = np.stack([visible(joints[i], pixels[i], identity, depth, i + 1)
                     for i in range(len(actors))])
    return image, joints, pixels, seen


def clip(out, mocap, seed, seconds=None):
    """Write clip.mp4 and truth.npz (see docs/rendering.md) into ``out``."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 5])
    studio = Studio(mocap, None, rng, held_out=True, textures=textures(rng))
    body, outfit, room, view = build(studio), worker(), workshop(), _camera()
    seconds = sum(p[2] for p in _PARTS) - 1.0 if seconds is None else seconds
    frames = int(seconds * FPS)
    writer = _writer(out / 'clip.mp4')
    rows = []
    for f in range(frames):
        t = f / FPS
        style = Style((0.05, 0.0, 0.35 * np.sin(2 * np.pi * t / 4.1)), (0.2, 0.2), (0.5, 0.5),
                      (0.1, 0.1))
        actor = studio.actor(rng, body, outfit, motion(studio.captures, t), style)
        image, *row = photograph(studio, view, room, [actor], rng)
        writer.write(image)
        rows.append([r[0] for r in row])
    writer.release()
    joints, pixels, seen = (np.array(c) for c in zip(*rows, strict=True))
    np.savez_compressed(out / 'truth.npz', joints=joints.astype(np.float32),
                        keypoints=pixels.astype(np.float32), visible=seen,
                        K=view.k, fps=np.float64(FPS), up=view.up, size=np.array(SIZE),
                        stature=np.float64(body.stature))


def _writer(path):
    # MPEG-4 part 2: every OpenCV wheel writes and reads it, H.264 is not in all of them
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), FPS, SIZE)
    if not writer.isOpened():
        raise RuntimeError(f'OpenCV can write no video to {path}')
    return writer


def still(out, mocap, seed, people=1):
    """Write a picture of people in the workshop and its truth beside it (.npz)."""
    out = Path(out)
    rng = np.random.default_rng([seed, 9])
    studio = Studio(mocap, None, rng, held_out=True, textures=textures(rng))
    view, actors = _camera(3.4), []
    for i in range(people):
        pose = motion(studio.captures, float(rng.uniform(0, 10)))
        actor = studio.actor(rng, build(studio, i), worker(i), pose, Style())
        side = 0.0 if people == 1 else (i - (people - 1) / 2) * -1.0
        actors.append(actor.moved(rng.normal(0, 0.3), (0.25 * i, side)))
    image, joints, pixels, seen = photograph(studio, view, workshop(), actors, rng, 1.0)
    cv2.imwrite(str(out), image, [cv2.IMWRITE_JPEG_QUALITY, 88])
    np.savez_compressed(out.with_suffix('.npz'), joints=joints.astype(np.float32),
                        keypoints=pixels.astype(np.float32), visible=seen, K=view.k, up=view.up,
                        size=np.array(SIZE), stature=np.array([a.body.stature for a in actors]))
