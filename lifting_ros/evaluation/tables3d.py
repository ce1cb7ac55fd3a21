"""The tables of ``lifting-ros eval 3d``: errors and calibration of a lifter on known scenes."""

import inspect
from dataclasses import fields

import numpy as np

from ..skeleton import BONES, HIPS, INDEX, LSP_JOINTS
from . import measures
from .depth_images import depth_images
from .groups3d import (
    LEVELS,
    calibration,
    legs_of_seated,
    of_subjects,
    seen_and_unseen,
    spared_and_taken,
)
from .scenes import scenes

_WRISTS = [INDEX['left_wrist'], INDEX['right_wrist']]
_UPPER = [INDEX[n] for n in ('neck', 'head_top', 'left_shoulder', 'left_elbow', 'left_wrist',
                             'right_shoulder', 'right_elbow', 'right_wrist')]
#: Camera pitches, degrees down, and numbers of joints seen that have rows of their own.
PITCHES = (0, 15, 30, 45, 60)
COUNTS = (14, 12, 10, 8, 6, 4)


def measure(joints, truth, covariance=None, rows=slice(None)):
    """Table row of lifted people against their truth.

    Args:
        joints: (N, 17, 3) m, optical frame, NaN where not lifted; truth: (N, 17, 3) m.
        covariance: (N, 17, 3, 3) m^2, or None for who gives none.
        rows: which people.

    Returns:
        dict; lengths in mm, the root as a share of the distance in percent, coverage in
        percent, those over people that were lifted; ``lifted`` is their share in percent.
    """
    joints, truth = joints[rows], truth[rows]
    ok = np.isfinite(joints).all((1, 2))
    out = {'people': len(ok), 'lifted': 100 * float(ok.mean()) if len(ok) else float('nan')}
    if not ok.any():
        return out
    joints, truth = joints[ok], truth[ok]
    error = measures.joint_errors(measures.root_relative(joints), measures.root_relative(truth))
    root = np.linalg.norm(joints[:, 0] - truth[:, 0], axis=1)
    out |= {'mpjpe': 1e3 * error.mean(),
            'n_mpjpe': 1e3 * measures.n_mpjpe(joints, truth).mean(),
            'pa_mpjpe': 1e3 * measures.pa_mpjpe(joints, truth).mean(),
            'mpjae_deg': np.degrees(measures.mpjae(joints, truth, BONES).mean()),
            'wrist': 1e3 * error[:, _WRISTS].mean(),
            'root_mm': 1e3 * np.median(root),
            'root_percent': 100 * np.median(root / np.linalg.norm(truth[:, 0], axis=1))}
    if covariance is not None:
        square = measures.mahalanobis(joints, truth, covariance[rows][ok])
        out |= calibration(square)
    return {k: v if isinstance(v, int) else round(float(v), 2) for k, v in out.items()}


class Trial:
    """A lifter (or peer) before scenes.

    Args:
        lifter: :class:`~lifting_ros.lifting.Lifter`.
        batch: people a call.
    """

    def __init__(self, lifter, batch=64):
        self.lifter, self.batch = lifter, batch
        self.takes = set(inspect.signature(lifter.lift).parameters)

    def __call__(self, s, up='given', **given):
        """Lift everybody of the scenes.

        Args:
            s: Scenes.
            up: 'given' is the scenes'; None is unknown.
            given: keypoints, confidence in place of the scenes'; anything else that ``lift``
                takes, with a row for each person.

        Returns:
            Lifted.
        """
        rows = {'keypoints': s.keypoints, 'confidence': s.confidence,
                'up': s.up if isinstance(up, str) else up, **given}
        parts = []
        for i in range(0, len(s.joints), self.batch):
            part = {k: v if v is None else v[i:i + self.batch] for k, v in rows.items()}
            parts.append(self.lifter.lift(camera=s.camera, **part))
        return join(parts)

    def with_depth(self, s, images, camera, **given):
        """Lift each person with an own depth image; ``given`` as in a call."""
        from ..lifting.depth import DepthImage
        return join([self.lifter.lift(
            s.keypoints[i:i + 1], s.confidence[i:i + 1], s.camera, s.up[i:i + 1],
            depth=DepthImage(images[i], camera), **{k: v[i:i + 1] for k, v in given.items()})
            for i in range(len(s.joints))])


