"""``lifting-ros eval 3d --ablation``: what each part of the lifter is worth."""

import numpy as np

from .depth_images import depth_images
from .scenes import scenes
from .tables3d import Trial, draw, measure, some


def single_prior(everything, source, seed=0):
    """A prior of one mode, fitted as the shipped one is (same poses kept out)."""
    from ..training.mocap import HELD_OUT_SUBJECTS
    from ..training.prior import fit_prior, split
    keep, _ = split(everything, [source] if source else [], HELD_OUT_SUBJECTS)
    return fit_prior(keep, modes=1, n=10000, seed=seed, rounds=6)[0]


def evaluate(lifter, poses, everything, n, seed=0, progress=iter, source=None):
    """The table: parts added one after another, then one PPCA against the mixture.

    The closed form is perspective and metric already; the refinement is by pixels, in stature,
    place and tilt too. Without a density the lifter refines three candidates instead of one, as
    it is made for.

    Args:
        lifter: the whole :class:`~lifting_ros.lifting.Lifter`.
        poses: Poses to measure on; everything: those that the single PPCA is fitted on, less
            the held out.
        n: people; seed: of poses, cameras and noise; progress: wraps the parts, for a bar.
        source: left out of the fits whole, or None.

    Returns:
        dict of table name -> row, see :func:`.tables3d.measure`.
    """
    from ..lifting import Lifter
    from ..training.mocap import stature
    rng = np.random.default_rng(seed)
    s = scenes(draw(poses, n, rng).joints, rng)
    tall = stature(s.joints)
    single = single_prior(everything, source, seed)
    closed, refined = Trial(Lifter(lifter.prior, rounds=0)), Trial(Lifter(lifter.prior))
    whole = Trial(lifter)
    few = np.arange(min(n, 200))

    def depth():
        part = some(s, few)
        images, camera = depth_images(part, np.random.default_rng([seed, 1]))
        return measure(whole.with_depth(part, images, camera, stature=tall[few]).joints,
                       part.joints)

    def of(trial, **given):
        return lambda: measure(trial(s, **given).joints, s.joints)

    parts = {
        'closed form': of(closed, up=None),
        '+ perspective refinement': of(refined, up=None),
        '+ learned density': of(whole, up=None),
        '+ gravity': of(whole),
        '+ stature': of(whole, stature=tall),
        '+ depth': depth,
        'gravity known: closed form, single PPCA': of(Trial(Lifter(single, rounds=0))),
        'gravity known: closed form, mixture': of(closed),
        'gravity known: refined, single PPCA': of(Trial(Lifter(single))),
        'gravity known: refined, mixture': of(refined)}
    return {name: parts[name]() for name in progress(list(parts))}
