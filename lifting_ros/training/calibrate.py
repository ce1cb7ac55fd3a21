"""``lifting-ros train calibration``: covariances that hold what they say (design.md 5.3).

People are lifted whose truth is known, at best such that the density has not seen: its spread on
people unlike those of its fit is what a calibration is for. A small network then learns by how
much each joint's covariance must grow (:mod:`lifting_ros.lifting.calibration`).
"""

import logging

import numpy as np
import torch
from scipy.stats import chi2

from ..lifting.calibration import JOINT, KIND, KINDS, PERSON, PREFIX, SCALED, Calibration
from ..prior.file import WEIGHTS, load_tensors, record_digest, save_tensors
from ..skeleton import NUM_JOINTS
from .cases import collect, joined, squares
from .mocap import HELD_OUT_SUBJECTS, adult_statures, draw_balanced, read, resized
from .prior import split, training_poses
from .sitting import sitting, upright

log = logging.getLogger(__name__)
#: Ellipsoids whose coverage is to be right, and what each counts, of joints not seen and of those
#: seen. What is not seen is off with heavier tails than a Gaussian (a leg is stretched, mostly, or
#: bent): no factor is right for all, and the widest is to hold what it says.
_LEVELS = (((0.5, 1.0), (0.75, 0.5), (0.9, 1.0), (0.95, 3.0)),
           ((0.5, 1.5), (0.75, 1.0), (0.9, 1.0), (0.95, 1.5)))


def loss_of(net, part, freedom):
    """Mean negative log-likelihood under a Student distribution of each joint's covariance.

    Args:
        net: dict of tensors, see :class:`~lifting_ros.lifting.calibration.Calibration`.
        part: dict of tensors, the fields of :class:`~lifting_ros.training.cases.Cases`.
        freedom: degrees of freedom: what is far off counts less than for a Gaussian.
    """
    inner = torch.tanh((part['person'] @ net['person'])[:, None] + part['joint'] @ net['joint']
                       + net['kind'][KIND])
    across, along = torch.exp((inner @ net['out'] + net['bias']).clamp(-3, 3) / 2).unbind(-1)
    rays = part['rays']
    by = (across[..., None, None] * torch.eye(3, dtype=rays.dtype)
          + ((along - across)[..., None] * rays)[..., None] * rays[..., None, :])
    size = part['size'][:, 0, None, None]
    sigma = part['size'][:, 1] * torch.where(part['scaled'] > 0, 1.0,
                                             torch.exp(net['stature'] / 2))
    scaled = sigma[:, None, None] * size * part['mean']
    covariance = ((size ** 2)[..., None] * (by @ part['own'] @ by)
                  + scaled[..., :, None] * scaled[..., None, :])
    root = torch.linalg.cholesky(covariance)
    z = torch.linalg.solve_triangular(root, part['off'][..., None], upper=False)
    square = z.square().sum((-1, -2))
    logdet = torch.log(torch.diagonal(root, dim1=-2, dim2=-1)).sum(-1)
    fit = logdet + (freedom + 3) / 2 * torch.log1p(square / (freedom - 2))
    return (part['share'][:, None] * fit).mean() / part['share'].mean() + 1e-3 * (
        net['out'].square().mean() + net['joint'].square().mean() + net['person'].square().mean())


