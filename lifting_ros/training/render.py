"""``lifting-ros render``: pictures of people whose joints are known, for training and tests.

    lifting-ros render crops --out runs/rendered --count 3000 --seed 1
    lifting-ros render clip --out resource/demo
    lifting-ros render still --out person.jpg --seed 7
    lifting-ros render views --held-out --out runs/views --count 60 --seed 1

Everything follows from the seed. Needs requirements/render.txt and EGL; docs/rendering.md.
"""

import io
import logging
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..camera import crop_transform
from ..skeleton import JOINTS, PELVIS
from . import scene as world

_log = logging.getLogger(__name__)
CROP = 256
_MARGIN = 1.5
#: How far behind the skin a joint may be and count as seen, m.
_DEEP = np.array([{'pelvis': 0.22, 'hip': 0.22, 'spine': 0.22, 'neck': 0.16, 'shoulder': 0.16,
                   'knee': 0.13, 'head_top': 0.09, 'nose': 0.05}.get(j.split('_', 1)[-1]
                  if j != 'head_top' else j, 0.10) for j in JOINTS])


@dataclass(eq=False)
class Actor:
    """A posed, dressed person in the world: meshes, joints (17, 3) m, stature m, kind."""

    body: object
    outfit: object
    vertices: np.ndarray
    joints: np.ndarray
    kind: str

    def moved(self, turn, to):
        """The same, turned about z by ``turn`` radians about the pelvis and put over ``to``."""
        c, s = np.cos(turn), np.sin(turn)
        r = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        about = self.joints[PELVIS] * [1, 1, 0]
        shift = np.array([to[0], to[1], 0.0])
        return Actor(self.body, self.outfit,
                     ((self.vertices - about) @ r.T + shift).astype(np.float32),
                     (self.joints - about) @ r.T + shift, self.kind)


class Studio:
    """All that pictures are made of.

    Args:
        mocap: folder of the motion capture.
        photos: folder of ``background.zip``, or None.
        rng: numpy Generator, for the textures.
        held_out: see Captures.
        textures: instead of patches of the photos.
        samples: see Renderer.
    """

    def __init__(self, mocap, photos, rng, held_out=False, textures=None, samples=4):
        from .backdrops import Photos
        from .bodies import Bodies
        from .captures import Captures
        from .clothing import Tailor
        from .renderer import Renderer
        self.bodies = Bodies()
        self.tailor = Tailor(self.bodies.rig)
        self.captures = Captures(mocap, held_out)
        self.photos = Photos(photos)
        textures = self.photos.patches(rng) if textures is None else textures
        self.layers = len(textures)
        self.renderer = Renderer(textures, samples=samples)

    def actor(self, rng, body=None, outfit=None, capture=None, style=None):
        """A random person in a random pose over the origin."""
        from .clothing import Outfit
        from .retarget import Style, place, rotations
        body = body or self.bodies.sample(rng)
        outfit = outfit or Outfit.sample(rng, self.layers)
        capture = capture or self.captures.draw(rng)
        style = style or Style.sample(rng)
        vertices, heads = place(body, rotations(body, capture, style), capture)
        return Actor(body, outfit, vertices, body.joints(vertices, heads), capture.kind)

    def meshes(self, actor, view, identity, rng):
        """The person's meshes in the camera's frame."""
        return self.tailor.dress(actor.body, view.to_optical(actor.vertices).astype(np.float32),
                                 actor.outfit, identity, rng)


def visible(joints, pixels, identity, depth, person):
    """Which joints (17,) are seen: inside, on the person's own surface, and not far behind it.

    Args:
        joints: (17, 3) m, optical frame; pixels: (17, 2).
        identity, depth: (H, W) of Renderer.draw; person: number in ``identity``.
    """
    h, w = identity.shape
    at = np.rint(pixels).astype(int)
    inside = ((pixels >= -0.5) & (pixels < [w - 0.5, h - 0.5])).all(1) & (joints[:, 2] > 0.1)
    seen = np.zeros(len(joints), bool)
    for j in np.flatnonzero(inside):
        x, y = at[j]
        ys, xs = slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2)
        own = identity[ys, xs] == person
        # the point nearest to the joint in a 3 x 3 window: rims are a pixel wide
        behind = joints[j, 2] - depth[ys, xs][own]
        seen[j] = own.any() and behind.min() < _DEEP[j]
    return seen


def sample_view(rng, actor):
    """A camera on a person: from level to high above, from all sides, near and far."""
    pitch = np.radians(rng.choice((rng.uniform(-15, 10), rng.uniform(0, 25), rng.uniform(15, 60)),
                                  p=(0.3, 0.45, 0.25)))
    distance = rng.uniform(1.5, 6.0)
    fov = np.radians(rng.uniform(35, 75))
    target = (actor.joints.max(0) + actor.joints.min(0)) / 2 + rng.normal(0, 0.1, 3)
    view = world.look(target, rng.uniform(-np.pi, np.pi), pitch, distance, fov,
                      roll=rng.normal(0, 0.04), aim=rng.uniform(-1, 1, 2) * (200, 100))
    if view.position[2] < 0.15:   # not from under the floor
        view = world.look(target, rng.uniform(-np.pi, np.pi), 0.05, distance, fov,
                          aim=rng.uniform(-1, 1, 2) * (200, 60))
    return view


