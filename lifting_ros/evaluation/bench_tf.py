"""A camera that turns on a mast, and a person who stands: how far the person strays in `odom`.

Exact keypoints of the demo clip's first pose with noise, the real lifter and tracker, transforms
at 50 Hz in the package's own buffer. The camera sweeps to and fro about the vertical.
"""

import math

import numpy as np

from .. import rigid
from ..body_frame import quaternion
from ..camera import Camera
from ..frame_tree import Buffer
from ..lifting import Lifter
from ..lifting.frames import upright
from ..network import Keypoints
from ..pipeline import Pipeline, keypoint_boxes
from ..skeleton import NUM_JOINTS, PELVIS
from .demo import demo_folder

SECOND = 1_000_000_000
#: images and transforms a second; rate of turn, rad/s; how far it turns to either side, rad
IMAGES, TRANSFORMS, RATE, SWEEP = 30, 50, math.radians(90), math.radians(18)
#: m, from the mast's axis to the camera; px of noise; s from an image's stamp to its answer
LEVER, NOISE, LATENCY = 0.2, 1.5, 0.060


class Exact:
    """Stands in for the network: keypoints that are given, with noise."""

    device = 'cpu'

    def __init__(self, seed):
        self._rng, self.pixels = np.random.default_rng(seed), None

    def find(self, image, threshold, most):
        return keypoint_boxes(self.pixels[None], np.ones((1, NUM_JOINTS))), np.ones(1)

    def keypoints(self, image, boxes):
        n = len(boxes)
        xy = self.pixels + self._rng.normal(0, NOISE, (n, NUM_JOINTS, 2))
        return Keypoints(xy, np.full((n, NUM_JOINTS), 0.9),
                         np.tile(NOISE ** 2 * np.eye(2), (n, NUM_JOINTS, 1, 1)))


def angle(seconds, turning):
    """Heading of the camera, rad: a triangle wave of a constant rate of turn."""
    if not turning:
        return 0.0
    phase = (seconds * RATE / SWEEP + 1) % 4
    return SWEEP * (phase - 1 if phase < 2 else 3 - phase)


def mount(heading, level):
    """The camera in `odom`, 1.5 m up on the mast: rotation and translation; ``level`` is the
    camera's rotation at rest.
    """
    c, s = math.cos(heading), math.sin(heading)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return turn @ level, turn @ np.array([LEVER, 0, 0]) + [0, 0, 1.5]


def roots(turning, lookup, seconds, seed=1):
    """Positions of the person's root in `odom`, (N, 3) m, and their covariances (N, 3, 3).

    Args:
        lookup: 'stamp' (as the node does), 'stamp, tracker not told' (people are followed in the
            camera's frame alone) or 'latest' (as it must not be done).
    """
    with np.load(demo_folder() / 'truth.npz', allow_pickle=False) as data:
        camera = Camera(data['K'], *(int(n) for n in data['size']))
        joints, up = data['joints'][0].astype(float), data['up']
    level = upright(up[None], np.array([[0.0, 0, 1]]))[0]
    rotation, translation = mount(0.0, level)
    standing = joints @ rotation.T + translation
    exact = Exact(seed)
    pipeline = Pipeline(exact, Lifter.from_pretrained())
    image = np.zeros((camera.height, camera.width, 3), np.uint8)
    buffer, found, covariances, sent = Buffer(), [], [], 0
    for k in range(round(seconds * IMAGES)):
        stamp = 1.0 + k / IMAGES
        while sent / TRANSFORMS + 1.0 <= stamp + LATENCY:  # those there when the answer is
            when = 1.0 + sent / TRANSFORMS
            r, t = mount(angle(when, turning), level)
            buffer.add('odom', 'camera', round(when * SECOND), t, quaternion(r))
            sent += 1
        r, t = mount(angle(stamp, turning), level)
        exact.pixels = camera.project((standing - t) @ r)
        when = 1.0 + (sent - 1) / TRANSFORMS if lookup == 'latest' else stamp
        motion = buffer.lookup('odom', 'camera', round(when * SECOND))
        pose = motion if lookup == 'stamp' else None
        people = pipeline(image, camera, stamp, up, pose=pose)
        if people and k >= IMAGES:  # the first second settles
            moved = rigid.moved(people[0], *motion)
            found.append(moved.joints[PELVIS])
            covariances.append(moved.covariance[PELVIS])
    return np.array(found), np.array(covariances)


def measure(args):
    """Spread of the root in mm for a camera at rest, and turning with either lookup."""
    seconds = min(args.seconds, 20.0)
    figures = {'seconds': seconds, 'rate_deg_s': math.degrees(RATE), 'rows': []}
    for turning, lookup in ((False, 'stamp'), (True, 'stamp'),
                            (True, 'stamp, tracker not told'), (True, 'latest')):
        found, covariances = roots(turning, lookup, seconds)
        middle = found.mean(axis=0)
        away = 1e3 * np.linalg.norm(found - middle, axis=1)
        figures['rows'].append({
            'camera': 'turning' if turning else 'at rest', 'lookup': lookup, 'n': len(found),
            'spread_mm': round(float(np.sqrt((away ** 2).mean())), 1),
            'worst_mm': round(float(away.max()), 1),
            'sideways_mm': round(1e3 * float(found[:, 1].std()), 1),
            'sigma_mm': round(1e3 * float(np.sqrt(np.trace(covariances.mean(0)))), 1)})
    rest = figures['rows'][0]['spread_mm']
    for row in figures['rows']:
        row['ratio'] = round(row['spread_mm'] / rest, 2)
    return figures


def report(figures):
    """The figures as a table."""
    lines = ['| camera | lookup | spread of the root, mm | to the first row | sideways, mm | '
             'worst, mm | published sigma, mm |', '|---|---|---|---|---|---|---|']
    lines += [f'| {r["camera"]} | {r["lookup"]} | {r["spread_mm"]} | {r["ratio"]} | '
              f'{r["sideways_mm"]} | {r["worst_mm"]} | {r["sigma_mm"]} |'
              for r in figures['rows']]
    return '\n'.join(lines)