def fit(cases, rng, width=20, steps=1600, batch=256, rate=1e-2, freedom=12.0):
    """Fit a calibration.

    Args:
        cases: :class:`~lifting_ros.training.cases.Cases`; rng: numpy Generator.
        width: of the network; freedom: see :func:`loss_of`.

    Returns:
        dict of tensors for :class:`~lifting_ros.lifting.calibration.Calibration`.
    """
    torch.manual_seed(int(rng.integers(1 << 30)))
    told = {'person': cases.person, 'joint': cases.joint}
    middle = {k: v.reshape(-1, v.shape[-1]).mean(0) for k, v in told.items()}
    spread = {k: v.reshape(-1, v.shape[-1]).std(0) + 0.05 for k, v in told.items()}
    data = {k: getattr(cases, k) for k in ('rays', 'own', 'size', 'mean', 'off', 'share')}
    data |= {k: (v - middle[k]) / spread[k] for k, v in told.items()}
    data['scaled'] = cases.person[:, SCALED]
    data = {k: torch.from_numpy(np.array(v, dtype=np.float64)) for k, v in data.items()}
    net = {'person': 0.2 * torch.randn(PERSON, width), 'joint': 0.2 * torch.randn(JOINT, width),
           'kind': 0.2 * torch.randn(len(KINDS), width), 'out': torch.zeros(width, 2),
           'bias': torch.zeros(2), 'stature': torch.zeros(1)}
    net = {k: v.double().requires_grad_() for k, v in net.items()}
    optimiser = torch.optim.Adam(net.values(), rate)
    for step in range(steps):
        for group in optimiser.param_groups:
            group['lr'] = rate * (0.5 + 0.5 * np.cos(np.pi * step / steps)) + 1e-5
        rows = torch.from_numpy(rng.integers(len(cases), size=batch))
        loss = loss_of(net, {k: v[rows] for k, v in data.items()}, freedom)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 300 == 0:
            log.info('step %d: %.3f', step, float(loss.detach()))
    out = {k: v.detach().numpy() for k, v in net.items()}
    # what comes is not normalised
    for k in told:
        out['kind'] = out['kind'] - middle[k] / spread[k] @ out[k]
        out[k] = out[k] / spread[k][:, None]
    out['person_range'] = np.stack((cases.person.min(0), cases.person.max(0)))
    out['joint_range'] = np.stack((cases.joint.min((0, 1)), cases.joint.max((0, 1))))
    out['total'] = np.zeros((2, 2, len(KINDS)))
    out['total'] = np.log(_totals(squares(Calibration(out), cases), cases))
    return out


def factors(square, share=None, levels=_LEVELS[1]):
    """The factor on the variance that makes squared Mahalanobis distances those of 3 degrees
    of freedom, as far as one factor can: geometric mean of the quantiles' ratios.

    Args:
        square: (N,); share: (N,) what each counts, or None.
        levels: pairs of an ellipsoid's share and what it counts.
    """
    order = np.argsort(square)
    share = np.ones(len(square)) if share is None else share
    below = (np.cumsum(share[order]) - share[order] / 2) / share.sum()
    logs = [n * np.log(np.interp(q, below, square[order]) / chi2.ppf(q, 3)) for q, n in levels]
    return float(np.exp(sum(logs) / sum(n for _, n in levels)))


def _totals(square, cases, least=300):
    """Factors (2, 2, kinds) on whole covariances, 1 where there are too few cases."""
    out = np.ones((2, 2, len(KINDS)))
    share = np.broadcast_to(cases.share[:, None], square.shape)
    for scaled in (0, 1):
        for seen in (0, 1):
            of = (((cases.person[:, SCALED] > 0.5) == scaled)[:, None]
                  & ((cases.joint[..., 0] > 0.5) == seen))
            for kind in range(len(KINDS)):
                which = of & (KIND[:NUM_JOINTS] == kind)
                if which.sum() >= least:
                    out[scaled, seen, kind] = factors(square[which], share[which],
                                                     _LEVELS[seen])
    return out


def _people(poses, n, rng):
    """n poses (n, 17, 3) m, kinds balanced, a tenth seated."""
    sit = n // 10 if upright(poses).any() else 0
    drawn = poses[draw_balanced(poses, n - sit, rng)]
    return (drawn + sitting(poses, sit, rng) if sit else drawn).joints


