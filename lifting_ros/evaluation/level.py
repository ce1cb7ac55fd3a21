"""``lifting-ros eval level``: how well people tell which way is up, without any other word."""

import sys
from dataclasses import fields

import numpy as np

from .lift3d import bar, held_out
from .scenes import scenes
from .tables3d import Trial, draw, join

PITCHES = (0, 15, 30, 45, 60)
LOOKS = (1, 2, 4, 8, 16)


def add_arguments(parser):
    parser.add_argument('--mocap', default='../shared/data/mocap',
                        help='folder or npz of motion capture (%(default)s)')
    parser.add_argument('--cameras', type=int, default=40, help='cameras of each pitch (40)')
    parser.add_argument('--roll', type=float, default=3.0,
                        help='sigma of the cameras\' roll, degrees (3)')
    parser.add_argument('--seed', type=int, default=0)


def rows(lifted):
    """Lifted of each person by itself."""
    return [type(lifted)(**{f.name: getattr(lifted, f.name)[i:i + 1] for f in fields(lifted)})
            for i in range(len(lifted))]


def trial(lifter, poses, pitch, roll, rng):
    """Errors in degrees after each of LOOKS images of one camera, NaN where nothing was said.

    Every half a second the camera sees one person, in a pose of its own.
    """
    from ..lifting.level import Level
    lean = rng.normal(0, roll)
    drawn = draw(poses, LOOKS[-1], rng)
    seen = scenes(drawn.joints, rng, pitch=(pitch, pitch))
    a = np.radians(lean)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    centre = np.array([seen.camera.K[0, 2], seen.camera.K[1, 2]])
    up = seen.up[0].copy()
    up[:2] = turn @ up[:2]
    level, errors = Level(), []
    lifted = join([Trial(lifter)(seen, up=None,
                                 keypoints=(seen.keypoints - centre) @ turn.T + centre)])
    for i, one in enumerate(rows(lifted)):
        level.see(one, 0.5 * i)
        if i + 1 in LOOKS:
            errors.append(np.nan if level.up is None else
                          np.degrees(np.arccos(np.clip(level.up @ up, -1, 1))))
    return errors


def run(args):
    from ..lifting import Lifter
    from ..training.mocap import read
    lifter, poses = Lifter.from_pretrained(), held_out(read(args.mocap), None, None)
    rng = np.random.default_rng(args.seed)
    out = ['| camera looks down by | ' + ' | '.join(
        f'{n} look{"s" * (n > 1)}' for n in LOOKS) + ' |', '|' + ' --- |' * (len(LOOKS) + 1)]
    for pitch in bar(PITCHES):
        errors = np.array([trial(lifter, poses, pitch, args.roll, rng)
                           for _ in range(args.cameras)])
        cells = []
        for own in errors.T:
            own = own[np.isfinite(own)]
            cells.append('nothing said' if not len(own) else
                         '{:.0f} %: {:.1f}, {:.1f}'.format(
                             100 * len(own) / args.cameras, *np.quantile(own, (0.5, 0.9))))
        out.append(f'| {pitch} | ' + ' | '.join(cells) + ' |')
    sys.stdout.write('of the cameras where up is told: share, median and 90 % of the error in '
                     'degrees\n\n' + '\n'.join(out) + '\n')
    return 0
