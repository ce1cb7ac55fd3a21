"""``lifting-ros eval 3d``: errors and calibration of the lifter on poses it has not seen."""

import json
import time

import numpy as np

from ..skeleton import BONES, GROUPS, HIPS, INDEX, LSP_JOINTS
from . import measures
from .scenes import scenes

_WRISTS = [INDEX['left_wrist'], INDEX['right_wrist']]
_UPPER = [INDEX[n] for n in ('neck', 'head_top', 'left_shoulder', 'left_elbow', 'left_wrist',
                             'right_shoulder', 'right_elbow', 'right_wrist')]


def measure(lifted, truth, rows=slice(None)):
    """Table row of lifted people against their truth.

    Args:
        lifted: :class:`~lifting_ros.lifting.Lifted`; truth: (N, 17, 3) m, optical frame.
        rows: which people.

    Returns:
        dict; lengths in mm, the root as a share of the distance in percent, coverage in
        percent, those over people that were lifted; ``lifted`` is their share in percent.
    """
    joints, covariance, truth = lifted.joints[rows], lifted.covariance[rows], truth[rows]
    ok = np.isfinite(joints).all((1, 2))
    out = {'people': len(ok), 'lifted': 100 * float(ok.mean()) if len(ok) else float('nan')}
    if not ok.any():
        return out
    joints, covariance, truth = joints[ok], covariance[ok], truth[ok]
    error = measures.joint_errors(measures.root_relative(joints), measures.root_relative(truth))
    root = np.linalg.norm(joints[:, 0] - truth[:, 0], axis=1)
    square = measures.mahalanobis(joints, truth, covariance)
    out |= {'mpjpe': 1e3 * error.mean(),
            'n_mpjpe': 1e3 * measures.n_mpjpe(joints, truth).mean(),
            'pa_mpjpe': 1e3 * measures.pa_mpjpe(joints, truth).mean(),
            'mpjae_deg': np.degrees(measures.mpjae(joints, truth, BONES).mean()),
            'wrist': 1e3 * error[:, _WRISTS].mean(),
            'root_mm': 1e3 * np.median(root),
            'root_percent': 100 * np.median(root / np.linalg.norm(truth[:, 0], axis=1)),
            'nees': square.mean() / 3,
            'ece': measures.calibration_error(square)}
    out |= {f'within_{q}': 100 * measures.coverage(square, q / 100) for q in (50, 90, 95)}
    return {k: v if isinstance(v, int) else round(float(v), 2) for k, v in out.items()}


def evaluate(lifter, poses, n, seed=0, batch=64):
    """All tables of the evaluation.

    Args:
        lifter: :class:`~lifting_ros.lifting.Lifter`.
        poses: held-out :class:`~lifting_ros.training.mocap.Poses`.
        n: people.
        seed: of poses, cameras and noise.

    Returns:
        dict of table name -> row (see :func:`measure`).
    """
    from ..training.mocap import draw_balanced, stature
    from ..training.sitting import sitting, upright
    rng = np.random.default_rng(seed)
    sit = n // 10 if upright(poses).any() else 0
    drawn = poses[draw_balanced(poses, n - sit, rng)]
    if sit:
        drawn = drawn + sitting(poses, sit, rng)
    s = scenes(drawn.joints, rng)
    height = stature(s.joints)

    def lift(keypoints=s.keypoints, confidence=s.confidence, up=s.up, tall=None):
        parts = [lifter.lift(keypoints[i:i + batch], confidence[i:i + batch], s.camera,
                             None if up is None else up[i:i + batch],
                             stature=None if tall is None else tall[i:i + batch])
                 for i in range(0, n, batch)]
        return type(parts[0])(*(np.concatenate([getattr(p, f) for p in parts])
                                for f in parts[0].__dict__))

    begin = time.perf_counter()
    known = lift()
    spent = (time.perf_counter() - begin) / n
    table = {'all, gravity known': measure(known, s.joints)}
    table['all, gravity unknown'] = measure(lift(up=None), s.joints)
    table['all, stature given'] = measure(lift(tall=height), s.joints)
    for kind in np.unique(drawn.kind):
        table[f'kind: {kind}'] = measure(known, s.joints, drawn.kind == kind)
    edges = np.radians([0, 10, 20, 30, 40, 45.001])
    for low, high in zip(edges[:-1], edges[1:]):
        rows = (s.pitch >= low) & (s.pitch < high)
        table[f'pitch: {np.degrees(low):.0f} to {np.degrees(high):.0f}'] = measure(
            known, s.joints, rows)
    table |= _missing(lift, s, rng)
    table |= groups(known, s.joints)
    table['seconds a person'] = {'batch': batch, 'seconds': round(spent, 5)}
    return table