def gather(lifter, poses, unseen, source, people, rng):
    """Cases to fit on, from all that may be looked at.

    Args:
        lifter: the one to calibrate; poses: what it was fitted on.
        unseen: a lifter fitted without ``source``, alike in all else, or None.
        source: Poses that it has not seen.
        people: how many of each set.
        rng: numpy Generator.

    Returns:
        Cases, a third each: the source's subjects, the fit's as they are, and the fit's with
        other proportions and definitions; statures are those of adults, as a few subjects' own
        do not say how people's vary. Without ``unseen`` the last two alone.
    """
    def seen(lifter, joints, share=1.0):
        joints = resized(joints, adult_statures(len(joints), rng))
        return collect(lifter, joints, rng, share)
    parts = [seen(lifter, _people(poses, people, rng)),
             seen(lifter, training_poses(poses, people, rng, variety=0.3)[0])]
    if unseen is not None:
        subjects = np.unique(source.subject)
        for subject in subjects:
            one = source[source.subject == subject]
            parts.append(seen(unseen, _people(one, people, rng), 1 / len(subjects)))
    return joined(parts)


def add_arguments(parser):
    parser.add_argument('--mocap', required=True, help='folder or npz of motion capture')
    parser.add_argument('--lifter', default=str(WEIGHTS / 'lifter.safetensors'),
                        help='the learned density to calibrate (the shipped one)')
    parser.add_argument('--prior', help="a prior's file (the shipped one)")
    parser.add_argument('--unseen-lifter', metavar='FILE', help='a density trained as it was, '
                        'but without a source: it says what people that nobody saw add')
    parser.add_argument('--unseen-prior', metavar='FILE', help='a prior without that source')
    parser.add_argument('--unseen-source', default='hdm05', help='the source (%(default)s)')
    parser.add_argument('--holdout-subject', nargs='*', default=list(HELD_OUT_SUBJECTS),
                        help='subjects that are not looked at')
    parser.add_argument('--pictures', nargs='*', default=[], metavar='FOLDER',
                        help='of "lifting-ros render crops": lifts of the network\'s own '
                        'keypoints count as a set, too')
    parser.add_argument('--most-pictures', type=int, help='of a folder')
    parser.add_argument('--network', help='the network that looks at them (the shipped one)')
    parser.add_argument('--people', type=int, default=4000, help='of each set')
    parser.add_argument('--out', help='file to write (that of --lifter)')
    parser.add_argument('--seed', type=int, default=11)


def run(args):
    from ..evaluation.lift3d import knows
    from ..lifting import Lifter
    torch.set_num_threads(1)
    keep, _ = split(read(args.mocap), (), args.holdout_subject)
    unseen = None
    if args.unseen_lifter:
        unseen = Lifter.from_pretrained(args.unseen_prior, args.unseen_lifter)
        if knows(unseen, args.unseen_source):
            raise ValueError(f'{" and ".join(knows(unseen, args.unseen_source))} of --unseen-* '
                             f'may have seen {args.unseen_source}')
    rng = np.random.default_rng(args.seed)
    whole = Lifter.from_pretrained(args.prior, args.lifter)
    cases = gather(whole, keep, unseen,
                   keep[keep.source == args.unseen_source], args.people, rng)
    if args.pictures:
        from .picture_cases import from_folders
        cases = joined([cases, from_folders(whole, args.network, args.pictures, rng,
                                            args.people, args.most_pictures)])
    found = fit(cases, rng)
    tensors, metadata = load_tensors(args.lifter)
    tensors = {k: v for k, v in tensors.items() if not k.startswith(PREFIX)}
    metadata.pop('calibration', None)
    metadata['calibrated_on'] = ('fit' + (f', {args.unseen_source} unseen' if unseen else '')
                                 + (', pictures' if args.pictures else ''))
    out = args.out or args.lifter
    save_tensors(out, tensors | {PREFIX + k: np.asarray(v, dtype=np.float32)
                                 for k, v in found.items()}, metadata)
    record_digest(out)
    held = squares(Calibration(found), cases)
    print(f'{out}: {len(cases)} people; of those it was fitted on 50 % ellipsoids hold '
          f'{100 * (held < chi2.ppf(0.5, 3)).mean():.0f} %, 95 % ones '
          f'{100 * (held < chi2.ppf(0.95, 3)).mean():.0f} %')
    return 0
