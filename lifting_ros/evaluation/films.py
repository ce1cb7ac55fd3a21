"""Rendered films for the tracker, truth beside them: people who cross, one who stands still, and
held-out clips of the capture.

Needs what ``lifting-ros render`` needs (requirements/render.txt). The people walk as captured
subjects who are in no fit do; the room and the outfits are those of the demo clip.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from .walks import path

FPS = 30
#: Of each walker: clip of the capture, path from and to (x, y m in the room; the camera is at
#: x = -4 and looks along +x), seconds late.
_CROSSING = (('02_01', (-0.7, -1.9), (-0.4, 1.9), 0.0), ('02_02', (0.6, 1.8), (0.4, -1.8), 0.2),
             ('hdm05', (1.9, -1.3), (1.5, 1.5), 0.6))


def _walk(captures, name, t):
    """The captured pose t seconds into a walk, the pelvis over the origin, headed along +x."""
    if name == 'hdm05':
        pick = np.flatnonzero((captures.kind == 'walk') & captures.allowed
                              & (captures.source == 'hdm05'))
        first = int(pick[0])
    else:
        clip = int(np.flatnonzero(captures.clip_names == name)[0])
        first = int(captures.start[clip])
    clip = captures.clip[first]
    length = (captures.start[clip + 1] - captures.start[clip] - 2) / captures.fps
    # to and fro within the clip: nobody's steps end at its end
    at = t % (2 * length)
    pose = captures.between(first, at if at < length else 2 * length - at)
    left = pose.points['left_hip'] - pose.points['right_hip']
    turn = np.pi / 2 - np.arctan2(left[1], left[0])
    c, s = np.cos(turn), np.sin(turn)
    r = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    about = pose.points['pelvis'] * [1, 1, 0]
    return replace(pose, points={n: r @ (p - about) for n, p in pose.points.items()})


def _played(captures, name, t, heading):
    """The captured pose t seconds into a clip, turned; the way gone is halved."""
    clip = int(np.flatnonzero(captures.clip_names == name)[0])
    first = int(captures.start[clip])
    begin, pose = captures.between(first, 0).points['pelvis'], captures.between(first, t)
    c, s = np.cos(heading), np.sin(heading)
    r = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    about = (begin + pose.points['pelvis']) / 2 * [1, 1, 0]
    return replace(pose, points={n: r @ (p - about) for n, p in pose.points.items()})


def _wander(rng, people, seconds, fps):
    """Ways of people who go to and fro across the picture, each at a distance of its own:
    clips, places (P, F, 2) m and headings (P, F).
    """
    lanes = rng.permutation(np.linspace(-0.8, 2.4, people)) + rng.uniform(-0.2, 0.2, people)
    names = [('02_01', '02_02', 'hdm05')[i % 3] for i in range(people)]
    ways = []
    for i, lane in enumerate(lanes):
        wide, side = min(0.45 * (4 + lane), 2.7), 1 - 2 * (i % 2)
        points = [np.array([lane + rng.uniform(-0.2, 0.2),
                            side * (-1) ** k * wide * rng.uniform(0.6, 1.0)]) for k in range(20)]
        ways.append(path(points, rng.uniform(0.8, 1.4), rng.uniform(0, 0.4), fps,
                         int(seconds * fps)))
    return names, *(np.array(w) for w in zip(*ways, strict=True))


def make(kind, out, mocap, seed=1, seconds=4.0, people=4, fps=FPS):
    """Write frames (NNNN.jpg) and truth.npz of a film into ``out``.

    Args:
        kind: 'crossing' (three people, one behind the other, once), 'crowd' (``people`` go to
            and fro, two of four dressed alike), 'still' (one who stands), or a clip's name.
        out: folder.
        mocap: folder of the motion capture. people: of a crowd. fps: images/s.
    """
    import cv2

    from ..training import film
    from ..training.render import Studio
    from ..training.retarget import Style
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 7])
    studio = Studio(mocap, None, rng, held_out=True, textures=film.textures(rng))
    room, view = film.workshop(), film._camera(4.0)
    walkers = _CROSSING if kind == 'crossing' else (('02_01', (0.2, 0.3), (0.2, 0.3), 0.0),)
    clip, crowd = kind not in ('crossing', 'crowd', 'still'), kind == 'crowd'
    if clip:
        at = np.flatnonzero(studio.captures.clip_names == kind)
        if not len(at):
            raise ValueError(f'no clip {kind!r} in the motion capture')
        start = studio.captures.start
        seconds = min(seconds, (start[at[0] + 1] - start[at[0]] - 2) / studio.captures.fps)
        facing, which = rng.uniform(-np.pi, np.pi), int(rng.integers(3))
    if crowd:
        names, places, headings = _wander(np.random.default_rng([seed, 8]), people, seconds, fps)
        steps = np.linalg.norm(np.diff(places, axis=1, prepend=places[:, :1]), axis=-1)
        walked = np.cumsum(steps, 1) / 1.2          # s of a walk at 1.2 m/s
    number = [which] if clip else range(people if crowd else len(walkers))
    bodies = [film.build(studio, i) for i in number]
    outfits = [film.worker(i) for i in number]
    style = Style((0.05, 0.0, 0.0), (0.2, 0.2), (0.5, 0.5), (0.1, 0.1))
    rows = []
    for f in range(int(seconds * fps)):
        t = f / fps
        actors = []
        if clip:
            pose = _played(studio.captures, kind, t, facing)
            actors.append(studio.actor(rng, bodies[0], outfits[0], pose, style))
        for i, name in enumerate(names if crowd else ()):
            actor = studio.actor(rng, bodies[i], outfits[i],
                                 _walk(studio.captures, name, walked[i, f] + i), style)
            actors.append(actor.moved(headings[i, f], places[i, f]))
        for i, (name, begin, end, late) in enumerate(() if clip or crowd else walkers):
            begin, end = np.array(begin), np.array(end)
            moving = np.linalg.norm(end - begin) > 0
            share = np.clip((t - late) / (seconds - 0.8), 0, 1) if moving else 0.0
            pose = _walk(studio.captures, name, max(t - late, 0) if moving else 0.4)
            heading = np.arctan2(*(end - begin)[::-1]) if moving else np.pi * 0.9
            actor = studio.actor(rng, bodies[i], outfits[i], pose, style)
            actors.append(actor.moved(heading, begin + share * (end - begin)))
        image, *row = film.photograph(studio, view, room, actors, rng)
        cv2.imwrite(str(out / f'{f:04d}.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        rows.append(row)
    joints, pixels, seen = (np.array(c) for c in zip(*rows, strict=True))
    np.savez_compressed(out / 'truth.npz', joints=joints.astype(np.float32),
                        keypoints=pixels.astype(np.float32), visible=seen, K=view.k,
                        fps=np.float64(fps), up=view.up, size=np.array(film.SIZE),
                        stature=np.array([b.stature for b in bodies]))