def _missing(lift, s, rng):
    """Joints missing, and keypoints grossly wrong."""
    out = {}
    legs = s.confidence.copy()
    legs[:, [i for i in range(17) if i not in _UPPER and i not in HIPS]] = 0
    lifted = lift(confidence=legs)
    upper = [0, *_UPPER]
    for name, value in (('upper body, legs seen', lift()), ('upper body, legs not', lifted)):
        error = measures.joint_errors(measures.root_relative(value.joints),
                                      measures.root_relative(s.joints))[:, upper]
        out[name] = {'people': len(error), 'mpjpe': round(1e3 * float(np.nanmean(error)), 2)}
    six = s.confidence.copy()
    given = np.array(LSP_JOINTS)
    for row in six:
        row[rng.choice(given, 6, replace=False)] = 0
    out['six joints missing'] = measure(lift(confidence=six), s.joints)
    wrong = s.keypoints.copy()
    people = np.arange(len(wrong))
    wrong[people, rng.choice(given, len(wrong))] += rng.normal(0, 40, (len(wrong), 2))
    out['one joint 40 px off'] = measure(lift(keypoints=wrong), s.joints)
    swapped = s.keypoints.copy()
    pairs = [(INDEX[f'left_{a}'], INDEX[f'right_{a}']) for a in ('knee', 'ankle')]
    for a, b in pairs:
        swapped[:, [a, b]] = swapped[:, [b, a]]
    out['knees and ankles swapped'] = measure(lift(keypoints=swapped), s.joints)
    return out


def groups(lifted, truth):
    """Calibration by group of joints."""
    ok = np.isfinite(lifted.joints).all((1, 2))
    square = measures.mahalanobis(lifted.joints[ok], truth[ok], lifted.covariance[ok])
    return {f'joints: {name}': {
        'people': int(ok.sum()), 'nees': round(float(square[:, list(j)].mean() / 3), 2),
        **{f'within_{q}': round(100 * measures.coverage(square[:, list(j)], q / 100), 2)
           for q in (50, 90, 95)}} for name, j in GROUPS.items()}


def show(table):
    """The tables as text: one line a row, aligned."""
    columns = ['people', 'lifted', 'mpjpe', 'n_mpjpe', 'pa_mpjpe', 'mpjae_deg', 'wrist',
               'root_mm', 'root_percent', 'within_50', 'within_90', 'within_95', 'nees', 'ece']
    wide = max(map(len, table)) + 2
    lines = [' ' * wide + ''.join(f'{c.replace("_", " "):>13}' for c in columns)]
    for name, row in table.items():
        if 'seconds' in row:
            lines.append(f'{name}: {row["seconds"]:.5f} (batch {row["batch"]})')
            continue
        lines.append(f'{name:<{wide}}' + ''.join(
            f'{row[c]:>13}' if c in row else ' ' * 12 + '-' for c in columns))
    return '\n'.join(lines)


def add_arguments(parser):
    parser.add_argument('--mocap', default='../shared/data/mocap',
                        help='folder or npz of motion capture (%(default)s)')
    parser.add_argument('--source', help='evaluate on this source alone, whole: give a prior '
                        'that was fitted without it')
    parser.add_argument('--subject', nargs='*', help='subjects to evaluate on (those held out)')
    parser.add_argument('--prior', help='a prior\'s file (the shipped one)')
    parser.add_argument('--density', help='a learned density\'s file (the shipped one); '
                        '"none" for the prior alone')
    parser.add_argument('--people', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', help='write the tables here')


def run(args):
    from ..lifting import Lifter
    from ..training.mocap import HELD_OUT_SUBJECTS, read
    poses = read(args.mocap)
    if args.source:
        poses = poses[poses.source == args.source]
    else:
        poses = poses[np.isin(poses.subject, args.subject or HELD_OUT_SUBJECTS)]
    if not len(poses):
        raise ValueError('no such source or subject in the motion capture')
    lifter = Lifter.from_pretrained(args.prior, args.density)
    table = evaluate(lifter, poses, args.people, args.seed)
    print(show(table))
    if args.json:
        with open(args.json, 'w') as f:
            json.dump(table, f, indent=1)
    return 0