def surroundings(studio, rng, view, actors):
    """Background, light, furniture and what hides: (things in the world, light, photo)."""
    main, things, photo = actors[0], [], None
    if studio.photos.images and rng.random() < 0.6:
        photo = studio.photos.draw(rng)
        centre = main.joints[PELVIS] * [1, 1, 0]
        floor = world.quad(centre, np.array([4.0, 0, 0]), np.array([0, 4.0, 0]), (0, 0, 0),
                           casts=False, catcher=rng.uniform(0.25, 0.7))
        things.append(floor)
    else:
        things += world.room(rng, studio.layers, main.joints[PELVIS], view.position)
    for actor in actors:
        if actor.kind == 'sit' and rng.random() < 0.75:
            things += world.chair(rng, studio.layers, actor.joints)
        if rng.random() < 0.2:
            things += world.held(rng, studio.layers, actor.joints)
    if rng.random() < 0.22:
        things += world.hiding(rng, studio.layers, view, main.joints)
    return things, world.light_of(rng, view, photo), photo


def crop_of(rng, view, pixels):
    """The camera of a square crop about the joints' extent, (3, 3) K, and its scale.

    Shifted and scaled at random; in one of six a part of the person is outside, as where a
    picture ends.
    """
    low, high = pixels.min(0), pixels.max(0)
    if rng.random() < 1 / 6:
        cut = rng.uniform(0.3, 0.75)
        axis, end = rng.choice(2, p=(0.3, 0.7)), rng.random() < 0.75
        if end:
            high[axis] = low[axis] + cut * (high[axis] - low[axis])
        else:
            low[axis] = high[axis] - cut * (high[axis] - low[axis])
        margin = rng.uniform(1.0, 1.2)
    else:
        margin = _MARGIN * np.exp(rng.normal(0, 0.08))
    extent = (high - low).max()
    middle = (low + high) / 2 + rng.normal(0, 0.03, 2) * extent
    side = np.array([-0.5, -0.5, 0.5, 0.5]) * max(extent, 8.0)
    scale, offset = crop_transform(np.tile(middle, 2)[None] + side, CROP, margin)
    a = np.array([[scale[0], 0, offset[0, 0]], [0, scale[0], offset[0, 1]], [0, 0, 1]])
    return a @ view.k, scale[0]


def develop(image, rng, detail=1.0):
    """What a camera does to a picture: exposure, colour, softness, noise."""
    x = image.astype(np.float32)
    if rng.random() < 0.35:     # small in the camera's picture, or out of focus
        sigma = rng.uniform(0.3, 1.6) * detail
        x = cv2.GaussianBlur(x, (0, 0), sigma)
    if rng.random() < 0.1:      # motion
        n = int(rng.integers(3, 8))
        kernel = np.zeros((n, n), np.float32)
        cv2.line(kernel, (0, int(rng.integers(n))), (n - 1, int(rng.integers(n))), 1.0)
        x = cv2.filter2D(x, -1, kernel / kernel.sum())
    x = 255 * (np.clip(x / 255, 0, 1)**rng.uniform(0.75, 1.3))
    x = (x - 110) * rng.uniform(0.75, 1.25) + 110 * rng.uniform(0.75, 1.25)
    x *= 1 + rng.normal(0, 0.04, 3)
    if rng.random() < 0.06:
        x[:] = x.mean(2, keepdims=True)
    x += rng.normal(0, rng.uniform(0.5, 7.0), x.shape)
    return np.clip(x, 0, 255).astype(np.uint8)


