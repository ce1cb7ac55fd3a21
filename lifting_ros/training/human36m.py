"""Human3.6M, as its users have it: joints in the world and four cameras, from JSON files.

The data set may not be passed on, so nobody but its licensee has it. What is read is the widely
used conversion that comes with 3DMPPE (Moon et al. 2019) and many programs after it, a folder of

* ``Human36M_subject{9}_joint_3d.json``: ``{action: {trial: {frame: [[x, y, z], ... 17]}}}``,
  world millimetres, z up; actions "2" to "16", trials "1" and "2", frames at 50 a second, and
* ``Human36M_subject{9}_camera.json``: ``{camera: {"R": 3x3, "t": 3 (mm), "f": 2, "c": 2}}``,
  cameras "1" to "4", X_camera = R X_world + t.

Its seventeen joints are in this project's order. The project's fits have seen none of it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..camera import Camera
from ..skeleton import NUM_JOINTS

ACTIONS = ('Directions', 'Discussion', 'Eating', 'Greeting', 'Phoning', 'Posing', 'Purchases',
           'Sitting', 'SittingDown', 'Smoking', 'Photo', 'Waiting', 'Walking', 'WalkDog',
           'WalkTogether')
#: Width and height of the pictures of cameras 1 to 4, px.
_SIZES = ((1000, 1002), (1000, 1000), (1000, 1000), (1000, 1002))


@dataclass(frozen=True, eq=False)
class Clip:
    """One trial of one action.

    Args:
        subject: number; action: a name of :data:`ACTIONS`; trial: 1 or 2.
        frames: (F,) numbers of the frames, 50 a second.
        joints: (F, 17, 3) m, world, z up.
    """

    subject: int
    action: str
    trial: int
    frames: np.ndarray
    joints: np.ndarray


@dataclass(frozen=True, eq=False)
class View:
    """A camera in the world: Camera, rotation (3, 3) and translation (3,) m into its frame."""

    camera: Camera
    rotation: np.ndarray
    translation: np.ndarray

    def see(self, joints):
        """World joints (..., 3) m in the optical frame."""
        return joints @ self.rotation.T + self.translation

    @property
    def up(self):
        """(3,) against gravity, optical frame."""
        return self.rotation[:, 2]


def _load(folder, subject, what):
    path = Path(folder) / f'Human36M_subject{subject}_{what}.json'
    if not path.is_file():
        raise ValueError(f'{path} is missing: see docs/lifting.md for the files of Human3.6M')
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f'{path} is no JSON: {error}') from None


def clips(folder, subject):
    """The clips of a subject.

    Raises:
        ValueError: the file is missing or of another form.
    """
    out = []
    for action, trials in _load(folder, subject, 'joint_3d').items():
        if not action.isdigit() or not 2 <= int(action) < 2 + len(ACTIONS):
            raise ValueError(f'subject {subject}: unknown action {action!r} (2 to 16)')
        for trial, frames in trials.items():
            numbers = np.array(sorted(map(int, frames)))
            joints = np.array([frames[str(n)] for n in numbers], dtype=np.float64)
            if joints.shape != (len(numbers), NUM_JOINTS, 3):
                raise ValueError(f'subject {subject}, action {action}: joints must be (17, 3), '
                                 f'not {joints.shape[1:]}')
            out.append(Clip(subject, ACTIONS[int(action) - 2], int(trial), numbers,
                            joints / 1000))
    return out


def views(folder, subject):
    """The cameras of a subject: dict of number -> :class:`View`.

    Raises:
        ValueError: the file is missing or of another form.
    """
    out = {}
    for number, one in _load(folder, subject, 'camera').items():
        try:
            rotation, t, f, c = (np.array(one[k], dtype=np.float64) for k in 'Rtfc')
            (fx, fy), (cx, cy) = f, c
            size = _SIZES[int(number) - 1]
            camera = Camera([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], *size)
            rotation, t = rotation.reshape(3, 3), t.reshape(3) / 1000
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise ValueError(f'subject {subject}, camera {number} is not as expected: '
                             f'{error!r}') from None
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3:
            raise ValueError(f'subject {subject}, camera {number}: R is no rotation')
        out[int(number)] = View(camera, rotation, t)
    return out
