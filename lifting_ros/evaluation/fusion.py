"""``lifting-ros eval fusion``: several cameras on the same people, against one.

Poses and clips of held-out subjects, seen by cameras on a circle: exact projections with errors
of ``--noise`` px, through the lifter, then fused. With ``--rendered`` the cameras' pictures,
through the whole pipeline: :mod:`.rendered_rigs`.
"""

import json
import sys
import time

import numpy as np

from ..fusion import Agreement, Fuser, View
from . import measures
from .rigs import lasting, lift, mount, persons

#: Azimuths of the cameras, degrees.
RIGS = {'2 cameras, 60 apart': (0, 60), '2 cameras, 90 apart': (0, 90),
        '2 cameras, 120 apart': (0, 120), '3 cameras, 60 apart': (0, 60, 120),
        '3 cameras, 120 apart': (0, 120, 240)}
_RATE = 12.0    # frames/s of the captured clips


def add_arguments(parser):
    parser.add_argument('--mocap', default='../shared/data/mocap',
                        help='folder or npz of motion capture (%(default)s)')
    parser.add_argument('--people', type=int, default=200)
    parser.add_argument('--clips', type=int, default=12, help='of 10 s, for wrong extrinsics')
    parser.add_argument('--noise', type=float, default=3.0, help='px (%(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--rendered', metavar='FOLDER', help='pictures of "lifting-ros render '
                        'views" (clips of them: wrong extrinsics) instead of exact projections')
    parser.add_argument('--json', help='write the tables here')


def row(joints, truth, covariance):
    """Errors in mm of joints in the world and about the pelvis, NEES / 3, share within 95 %."""
    error = measures.joint_errors(joints, truth)
    square = measures.mahalanobis(joints, truth, covariance)
    out = {'joints_mm': 1e3 * error.mean(), 'pelvis_mm': 1e3 * error[:, 0].mean(),
           'mpjpe_mm': 1e3 * measures.mpjpe(joints, truth).mean(), 'nees': square.mean() / 3,
           'within_95': 100 * measures.coverage(square, 0.95)}
    return {k: round(float(v), 2) for k, v in out.items()}


def fused(views, stamp=0.0):
    """One person's fused Person, or None where the cameras do not agree on one."""
    people = Fuser().update(views, stamp)
    return people[0] if len(people) == 1 else None


def still(lifter, bodies, azimuths, noise, rng):
    """Table rows of one rig: the best single camera's, the fusion's, and their ratio.

    Args:
        bodies: (N, 17, 3) m, world, about the origin.
    """
    mounts = [mount(a, rng.uniform(3, 5), rng.uniform(1.2, 2.5)) for a in azimuths]
    seen = [lift(lifter, m, bodies, rng.normal(0, noise, bodies.shape[:2] + (2,)), noise)
            for m in mounts]
    good = np.all([np.isfinite(s[0]).all((1, 2)) for s in seen], axis=0)
    zero, wide = np.zeros((1, 17, 3)), np.tile(np.eye(3), (1, 17, 1, 1))
    out, rows = [], np.flatnonzero(good)
    for n in rows:
        out.append(fused([View(f'camera {c}', 0.0, persons(
            *(x[n:n + 1] for x in s), ['one'], zero, wide), m.origin)
            for c, (s, m) in enumerate(zip(seen, mounts, strict=True))]))
    whole = np.array([p is not None for p in out])
    rows = rows[whole]
    out = [p for p in out if p is not None]
    best = min((row(s[0][rows], bodies[rows], s[1][rows]) for s in seen),
               key=lambda r: r['joints_mm'])
    both = row(np.array([p.joints for p in out]), bodies[rows],
               np.array([p.covariance for p in out]))
    one = 100 * float(whole.mean())
    return best, both | {'ratio': round(both['joints_mm'] / best['joints_mm'], 3),
                         'mpjpe_ratio': round(both['mpjpe_mm'] / best['mpjpe_mm'], 3),
                         'taken_for_one': round(one, 1)}


def clips(poses, count, rng, seconds=10):
    """``count`` clips (F, 17, 3) m, z up, about the origin, turned at random."""
    length = int(seconds * _RATE)
    whole = [i for c in np.unique(poses.clip) if len(i := np.flatnonzero(poses.clip == c)) >=
             length]
    out = []
    for _ in range(count):
        index = whole[rng.integers(len(whole))]
        start = rng.integers(len(index) - length + 1)
        joints = poses.joints[index[start:start + length]]
        angle = rng.uniform(-np.pi, np.pi)
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        out.append((joints - joints[:, 0].mean(0) * [1, 1, 0]) @ turn.T)
    return out


def watched(lifter, joints, azimuths, noise, rng):
    """What each camera says of a clip: list of (Mount, (joints, covariance, source))."""
    mounts = [mount(a, rng.uniform(3, 5), rng.uniform(1.2, 2.5)) for a in azimuths]
    return [(m, lift(lifter, m, joints, lasting(len(joints), _RATE, rng, noise), noise))
            for m in mounts]


def shifts(mounts):
    """Shifts of the last camera by 5 cm: up, across its view, along it, and none."""
    ahead = mounts[-1].rotation[2] * [1, 1, 0]
    ahead /= np.linalg.norm(ahead)
    across = np.cross(ahead, [0, 0, 1.0])
    return {'none': np.zeros(3), 'up': np.array([0, 0, 0.05]), 'across its view': 0.05 * across,
            'along its view': 0.05 * ahead}