def crop(studio, rng, others):
    """One training crop.

    Args:
        studio: Studio.
        rng: numpy Generator of this picture alone.
        others: list of Actor to take bystanders from; the new one is added to it.

    Returns:
        image (256, 256, 3) uint8 BGR and a dict of arrays: see docs/rendering.md.
    """
    actor = studio.actor(rng)
    view = sample_view(rng, actor)
    actors = [actor]
    if others and rng.random() < 0.35:
        for _ in range(rng.choice((1, 2), p=(0.7, 0.3))):
            off = rng.uniform(0.45, 1.6) * np.array([np.cos(a := rng.uniform(0, 2 * np.pi)),
                                                     np.sin(a)])
            where = actor.joints[PELVIS, :2] + off
            if np.linalg.norm(where - view.position[:2]) > 1.0:
                actors.append(others[rng.integers(len(others))].moved(
                    rng.uniform(0, 2 * np.pi), where))
    others.append(actor)
    del others[:-40]
    joints = view.to_optical(actor.joints)
    k, scale = crop_of(rng, view, view.project(joints))
    pixels = (joints @ k.T)[:, :2] / joints[:, 2:]
    things, light, photo = surroundings(studio, rng, view, actors)
    meshes = [world.to_optical(t, view) for t in things]
    for number, one in enumerate(actors, 1):
        meshes += studio.meshes(one, view, number, rng)
    window = (0, 0, 1, 1)
    if photo is not None:
        side = rng.uniform(0.4, 1.0)
        wide = side * min(1, photo.shape[0] / photo.shape[1])
        tall = side * min(1, photo.shape[1] / photo.shape[0])
        u, v = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - tall)
        window = (u, v, u + wide, v + tall)
    image, identity, depth = studio.renderer.draw(meshes, k, CROP, CROP, light, photo, window,
                                                  joints.mean(0), 1.6)
    image = develop(image, rng, min(1.0, max(scale, 0.4)))
    seen = visible(joints, pixels, identity, depth, 1)
    inside = ((pixels >= 0) & (pixels <= CROP - 1)).all(1)
    return image, {'keypoints': pixels, 'visible': seen, 'joints': joints, 'K': k,
                   'box': widened(pixels[inside] if inside.sum() > 2 else pixels),
                   'up': view.up, 'stature': actor.body.stature, 'kind': actor.kind}


def widened(pixels):
    """The extent (4,) x0 y0 x1 y1 of points, wider by 10 % of its longer side, in the crop."""
    low, high = pixels.min(0), pixels.max(0)
    more = 0.1 * (high - low).max()
    return np.clip(np.concatenate((low - more, high + more)), 0, CROP - 1)


def crops(studio, out, count, seed, shard=500, first=0):
    """Write shards of crops into ``out``; each picture follows from (seed, its number)."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    others, number, done = [], 0, time.perf_counter()
    for part in range(first, first + -(-count // shard)):
        size = min(shard, count - (part - first) * shard)
        rows, buffer = [], io.BytesIO()
        with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_STORED) as z:
            while len(rows) < size:
                image, row = crop(studio, np.random.default_rng([seed, part, number]), others)
                number += 1
                if row['visible'].sum() < 5:
                    continue
                ok, jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 88])
                assert ok
                row['name'] = f'{len(rows):06d}.jpg'
                z.writestr(zipfile.ZipInfo(row['name'], (2026, 1, 1, 0, 0, 0)), jpeg.tobytes())
                rows.append(row)
        number = 0
        others.clear()     # so that a shard does not depend on the one before it
        _replace(out / f'rendered_{part:02d}.zip', buffer.getvalue())
        table = {k: np.array([r[k] for r in rows]) for k in rows[0]}
        for k in ('keypoints', 'joints', 'K', 'box', 'up', 'stature'):
            table[k] = table[k].astype(np.float32)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **table)
        _replace(out / f'rendered_{part:02d}.npz', buffer.getvalue())
        spent, done = time.perf_counter() - done, time.perf_counter()
        _log.info('%s: %d crops, %.0f ms each', out / f'rendered_{part:02d}.zip', len(rows),
                  1000 * spent / max(len(rows), 1))


def _replace(path, data):
    """Write so that a training that starts meanwhile sees the whole file or none."""
    part = path.with_suffix('.part')
    part.write_bytes(data)
    part.replace(path)


def add_arguments(parser):
    """Command line of ``lifting-ros render``."""
    parser.add_argument('what', choices=('crops', 'clip', 'still', 'views'))
    parser.add_argument('--out', required=True,
                        help='folder (crops, clip, views) or picture (still)')
    parser.add_argument('--mocap', default='../shared/data/mocap', help='motion capture')
    parser.add_argument('--photos', default='../shared/data/photos',
                        help='folder of background.zip; where there is none, rooms are all')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--count', type=int, default=500,
                        help='how many crops, or scenes of views')
    parser.add_argument('--first', type=int, default=0, help='number of the first shard')
    parser.add_argument('--held-out', action='store_true',
                        help='crops, views: poses of the held-out subjects only, for measuring')
    parser.add_argument('--people', type=int, default=1, help='people in the still')
    parser.add_argument('--seconds', type=float, default=0.0, help='views: a clip of so many '
                        'seconds of each scene, six images a second (one picture)')


def run(args):
    """Run it; returns the exit status."""
    rng = np.random.default_rng([args.seed, 77])
    if args.what == 'crops':
        crops(Studio(args.mocap, args.photos, rng, args.held_out, samples=0), args.out, args.count,
              args.seed, first=args.first)
        return 0
    if args.what == 'views':
        from .rig import views
        views(Studio(args.mocap, args.photos, rng, args.held_out, samples=0), args.out, args.count,
              args.seed, args.seconds)
        return 0
    from . import film
    if args.what == 'clip':
        film.clip(args.out, args.mocap, args.seed)
    else:
        film.still(args.out, args.mocap, args.seed, args.people)
    return 0
