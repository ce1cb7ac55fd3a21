"""Rows of ``lifting-ros eval 3d`` about some of the joints or people: calibration of joints seen
and not, what missing joints cost which joints, roots by subject.
"""

import numpy as np

from ..skeleton import GROUPS, INDEX
from . import measures

#: Ellipsoids whose coverage the tables give, percent.
LEVELS = (50, 90, 95)
_LEGS = [INDEX[f'{s}_{j}'] for s in ('left', 'right') for j in ('knee', 'ankle')]


def calibration(square):
    """Coverage in percent, NEES and expected calibration error of squared distances."""
    if not np.size(square):
        return {}
    row = {f'within_{q}': 100 * measures.coverage(square, q / 100) for q in LEVELS}
    row |= {'nees': np.mean(square) / 3, 'ece': measures.calibration_error(square)}
    return {k: round(float(v), 3 if k == 'ece' else 2) for k, v in row.items()}


def seen_and_unseen(pool, truth, levels=20):
    """Calibration by group of joints, of those seen and those not, apart.

    Args:
        pool: list of (Lifted, confidence (N, 17)) of the same people; truth: (N, 17, 3) m.
        levels: of the calibration curve.

    Returns:
        dict of table rows, and the curves: nominal shares and those held, seen and unseen.
    """
    square, seen = [], []
    for lifted, confidence in pool:
        ok = np.isfinite(lifted.joints).all((1, 2))
        square.append(measures.mahalanobis(lifted.joints[ok], truth[ok], lifted.covariance[ok]))
        seen.append(confidence[ok] > 0)
    square, seen = np.concatenate(square), np.concatenate(seen)
    nominal = (np.arange(levels) + 0.5) / levels
    out, curves = {}, {'nominal': nominal.round(4).tolist()}
    for what, which in (('seen', seen), ('unseen', ~seen)):
        for name, joints in [('all', tuple(range(17))), *GROUPS.items()]:
            picked = square[:, list(joints)][which[:, list(joints)]]
            if len(picked):
                out[f'{what}: {name}'] = {'joints': len(picked)} | calibration(picked)
        curves[what] = [round(measures.coverage(square[which], q), 4) for q in nominal]
    return out, curves


def spared_and_taken(known, fewer, s, confidence):
    """What the joints taken away cost the joints that are still seen, and themselves.

    Args:
        known: Lifted with the keypoints of the scenes; fewer: without some of them.
        s: Scenes; confidence: (N, 17) of ``fewer``, 0 not seen.

    Returns:
        dict of table name -> row with the MPJPE before and after, mm, and what the after is
        more, percent: of joints still seen, of those taken away, and of those never given.
    """
    error = [1e3 * measures.joint_errors(measures.root_relative(lifted.joints),
                                         measures.root_relative(s.joints))
             for lifted in (known, fewer)]
    given, seen = s.confidence > 0, confidence > 0
    out = {}
    for name, which in (('still seen', seen), ('taken away', given & ~seen),
                        ('never given', ~given)):
        before, after = (float(np.nanmean(e[which])) for e in error)
        out[f'six joints missing: {name}'] = {
            'joints': int(which.sum()), 'mpjpe_before': round(before, 2),
            'mpjpe': round(after, 2), 'more_percent': round(100 * (after / before - 1), 1)}
    return out


def legs_of_seated(lifted, truth, seated):
    """Calibration of knees and ankles that are out of view, of who sits and of the others.

    Args:
        lifted: Lifted; truth: (N, 17, 3) m; seated: (N,) bool.

    Returns:
        dict of table name -> row.
    """
    ok = np.isfinite(lifted.joints).all((1, 2))
    out = {}
    for name, who in (('seated', ok & seated), ('others', ok & ~seated)):
        square = measures.mahalanobis(lifted.joints[who], truth[who], lifted.covariance[who])
        out[f'legs not seen, theirs: {name}'] = {
            'joints': len(_LEGS) * len(square)} | calibration(square[:, _LEGS])
    return out


def of_subjects(joints, truth, subject):
    """Where the pelvis is put, subject by subject.

    Args:
        joints: (N, 17, 3) m, optical frame, NaN where not lifted; truth: (N, 17, 3) m.
        subject: (N,) names.

    Returns:
        dict of table name -> row: median distance from the truth, as ``measure`` has it, and
        ``bias_percent``, by how much too far from the camera in the median.
    """
    out = {}
    off = np.linalg.norm(joints[:, 0] - truth[:, 0], axis=1)
    far, true = (np.linalg.norm(x[:, 0], axis=1) for x in (joints, truth))
    for name in np.unique(subject):
        who = (subject == name) & np.isfinite(off)
        out[f'stature given: {name}'] = {
            'people': int((subject == name).sum()),
            'root_mm': round(float(1e3 * np.median(off[who])), 2),
            'root_percent': round(float(100 * np.median((off / true)[who])), 2),
            'bias_percent': round(float(100 * np.median((far / true)[who] - 1)), 2)}
    return out