def join(parts):
    """One Lifted of several."""
    return type(parts[0])(*(np.concatenate([getattr(p, f.name) for p in parts])
                            for f in fields(parts[0])))


def some(s, rows):
    """The scenes of some people."""
    return type(s)(**{f.name: getattr(s, f.name) if f.name == 'camera'
                      else getattr(s, f.name)[rows] for f in fields(s)})


def draw(poses, n, rng):
    """n poses, balanced, a tenth of them seated where any stands."""
    from ..training.mocap import draw_balanced
    from ..training.sitting import sitting, upright
    sit = n // 10 if upright(poses).any() else 0
    drawn = poses[draw_balanced(poses, n - sit, rng)]
    return drawn + sitting(poses, sit, rng) if sit else drawn


def fewer(s, count, rng):
    """Confidences (N, 17) where only ``count`` of the fourteen joints are seen."""
    confidence = np.zeros_like(s.confidence)
    for row, own in zip(confidence, s.confidence, strict=True):
        row[rng.permutation(LSP_JOINTS)[:count]] = 1
        row *= own
    return confidence


def legs_hidden(s):
    """Confidences (N, 17) where knees and ankles are out of view."""
    legs = s.confidence.copy()
    legs[:, [i for i in range(17) if i not in _UPPER and i not in HIPS]] = 0
    return legs


def evaluate(lifter, poses, n, seed=0, batch=64, peer=None, progress=iter):
    """All tables of the evaluation.

    Args:
        lifter: :class:`~lifting_ros.lifting.Lifter`.
        poses: held-out :class:`~lifting_ros.training.mocap.Poses`.
        n: people.
        seed: of poses, cameras and noise.
        batch: people a call of the lifter.
        peer: something with ``lift(keypoints, confidence, camera)`` that gives joints
            (N, 17, 3) m, measured beside; or None.
        progress: wraps the iterable of parts, for a bar.

    Returns:
        dict of table name -> row (see :func:`measure`), and dict of the curves for plots.
    """
    rng = np.random.default_rng(seed)
    drawn = draw(poses, n, rng)
    s = scenes(drawn.joints, rng)
    trial, table, curves = Trial(lifter, batch), {}, {}
    known = trial(s)

    def row(lifted, scene=s, rows=slice(None)):
        return measure(lifted.joints, scene.joints, lifted.covariance, rows)

    def scale():
        table['all, gravity known'] = row(known)
        table['all, gravity unknown'] = row(trial(s, up=None))
        rows, tall = _scales(trial, s, row, known, np.random.default_rng([seed, 1]))
        table.update(rows | of_subjects(tall.joints, s.joints, drawn.subject))
        if peer is not None:
            table['peer: simple baseline'] = measure(
                peer.lift(s.keypoints, s.confidence, s.camera), s.joints)

    def kinds():
        for kind in np.unique(drawn.kind):
            table[f'kind: {kind}'] = row(known, rows=drawn.kind == kind)

    def pitches():
        curves['pitch'] = {'degrees': list(PITCHES), 'lifter': [], 'gravity unknown': []}
        if peer is not None:
            curves['pitch']['peer'] = []
        for pitch in PITCHES:
            # the same people, places and noise at every pitch
            at = scenes(drawn.joints, np.random.default_rng([seed, 2]), pitch=(pitch, pitch))
            table[f'pitch: {pitch}'] = row(trial(at), at)
            curves['pitch']['lifter'].append(table[f'pitch: {pitch}']['mpjpe'])
            curves['pitch']['gravity unknown'].append(row(trial(at, up=None), at)['mpjpe'])
            if peer is not None:
                got = measure(peer.lift(at.keypoints, at.confidence, at.camera), at.joints)
                table[f'peer, pitch: {pitch}'] = got
                curves['pitch']['peer'].append(got['mpjpe'])

    def missing():
        pool = [(known, s.confidence)]
        table['joints seen: 14'] = row(known)
        for count in COUNTS[1:]:
            confidence = fewer(s, count, np.random.default_rng([seed, 3, count]))
            lifted = trial(s, confidence=confidence)
            table[f'joints seen: {count}'] = row(lifted)
            if count == 8:
                pool.append((lifted, confidence))
                table['six joints missing'] = table['joints seen: 8']
                table.update(spared_and_taken(known, lifted, s, confidence))
                if peer is not None:
                    table['peer, six joints missing'] = measure(
                        peer.lift(s.keypoints, confidence, s.camera), s.joints)
        legs, lifted = _legs(trial, s, known, table)
        table.update(legs_of_seated(lifted, s.joints, drawn.kind == 'sit'))
        pool.append((lifted, legs))
        more, levels = seen_and_unseen(pool, s.joints)
        table.update(more)
        curves['calibration'] = levels

    def wrong():
        table.update(_wrong(trial, s, row, np.random.default_rng([seed, 4])))

    for part in progress([scale, kinds, pitches, missing, wrong]):
        part()
    return table, curves


