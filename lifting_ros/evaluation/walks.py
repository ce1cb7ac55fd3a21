"""Ways that people walk: captured walks, played along waypoints at a speed."""

import numpy as np

from ..skeleton import INDEX, PELVIS


def cycle_of(clip):
    """Poses of a walk (F, 17, 3) over the origin, headed along x, to be played to and fro."""
    joints = clip.joints - clip.joints[:, PELVIS:PELVIS + 1] * [1, 1, 0]
    left = joints[:, INDEX['left_hip']] - joints[:, INDEX['right_hip']]
    turn = np.pi / 2 - np.unwrap(np.arctan2(left[:, 1], left[:, 0]))
    c, s, o = np.cos(turn), np.sin(turn), np.zeros(len(turn))
    r = np.stack((np.stack((c, -s, o), -1), np.stack((s, c, o), -1),
                  np.stack((o, o, o + 1), -1)), 1)
    joints = joints @ np.swapaxes(r, 1, 2)
    return joints - [0, 0, joints[..., 2].min()]


def path(points, speed, pause, rate, frames):
    """Places (F, 2) m and headings (F,) along points, at a speed, pausing at each (s)."""
    place, heading = [], []
    for a, b in zip(points[:-1], points[1:], strict=True):
        steps = max(int(np.linalg.norm(b - a) / speed * rate), 1)
        share = np.arange(steps) / steps
        share = share - 0.1 * np.sin(2 * np.pi * share)     # nobody starts at full speed
        place += list(a + share[:, None] * (b - a))
        heading += [np.arctan2(*(b - a)[::-1])] * steps
        rest = int(pause * rate)
        place += [b] * rest
        heading += [heading[-1]] * rest
    place, heading = np.array(place), np.unwrap(np.array(heading))
    pad = max(frames - len(place), 0)
    place = np.concatenate((place, np.repeat(place[-1:], pad, 0)))[:frames]
    heading = np.concatenate((heading, np.repeat(heading[-1:], pad)))[:frames]
    # people turn within half a second
    width = max(int(rate / 2), 1)
    heading = np.convolve(np.pad(heading, width, mode='edge'), np.ones(width) / width,
                          'same')[width:-width]
    return place, heading


def person(cycles, rng, rate, points, speed, pause, frames):
    """Joints (F, 17, 3) m in the world of one who walks along points."""
    cycle = cycles[int(rng.integers(len(cycles)))]
    place, heading = path([np.asarray(p, float) for p in points], speed, pause, rate, frames)
    moved = np.linalg.norm(np.diff(place, axis=0, prepend=place[:1]), axis=1)
    phase = np.cumsum(moved) / 1.2 * rate + rng.uniform(0, len(cycle))   # a walk is 1.2 m/s
    length = 2 * (len(cycle) - 1)
    at = np.abs((phase % length) - length / 2)
    i = np.minimum(at.astype(int), len(cycle) - 2)
    u = (at - i)[:, None, None]
    pose = (1 - u) * cycle[i] + u * cycle[i + 1]
    c, s, o = np.cos(heading), np.sin(heading), np.zeros(frames)
    r = np.stack((np.stack((c, -s, o), -1), np.stack((s, c, o), -1),
                  np.stack((o, o, o + 1), -1)), 1)
    return pose @ np.swapaxes(r, 1, 2) + np.append(place, np.zeros((frames, 1)), 1)[:, None]


def routes_of(kind, rng, people):
    """Waypoints of each person, (x ahead of the camera, y to its left) m, speeds and pauses;
    and boards that hide: (distance, from y, to y).
    """
    routes, boards = [], []
    lanes = 2.6 + np.arange(people) * (4.0 / max(people, 2)) + rng.uniform(0, 0.3, people)
    lanes = rng.permutation(lanes)
    for i in range(people):
        x, speed, pause = lanes[i], rng.uniform(0.8, 1.5), rng.uniform(0, 0.5)
        wide = 0.36 * x
        if kind == 'apart':
            y = (i - (people - 1) / 2) * 1.3
            points = [(4.2 + rng.uniform(-0.6, 0.6), y + 0.25 * rng.uniform(-1, 1))
                      for _ in range(20)]
            speed, pause = 0.7, 0.4
        elif kind in ('leaving', 'strangers'):
            far = 0.9 * x + 0.8
            side = 1 if i % 2 else -1
            away = rng.uniform(0.5, 4.0, 12)
            points = [(x, side * far)]
            for k, a in enumerate(away):
                y = -side * far if k % 2 == 0 else side * far
                points += [(x, y), (x, y * (1 + a * speed / 2 / far))]
        else:
            side = 1 if rng.random() < 0.5 else -1
            points = [(x + 0.2 * rng.uniform(-1, 1), side * (-1) ** k * wide
                       * rng.uniform(0.7, 1.0)) for k in range(20)]
        routes.append((points, speed, pause))
    if kind == 'hidden':
        # a board half the way: who walks behind it is out of sight for 0.5 to 3 s
        width = rng.uniform(0.8, 1.6)
        boards.append((2.0, -width / 2 * 0.6, width / 2 * 0.6))
    return routes, boards
