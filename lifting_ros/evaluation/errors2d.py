"""What the network's keypoints are off by, and what it says of that: the constants that
sequences.py makes errors of.

    lifting-ros render crops --out runs/calibration_crops --count 500 --seed 77
    lifting-ros eval filter --keypoint-errors runs/calibration_crops

Of rendered people wholly in the picture, joints in sight, scaled to people SIZE px tall: what the
network says of a joint is log-normal, in part the person's and in part the joint's; what it is
off by, in units of what it says, is a mixture of two normals, the usual and the gross.
"""

import numpy as np

from ..skeleton import JOINTS


def kinds():
    """Name -> joints that are alike, left and right together."""
    out = {}
    for j, name in enumerate(JOINTS):
        out.setdefault(name.removeprefix('left_').removeprefix('right_'), []).append(j)
    return out


def mixture(square, steps=300):
    """Two normals in the plane by expectation-maximisation.

    Args:
        square: (N,) squared lengths of errors in units of what is said of them.

    Returns:
        sigma of the usual and of the gross, an axis; share of the gross.
    """
    usual, gross, share = 0.6, 4.0, 0.05
    for _ in range(steps):
        a = (1 - share) / usual ** 2 * np.exp(-square / 2 / usual ** 2)
        b = share / gross ** 2 * np.exp(-square / 2 / gross ** 2)
        w = b / (a + b)
        share = float(w.mean())
        usual = float(np.sqrt(((1 - w) * square).sum() / (1 - w).sum() / 2))
        gross = float(np.sqrt((w * square).sum() / w.sum() / 2))
    return usual, gross, share


def fit(off, told, use):
    """The constants.

    Args:
        off: (N, 17, 2) px; told: (N, 17) px, sigma an axis; use: (N, 17) bool.

    Returns:
        dict of kind of joint -> (median told px, usual, gross, share), 'all' too; and of
        'person' and 'joint': deviations of the logarithm of what is told, between people and
        within them.
    """
    length = np.linalg.norm(off, axis=-1) / told
    out = {}
    for name, joints in (*kinds().items(), ('all', list(range(len(JOINTS))))):
        pick = np.zeros_like(use)
        pick[:, joints] = use[:, joints]
        out[name] = (float(np.median(told[pick])), *mixture(length[pick] ** 2))
    logs = np.log(told) - np.log([out[n][0] for j in range(len(JOINTS))
                                  for n, group in kinds().items() if j in group])
    mean = np.array([row[u].mean() for row, u in zip(logs, use, strict=True) if u.sum() > 8])
    within = np.concatenate([row[u] - row[u].mean() for row, u in zip(logs, use, strict=True)
                             if u.sum() > 8])
    return out | {'person': float(mean.std()), 'joint': float(within.std())}


def of_crops(estimator, folder):
    """:func:`fit` on the rendered people of a folder, their boxes given."""
    from .chain import boxes_given, pictures
    from .sequences import SIZE, size_of
    shots = pictures(folder)
    found = boxes_given(estimator, shots)
    true = np.array([p.keypoints for p in shots])
    size = np.array([[p.camera.width, p.camera.height] for p in shots])[:, None]
    whole = ((true >= 0) & (true < size)).all((1, 2))
    scale = (SIZE / size_of(true))[:, None]
    off = (np.array([k.xy[0] for k in found]) - true) * scale[..., None]
    told = scale * np.sqrt(np.array([np.trace(k.covariance[0], axis1=-2, axis2=-1) / 2
                                     for k in found]))
    use = (np.array([p.visible for p in shots]) & whole[:, None]
           & (np.array([k.confidence[0] for k in found]) > 0.05))
    return fit(off, told, use & np.isfinite(off).all(-1) & np.isfinite(told))


def show(constants):
    """The constants as text."""
    lines = [f'{"joint":<12}{"told px":>9}{"usual":>8}{"gross":>8}{"share":>8}']
    lines += [f'{name:<12}{row[0]:>9.2f}{row[1]:>8.2f}{row[2]:>8.2f}{row[3]:>8.3f}'
              for name, row in constants.items() if isinstance(row, tuple)]
    return '\n'.join(lines) + '\nlogarithm of what is told: between people {:.2f}, ' \
        'between joints {:.2f}'.format(constants['person'], constants['joint'])
