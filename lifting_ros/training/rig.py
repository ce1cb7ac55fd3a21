"""``lifting-ros render views``: the same people by several cameras at one time, for fusion.

A room, a person over its middle (in one scene of four another beside), cameras at the azimuths
:data:`AZIMUTHS` about them (:data:`FILMED` where they move). Layout of what is written:
docs/rendering.md.
"""

import io
import logging
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from . import scene as world
from .clothing import Outfit
from .render import develop, visible
from .retarget import Style

_log = logging.getLogger(__name__)
#: Of the cameras about the person, degrees; pairs and threes of them make the rigs.
AZIMUTHS = (0, 60, 90, 120, 240)
#: The same for clips.
FILMED = (0, 60, 120)
SIZE = (640, 480)


def cameras(rng, target, azimuths):
    """A View for each azimuth: 3 to 5 m away, 1.2 to 2.5 m high, 56 degrees wide.

    Args:
        target: (3,) m, where they look.
    """
    turn, out = rng.uniform(-180, 180), []
    for azimuth in azimuths:
        flat, high = rng.uniform(3, 5), rng.uniform(1.2, 2.5) - target[2]
        out.append(world.look(target, np.radians(turn + azimuth) + np.pi, np.arctan2(high, flat),
                              np.hypot(flat, high), np.radians(56), SIZE,
                              aim=rng.uniform(-1, 1, 2) * (60, 20)))
    return out


def _stage(studio, rng, actors, views):
    """What does not move, and light: things (meshes in the world), Light for the first view."""
    target = actors[0].joints[0]
    things = world.room(rng, studio.layers, target, *(v.position for v in views))
    if actors[0].kind == 'sit':
        things += world.chair(rng, studio.layers, actors[0].joints)
    return things, world.light_of(rng, views[0])


def _lit(light, first, view):
    """The light of the first view, as another camera has it."""
    direction = view.rotation @ first.rotation.T @ np.array(light.direction)
    return replace(light, direction=tuple(direction), up=tuple(view.up))


def photographed(studio, views, things, light, actors, rng):
    """A picture by each camera: images, and which joints of the first actor are visible."""
    images, seen = [], []
    for view in views:
        meshes = [world.to_optical(replace(m), view) for m in things]
        for number, actor in enumerate(actors, 1):
            # folds of cloth are the same for every camera
            meshes += studio.meshes(actor, view, number, np.random.default_rng(number))
        joints = view.to_optical(actors[0].joints)
        image, identity, depth = studio.renderer.draw(
            meshes, view.k, *view.size, _lit(light, views[0], view), centre=joints.mean(0),
            radius=2.0)
        images.append(develop(image, rng))
        seen.append(visible(joints, view.project(joints), identity, depth, 1))
    return images, seen


def _actors(studio, rng):
    main = studio.actor(rng)
    main = main.moved(0.0, rng.uniform(-0.5, 0.5, 2))
    out = [main]
    if rng.random() < 0.25:
        angle, away = rng.uniform(-np.pi, np.pi), rng.uniform(0.8, 1.6)
        where = main.joints[0, :2] + away * np.array([np.cos(angle), np.sin(angle)])
        out.append(studio.actor(rng).moved(0.0, where))
    return out


def _motion(studio, rng, seconds, rate):
    """A captured clip of somebody: a list of one Actor for each image."""
    captures = studio.captures
    length = np.diff(captures.start) - 2
    first = captures.start[:-1]
    able = np.flatnonzero((length > seconds * captures.fps) & captures.allowed[first])
    if not len(able):
        raise ValueError(f'no clip of {seconds:g} s in the motion capture')
    clip = int(rng.choice(able))
    begin = rng.uniform(0, length[clip] / captures.fps - seconds)
    times = begin + np.arange(int(seconds * rate)) / rate
    poses = [captures.between(int(first[clip]), t) for t in times]
    middle = np.mean([p.points['pelvis'] for p in poses], 0) * [1, 1, 0]
    body, outfit = studio.bodies.sample(rng), Outfit.sample(rng, studio.layers)
    style = Style.sample(rng)
    return [[studio.actor(rng, body, outfit, replace(p, points={
        n: q - middle for n, q in p.points.items()}), style)] for p in poses]


def views(studio, out, count, seed, seconds=0.0, rate=6.0):
    """Write ``count`` scenes into ``out``: views.zip and views.npz.

    Args:
        studio: Studio. out: folder.
        seconds, rate: 0 for one picture of each scene; else a clip of so many s, images/s.
    """
    from tqdm import tqdm
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    azimuths, rows = FILMED if seconds else AZIMUTHS, []
    with zipfile.ZipFile(out / 'views.zip', 'w', zipfile.ZIP_STORED) as file:
        for n in tqdm(range(count), 'scenes'):
            rng = np.random.default_rng([seed, n, 12])
            moments = _motion(studio, rng, seconds, rate) if seconds else [_actors(studio, rng)]
            middle = np.mean([a[0].joints.mean(0) for a in moments], 0)
            rig = cameras(rng, middle, azimuths)
            things, light = _stage(studio, rng, moments[0], rig)
            for f, actors in enumerate(moments):
                images, seen = photographed(studio, rig, things, light, actors, rng)
                names = []
                for c, image in enumerate(images):
                    names.append(f'{n:04d}_{f:04d}_{c}.jpg')
                    ok, jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 92])
                    assert ok
                    file.writestr(zipfile.ZipInfo(names[-1], (2026, 1, 1, 0, 0, 0)),
                                  jpeg.tobytes())
                rows.append({'name': names, 'scene': n, 'stamp': f / rate,
                             'joints': actors[0].joints, 'visible': seen,
                             'beside': (actors[1].joints if len(actors) > 1
                                        else np.full((17, 3), np.nan)),
                             'K': [v.k for v in rig], 'rotation': [v.rotation for v in rig],
                             'position': [v.position for v in rig], 'kind': actors[0].kind,
                             'stature': actors[0].body.stature})
    table = {k: np.array([r[k] for r in rows]) for k in rows[0]}
    with io.BytesIO() as buffer:
        np.savez_compressed(buffer, azimuth=np.array(azimuths), size=np.array(SIZE), **table)
        (out / 'views.npz').write_bytes(buffer.getvalue())
    _log.info('%s: %d scenes, %d pictures', out, count, table['name'].size)