def _scales(trial, s, row, known, rng):
    """What fixes the scale: the prior's stature, a stature given, the floor, a depth image; the
    rows, and everybody lifted with the stature given.
    """
    from ..training.mocap import stature
    tall = trial(s, stature=stature(s.joints))
    out = {'scale: prior': row(known), 'scale: stature given': row(tall)}
    if 'camera_height' in trial.takes:
        out['scale: ground plane'] = row(trial(s, camera_height=s.height))
    else:
        out['scale: ground plane'] = {'skipped': 'this lifter takes no camera_height'}
    if 'depth' not in trial.takes:
        out['scale: depth'] = {'skipped': 'this lifter takes no depth'}
        return out, tall
    part = some(s, np.arange(min(len(s.joints), 200)))
    images, camera = depth_images(part, rng)
    out['scale: depth'] = row(trial.with_depth(part, images, camera), part)
    return out, tall


def _legs(trial, s, known, table):
    """Upper body with legs out of view; fills the table, returns confidences and lifted."""
    legs = legs_hidden(s)
    lifted = trial(s, confidence=legs)
    for name, value in (('upper body, legs seen', known), ('upper body, legs not', lifted)):
        error = measures.joint_errors(measures.root_relative(value.joints),
                                      measures.root_relative(s.joints))[:, [0, *_UPPER]]
        table[name] = {'people': len(error), 'mpjpe': round(1e3 * float(np.nanmean(error)), 2)}
    return legs, lifted


def _wrong(trial, s, row, rng):
    """Keypoints that are grossly wrong."""
    off = s.keypoints.copy()
    people = np.arange(len(off))
    off[people, rng.choice(LSP_JOINTS, len(off))] += rng.normal(0, 40, (len(off), 2))
    out = {'one joint 40 px off': row(trial(s, keypoints=off))}
    swapped = s.keypoints.copy()
    for name in ('knee', 'ankle'):
        pair = [INDEX[f'left_{name}'], INDEX[f'right_{name}']]
        swapped[:, pair] = swapped[:, pair[::-1]]
    out['knees and ankles swapped'] = row(trial(s, keypoints=swapped))
    return out


def show(table):
    """The tables as text: one line a row, aligned."""
    columns = ['people', 'lifted', 'px', 'error', 'mpjpe', 'n_mpjpe', 'pa_mpjpe', 'mpjae_deg',
               'mpjpe_before', 'more_percent', 'wrist', 'root_mm', 'root_percent',
               'bias_percent', *(f'within_{q}' for q in LEVELS), 'nees', 'ece']
    rows = {k: v for k, v in table.items() if k != 'about'}
    columns = [c for c in columns if any(c in row or c == 'people' for row in rows.values())]
    wide = max(map(len, rows)) + 2
    lines = [' ' * wide + ''.join(f'{c.replace("_", " "):>13}' for c in columns)]
    for name, row in rows.items():
        if 'skipped' in row:
            lines.append(f'{name:<{wide}}  {row["skipped"]}')
            continue
        row = {'people': row.get('joints'), **row} if 'joints' in row else row
        lines.append(f'{name:<{wide}}' + ''.join(
            f'{row[c]:>13}' if c in row else ' ' * 12 + '-' for c in columns))
    return '\n'.join(lines)
