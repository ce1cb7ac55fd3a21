"""Captured poses as named points, balanced over kinds, with chairs added; the input of retarget.

World frame: metres, z up, the floor of each clip at z = 0.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..skeleton import INDEX
from .mocap import HELD_OUT_SUBJECTS, Poses
from .retarget import frames, unit
from .sitting import seat, upright

#: How often a kind of pose is drawn, against each other.
KIND_WEIGHTS = {'sit': 3, 'bend_lift': 3, 'reach': 3, 'bend_reach': 2, 'squat_kneel': 2,
                'gesture': 2, 'walk': 2.5, 'climb_hang_sit': 1.2, 'sports': 1.5, 'exercise': 1.5,
                'jump': 0.8, 'lie': 0.7, 'run': 0.8, 'dance': 0.8, 'martial': 0.8,
                'acrobatics': 0.6}
_MIRRORED = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Capture:
    """One captured pose: named points.

    Args:
        points: dict of name -> (3,) m, z up: the 26 common joints.
        clavicle: dict of side -> (3,) usual direction from neck to shoulder, chest frame.
        kind: kind of pose.
    """

    points: dict
    clavicle: dict
    kind: str

    def mirrored(self):
        """Left and right exchanged."""
        def other(n):
            return (n.replace('left', '*').replace('right', 'left').replace('*', 'right'))
        return replace(self, points={other(n): p * _MIRRORED for n, p in self.points.items()},
                       clavicle={other(n): p * _MIRRORED for n, p in self.clavicle.items()})


class Captures:
    """The captured poses of a folder (its ``poses_common.npz``), with chairs added.

    Args:
        path: folder or npz.
        held_out: True gives only the subjects that are held out of every fit, False only the
            others, None all.
    """

    def __init__(self, path, held_out=False):
        path = Path(path)
        path = path / 'poses_common.npz' if path.is_dir() else path
        with np.load(path, allow_pickle=False) as data:
            raw = data['positions'].astype(np.float64)
            self.names = [str(n) for n in data['joint_names']]
            self.start = data['clip_start']
            clips = len(self.start) - 1
            subject, kind = data['subject'].astype(str), data['kind'].astype(str)
            self.clip_names = data['clip_name'].astype(str)
            source = data['source'].astype(str)
            self.fps = float(data['fps'])
        self.points = np.stack((raw[..., 0], -raw[..., 2], raw[..., 1]), -1)
        clip = np.repeat(np.arange(clips), np.diff(self.start))
        self.subject, self.kind, self.source = subject[clip], kind[clip], source[clip]
        held = np.isin(self.subject, HELD_OUT_SUBJECTS)
        self.allowed = np.ones(len(held), bool) if held_out is None else held == held_out
        self.clip = clip
        self._floor = np.array([np.percentile(self.points[a:b, :, 2].min(1), 5) for a, b in
                                zip(self.start[:-1], self.start[1:], strict=True)])[clip]
        self._clavicle = self._usual_clavicles()
        joints = np.stack([self._column(n) if n != 'spine' else
                           (self._column('pelvis') + self._column('neck')) / 2 for n in INDEX], 1)
        poses = Poses(joints, self.source, self.subject, self.kind, self.clip_names[clip])
        self._joints, self._upright = joints, upright(poses)

    def _column(self, name):
        return self.points[:, self.names.index(name)]

    def _usual_clavicles(self):
        left = self._column('left_shoulder') - self._column('right_shoulder')
        chest = frames(left, self._column('neck') - self._column('spine'))
        out = {}
        for s in np.unique(self.subject):
            pick = self.subject == s
            out[s] = {side: unit(np.median(np.einsum(
                'nji,nj->ni', chest[pick],
                unit(self._column(f'{side}_shoulder') - self._column('neck'))[pick]), 0))
                for side in ('left', 'right')}
        return out

    def at(self, i):
        """The captured pose of frame i, the floor of its clip at z = 0."""
        p = self.points[i] - [0, 0, self._floor[i]]
        return Capture(dict(zip(self.names, p, strict=True)),
                       dict(self._clavicle[self.subject[i]]), str(self.kind[i]))

    def between(self, first, t):
        """The pose t seconds after frame ``first`` of the same clip, by cubic interpolation."""
        x = first + t * self.fps
        lo, hi = self.start[self.clip[first]], self.start[self.clip[first] + 1] - 1
        i = int(np.floor(x))
        idx = np.clip([i - 1, i, i + 1, i + 2], lo, hi)
        u = x - i
        w = 0.5 * np.array([-u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3,
                            u + 4 * u**2 - 3 * u**3, -u**2 + u**3])
        base = self.at(int(idx[1]))
        p = np.einsum('k,kjc->jc', w, self.points[idx]) - [0, 0, self._floor[first]]
        return replace(base, points=dict(zip(self.names, p, strict=True)))

    def draw(self, rng):
        """A random pose, kinds balanced by :data:`KIND_WEIGHTS`, mirrored in half of the cases.

        ``sit`` is made from upright poses: see :mod:`lifting_ros.training.sitting`.
        """
        kinds = [k for k in KIND_WEIGHTS if k == 'sit' or (self.allowed & (self.kind == k)).any()]
        weight = np.array([KIND_WEIGHTS[k] for k in kinds])
        kind = kinds[rng.choice(len(kinds), p=weight / weight.sum())]
        if kind == 'sit':
            i = int(rng.choice(np.flatnonzero(self.allowed & self._upright)))
            capture = self._sit(i, rng)
        else:
            # clips before frames: long clips would have it all
            among = np.flatnonzero(self.allowed & (self.kind == kind))
            clip = rng.choice(np.unique(self.clip[among]))
            capture = self.at(int(rng.choice(among[self.clip[among] == clip])))
        return capture.mirrored() if rng.random() < 0.5 else capture

    def _sit(self, i, rng):
        base = self.at(i)
        j = seat(self._joints[i:i + 1], rng)[0]
        points = {n: j[k] for n, k in INDEX.items()}
        trunk = points['neck'] - points['pelvis']
        forward = np.cross(points['left_hip'] - points['right_hip'], [0, 0, 1])
        points['root'] = points['pelvis'] + 0.2 * trunk
        points['spine'] = points['pelvis'] + 0.4 * trunk
        points['head_base'] = points['neck'] + 0.4 * (points['head_top'] - points['neck'])
        for side in ('left', 'right'):
            shin = points[f'{side}_ankle'] - points[f'{side}_knee']
            flat = unit(forward + 0.3 * unit(shin) * [1, 1, 0])
            points[f'{side}_foot'] = points[f'{side}_ankle'] + 0.13 * flat - [0, 0, 0.06]
        return replace(base, points=points, kind='sit')