def found_after(seen, shift):
    """Seconds until the last camera's wrong place is reported, and the camera named; or None."""
    fuser, agreement = Fuser(), Agreement()
    zero, wide = np.zeros((1, 17, 3)), np.tile(0.1 * np.eye(3), (1, 17, 1, 1))
    for f in range(len(seen[0][1][0])):
        views = []
        for c, (m, said) in enumerate(seen):
            off = shift if c == len(seen) - 1 else 0
            joints, covariance, source = (x[f:f + 1] for x in said)
            views.append(View(f'camera {c}', f / _RATE, persons(
                joints + off, covariance, source, ['one'], zero, wide), m.origin + off))
        fuser.update(views, f / _RATE)
        agreement.update(fuser.groups, f / _RATE)
        bad = [v for v in agreement.verdicts() if not v.agree]
        if bad:
            return f / _RATE, bad[0].camera
    return None


def cost(lifter, bodies, rng, people=6, cameras=3, times=60):
    """CPU ms of fusing 6 people of 3 cameras, association and agreement with it: median."""
    mounts = [mount(120 * c, 5.0, 2.0) for c in range(cameras)]
    places = np.stack(np.meshgrid((-0.8, 0.0, 0.8), (-0.6, 0.6)), -1).reshape(-1, 2)[:people]
    crowd = bodies[:people] * 1.0
    crowd[..., :2] += places[:, None] - crowd[:, :1, :2]
    seen = [lift(lifter, m, crowd, rng.normal(0, 2, crowd.shape[:2] + (2,)), 2.0) for m in mounts]
    fuser, agreement, spent = Fuser(), Agreement(), []
    names = [f'p{n}' for n in range(people)]
    for t in range(times):
        views = [View(f'camera {c}', t / 30 - 0.01 * c, persons(
            *s, names, np.zeros((people, 17, 3)), np.tile(0.1 * np.eye(3), (people, 17, 1, 1))),
            m.origin) for c, (s, m) in enumerate(zip(seen, mounts, strict=True))]
        begin = time.process_time()
        fuser.update(views, t / 30)
        agreement.update(fuser.groups, t / 30)
        spent.append(1e3 * (time.process_time() - begin))
    return round(float(np.median(spent)), 2)


def evaluate(lifter, poses, people, count, noise, seed=0, progress=iter):
    """All tables.

    Args:
        poses: held-out :class:`~lifting_ros.training.mocap.Poses`. people: for the rigs.
        count: clips for the extrinsics. noise: px.

    Returns:
        dict of name -> row.
    """
    from .tables3d import draw
    rng = np.random.default_rng(seed)
    bodies = draw(poses, people, rng).joints
    bodies = bodies - bodies[:, :1] * [1, 1, 0] + np.concatenate(
        (rng.uniform(-0.7, 0.7, (people, 1, 2)), np.zeros((people, 1, 1))), -1)
    table = {}
    for name, azimuths in progress(RIGS.items()):
        best, both = still(lifter, bodies, azimuths, noise, rng)
        table[f'{name}: best single'], table[f'{name}: fused'] = best, both
    for cameras in progress((2, 3)):
        runs = {}
        for joints in clips(poses, count, rng):
            apart = rng.choice((60, 90, 120))
            seen = watched(lifter, joints, [c * apart for c in range(cameras)], noise, rng)
            for what, shift in shifts([m for m, _ in seen]).items():
                runs.setdefault(what, []).append(found_after(seen, shift))
        for what, results in runs.items():
            found = [r for r in results if r]
            table[f'{cameras} cameras, the last 5 cm off: {what}'] = {
                'runs': len(results), 'reported': len(found),
                'after_s': round(float(np.median([r[0] for r in found])), 1) if found else None,
                'right_camera': sum(r[1] == f'camera {cameras - 1}' for r in found)}
    table['3 cameras, 6 people'] = {'cpu_ms': cost(lifter, bodies, rng)}
    return table


def show(table):
    """The tables as lines."""
    wide = max(map(len, table)) + 2
    return '\n'.join(f'{name:<{wide}}' + '  '.join(f'{k} {v}' for k, v in values.items())
                     for name, values in table.items() if name != 'about')


def run(args):
    """The command."""
    from tqdm import tqdm

    def progress(items):
        return tqdm(list(items), disable=not sys.stderr.isatty())
    if args.rendered:
        from .rendered_rigs import evaluate as rendered
        table = rendered(args.rendered, progress)
        table['about'] = {'rendered': str(args.rendered)}
    else:
        from ..lifting import Lifter
        from ..training.mocap import HELD_OUT_SUBJECTS, read
        poses = read(args.mocap)
        poses = poses[np.isin(poses.subject, HELD_OUT_SUBJECTS)]
        table = evaluate(Lifter.from_pretrained(), poses, args.people, args.clips, args.noise,
                         args.seed, progress)
        table['about'] = {'people': args.people, 'clips': args.clips, 'noise_px': args.noise,
                          'seed': args.seed}
    print(show(table))
    if args.json:
        with open(args.json, 'w') as f:
            json.dump(table, f, indent=1)
    return 0
