"""Protocols 1 to 3 of Human3.6M, as "Lifting from the Deep" (CVPR 2017, section 6) has them.

1. Subjects 9 and 11, all four cameras and trials, 10 frames a second; error of all 17 joints
   about the pelvis, no alignment.
2. Subject 11, all cameras and trials, every 64th frame; 14 joints after similarity Procrustes.
3. Subjects 9 and 11, the frontal camera (3), trial 1, every frame; 14 joints after Procrustes.

These are not what later papers call Protocol 2. Keypoints are the true ones with noise: it is
the lifter that is measured, not a detector.
"""

from dataclasses import dataclass

import numpy as np

from ..skeleton import LSP_JOINTS
from ..training.human36m import ACTIONS, clips, views
from . import measures


@dataclass(frozen=True)
class Protocol:
    """Which pictures count, and how: ``step`` in frames of 50 a second."""

    subjects: tuple
    step: int
    cameras: tuple | None
    trials: tuple | None
    aligned: bool


PROTOCOLS = {1: Protocol((9, 11), 5, None, None, False),
             2: Protocol((11,), 64, None, None, True),
             3: Protocol((9, 11), 1, (3,), (1,), True)}


def samples(folder, protocol):
    """The pictures of a protocol: yields (view, joints (F, 17, 3) m in its optical frame,
    action) for each clip and camera.
    """
    for subject in protocol.subjects:
        seen = views(folder, subject)
        for clip in clips(folder, subject):
            if protocol.trials and clip.trial not in protocol.trials:
                continue
            keep = clip.frames % protocol.step == 0
            for number, view in seen.items():
                if keep.any() and (not protocol.cameras or number in protocol.cameras):
                    yield view, view.see(clip.joints[keep]), clip.action


def errors(joints, truth, protocol):
    """Error (N,) m of each picture under a protocol.

    Args:
        joints, truth: (N, 17, 3) m; NaN, where somebody was not lifted, is NaN.
    """
    out = np.full(len(joints), np.nan)
    ok = np.isfinite(joints).all((1, 2))
    if protocol.aligned:
        out[ok] = measures.pa_mpjpe(joints[ok][:, LSP_JOINTS], truth[ok][:, LSP_JOINTS])
    else:
        out[ok] = measures.mpjpe(joints[ok], truth[ok])
    return out


def evaluate(lifter, folder, protocols=(1, 2, 3), limit=None, seed=0, noise=0.0, progress=iter,
             batch=64):
    """Tables of the protocols, with gravity known and not.

    Args:
        lifter: :class:`~lifting_ros.lifting.Lifter`; folder: see :mod:`training.human36m`.
        protocols: numbers.
        limit: at most so many pictures of each clip and camera, evenly spread; None all.
        seed: of the noise; noise: sigma of the keypoints, px.
        progress: wraps the iterable, for a bar.

    Returns:
        dict of row name -> {people, lifted (percent), error (mm)}: the protocol, and for
        gravity known its actions.

    Raises:
        ValueError: files missing or of another form, an unknown protocol, or no picture.
    """
    table = {}
    for number in protocols:
        if number not in PROTOCOLS:
            raise ValueError(f'protocol {number}: there are 1, 2 and 3')
        protocol, rng = PROTOCOLS[number], np.random.default_rng(seed)
        found = {True: {a: [] for a in ACTIONS}, False: {a: [] for a in ACTIONS}}
        for view, truth, action in progress(list(samples(folder, protocol))):
            if limit and len(truth) > limit:
                truth = truth[np.linspace(0, len(truth) - 1, limit).astype(int)]
            pixels = view.camera.project(truth)
            pixels = pixels + noise * rng.standard_normal(pixels.shape)
            for known in (True, False):
                for i in range(0, len(truth), batch):
                    part = pixels[i:i + batch]
                    lifted = lifter.lift(part, np.isfinite(part).all(-1).astype(float),
                                         view.camera, view.up if known else None)
                    found[known][action].extend(errors(lifted.joints, truth[i:i + batch],
                                                       protocol))
        name = f'protocol {number}, ' + ('14 joints aligned' if protocol.aligned else '17 joints')
        for known, text in ((True, 'gravity known'), (False, 'gravity unknown')):
            every = np.concatenate([np.array(e) for e in found[known].values()])
            if not len(every):
                raise ValueError(f'protocol {number}: the files hold none of its pictures')
            table[f'{name}, {text}'] = _row(every)
        table |= {f'{name}, {a}': _row(np.array(e)) for a, e in found[True].items() if e}
    return table


def _row(error):
    ok = np.isfinite(error)
    return {'people': len(error), 'lifted': round(100 * float(ok.mean()), 2),
            'error': round(1e3 * float(error[ok].mean()), 2) if ok.any() else float('nan')}
