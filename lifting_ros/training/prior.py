"""``lifting-ros train prior``: fit the pose prior to motion capture."""

import logging
from dataclasses import replace

import numpy as np

from ..prior.file import WEIGHTS, record_digest
from ..prior.fit import fit, turn
from ..prior.model import lengths
from .mocap import (
    HELD_OUT_SUBJECTS,
    draw_balanced,
    mirrored,
    normalise,
    read,
    reproportion,
    stature,
)
from .sitting import sitting
from .variety import vary

log = logging.getLogger(__name__)

#: sigma of the log stature of adults, and the mean that data are weighed against
_STATURE_SIGMA, _STATURE_MEAN = 0.06, np.log(1.69)
#: sigma in statures of a length in a frame about the person's own
_LENGTH_NOISE = 0.006


def training_poses(poses, n, rng, strength=1.0, sit_share=0.15, variety=0.4, captured=0.0):
    """n poses for a fit: balanced, some seated, reproportioned, mirrored at random.

    Args:
        poses: :class:`~lifting_ros.training.mocap.Poses`.
        n: how many.
        rng: numpy Generator.
        strength: of :func:`~lifting_ros.training.mocap.reproportion`.
        sit_share: share of made sitting and squatting poses.
        variety: share of poses recombined and bent, see :mod:`lifting_ros.training.variety`.
        captured: share of bodies that keep the captures' own proportions and definitions.

    Returns:
        joints (n, 17, 3) metres, z up, pelvis at the origin; kinds (n,).
    """
    sit = int(n * sit_share)
    drawn = poses[draw_balanced(poses, n - sit, rng)] + sitting(poses, sit, rng)
    own = rng.random(n) < captured if captured else np.zeros(n, dtype=bool)
    joints = np.where(own[:, None, None], drawn.joints, reproportion(drawn.joints, rng, strength))
    joints = vary(joints, joints[rng.permutation(n)], rng, variety)
    half = rng.random(n) < 0.5
    joints[half] = mirrored(joints[half])
    return turn(joints, rng.uniform(-np.pi, np.pi, n)), drawn.kind


def split(poses, exclude_source=(), holdout_subject=HELD_OUT_SUBJECTS):
    """Poses to fit on, and those held out (subjects held out or sources excluded)."""
    out = np.isin(poses.source, list(exclude_source))
    held = out | np.isin(poses.subject, list(holdout_subject))
    return poses[~held], poses[held]


def fit_prior(poses, modes=12, dimensions=28, n=40000, seed=0, rounds=60, variety=0.4):
    """Fit a prior to Poses; returns it and the log-likelihood after each round."""
    rng = np.random.default_rng(seed)
    joints, _ = training_poses(poses, n, rng, variety=variety)
    unit, _ = normalise(joints)
    subjects = [np.log(np.median(stature(poses.joints[poses.subject == s])))
                for s in np.unique(poses.subject)]
    # few subjects: their mean is drawn towards the adults' of the world
    mean = (np.sum(subjects) + 10 * _STATURE_MEAN) / (len(subjects) + 10)
    prior, curve = fit(unit, modes, dimensions, rng, np.array([mean, _STATURE_SIGMA]), rounds,
                       noise=0.01)
    about = {'version': '1', 'trained_on': ', '.join(sorted(set(poses.source))),
             'poses': str(n), 'seed': str(seed),
             'frame': 'z up, facing +x, left +y, pelvis at 0, unit stature'}
    known = lengths(unit)
    return replace(prior, skeleton_noise=0.015, length_mean=known.mean(0),
                   length_covariance=np.cov(known.T) + _LENGTH_NOISE ** 2 * np.eye(12),
                   metadata=about), curve


def add_arguments(parser):
    parser.add_argument('--mocap', required=True, help='folder or npz of motion capture')
    parser.add_argument('--out', default=str(WEIGHTS / 'prior.safetensors'))
    parser.add_argument('--exclude-source', nargs='*', default=[], help='sources left out whole')
    parser.add_argument('--holdout-subject', nargs='*', default=list(HELD_OUT_SUBJECTS),
                        help='subjects left out')
    parser.add_argument('--modes', type=int, default=12)
    parser.add_argument('--dimensions', type=int, default=28)
    parser.add_argument('--poses', type=int, default=40000, help='poses drawn for the fit')
    parser.add_argument('--variety', type=float, default=0.4,
                        help='share of poses recombined and bent')
    parser.add_argument('--rounds', type=int, default=60, help='rounds of EM')
    parser.add_argument('--seed', type=int, default=0)


def run(args):
    poses = read(args.mocap)
    keep, held = split(poses, args.exclude_source, args.holdout_subject)
    if not len(keep):
        raise ValueError('nothing left to fit on')
    prior, curve = fit_prior(keep, args.modes, args.dimensions, args.poses, args.seed,
                             args.rounds, args.variety)
    log.info('log-likelihood a pose: %s', ' '.join(f'{c:.2f}' for c in curve[::5]))
    if len(held):
        unit, _ = normalise(training_poses(held, 4000, np.random.default_rng(1))[0])
        log.info('held out: %.2f', held_out_likelihood(prior, unit))
    prior.metadata['held_out'] = ', '.join([*args.exclude_source, *args.holdout_subject])
    prior.save(args.out)
    record_digest(args.out)
    print(f'{args.out}: {prior.modes} modes of {prior.dimensions} dimensions, fitted on '
          f'{len(keep)} poses, {len(held)} held out')
    return 0


def held_out_likelihood(prior, unit, noise=None):
    """Mean log density of poses (N, 17, 3) in statures of any heading, best of 72 headings."""
    noise = prior.skeleton_noise if noise is None else noise
    from ..prior.fit import facing
    poses = turn(unit, -facing(unit))
    best = np.full(len(poses), -np.inf)
    for angle in np.linspace(-0.6, 0.6, 13):
        density = prior.log_density(turn(poses, np.full(len(poses), angle)), noise)
        best = np.maximum(best, np.logaddexp.reduce(density, 1))
    return float(best.mean())
