"""``lifting-ros train lifter``: train the learned density of poses given rays.

Bodies of the motion capture (made various, on other proportions and joint definitions) stand
before random cameras; the network learns where the joints are and how sure that is.
"""

import logging
import time

import numpy as np
import torch
from torch import nn

from ..lifting.density import INPUTS, features
from ..prior.file import WEIGHTS, load_tensors, record_digest, save_tensors
from ..prior.fit import facing, turn
from ..skeleton import INDEX, LSP_JOINTS, MIRROR, NUM_JOINTS
from .mistakes import from_folders, put_on
from .mocap import HELD_OUT_SUBJECTS, normalise, read
from .prior import split, training_poses
from .variety import rotation

log = logging.getLogger(__name__)
_OUT = NUM_JOINTS * 3
_LEGS = [INDEX[f'{s}_{j}'] for s in ('left', 'right') for j in ('knee', 'ankle')]
_HIPS = [INDEX['left_hip'], INDEX['right_hip'], INDEX['pelvis']]
_COCO = [INDEX[n] for n in ('nose', 'left_shoulder', 'right_shoulder', 'left_elbow',
                            'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip',
                            'left_knee', 'right_knee', 'left_ankle', 'right_ankle')]
#: Share of bodies with the captures' own proportions: with made ones alone, people of captures
#: that no fit has seen are lifted towards the middle of what was made.
_CAPTURED = 0.3
#: Share of people seen as the network sees them, where pictures of it are given.
_AS_SEEN = 0.4
#: Share of people of whom joints are missing at random.
_MISSING = 0.55


class RayNet(nn.Module):
    """Residual MLP; outputs mean (51), log sigma (51) and low-rank directions (51 x rank)."""

    def __init__(self, width=512, blocks=2, rank=6):
        super().__init__()
        self.first = nn.Linear(INPUTS, width)
        self.blocks = nn.ModuleList(
            nn.ModuleList((nn.Linear(width, width), nn.Linear(width, width)))
            for _ in range(blocks))
        self.last = nn.Linear(width, _OUT * (2 + rank))
        with torch.no_grad():
            self.last.weight[_OUT:] *= 0.3
            self.last.bias[_OUT:2 * _OUT] = -3.0

    def forward(self, x):
        x = nn.functional.gelu(self.first(x))
        for a, b in self.blocks:
            x = x + nn.functional.gelu(b(nn.functional.gelu(a(x))))
        return self.last(x)


def views(unit, rng, seen=None, missing=_MISSING):
    """Random cameras over poses.

    Pitch, distance, noise and missing joints are as wide as cameras on robots, walls and desks
    have them: mean rays from 75 degrees down to 25 up, 0.8 to 12 m, keypoints of 0.2 to 5 % of
    the person's apparent size, a part of them grossly wrong.

    Args:
        unit: (N, 17, 3) poses in statures, z up, any heading.
        rng: numpy Generator.
        seen: :class:`~.mistakes.Mistakes` that a share of the people are seen with, or None.
        missing: of :func:`visible`.

    Returns:
        inputs (N, INPUTS) float32 and targets (N, 17, 3) float32 in the view's frame.
    """
    n = len(unit)
    down = np.radians(np.clip(rng.normal(18, 22, n), -30, 78))
    distance = np.exp(rng.uniform(np.log(0.5), np.log(7), n))
    at = np.stack((np.cos(down), np.zeros(n), -np.sin(down)), -1) * distance[:, None]
    # something other than the pelvis is in the middle of what is seen
    at[:, 2] += rng.normal(0, 0.15, n)
    points = unit + at[:, None]
    rays = points / np.linalg.norm(points, axis=-1, keepdims=True)
    size = 0.8 / distance                                    # radians, about
    noise = size * np.exp(rng.uniform(np.log(0.002), np.log(0.05), n))
    confidence = np.where(rng.random((n, NUM_JOINTS)) < 0.6, 1.0,
                          rng.uniform(0.15, 1, (n, NUM_JOINTS)))
    sure = rng.random(n) < 0.5
    confidence[sure] = 1
    confidence[~visible(n, rng, missing)] = 0
    own = noise[:, None] / np.maximum(confidence, 0.1)
    wrong = (rng.random((n, NUM_JOINTS)) < 0.06) & (rng.random(n) < 0.4)[:, None]
    own = np.where(wrong, own + 0.15 * size[:, None], own)
    rays = rays + own[..., None] * rng.standard_normal(rays.shape)
    for limbs in (('knee', 'ankle'), ('elbow', 'wrist'), ('hip', 'knee', 'ankle')):
        swap = rng.random(n) < 0.015
        mine = np.array([INDEX[f'{s}_{j}'] for s in ('left', 'right') for j in limbs])
        rays[np.ix_(swap, mine)] = rays[np.ix_(swap, np.array(MIRROR)[mine])]
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    sigma = np.repeat(noise[:, None], NUM_JOINTS, 1)
    if seen is not None:
        who = np.flatnonzero(rng.random(n) < _AS_SEEN)
        ahead = at[who] / np.linalg.norm(at[who], axis=1, keepdims=True)
        far = np.linalg.norm(at[who], axis=1)
        offset, confidence[who], spread = seen.draw(facing(unit[who]), rng)
        rays[who] = put_on(points[who] / np.linalg.norm(points[who], axis=-1, keepdims=True),
                           ahead, far, offset)
        sigma[who] = spread / far[:, None]
    # gravity unknown: the image's own up is taken, which is off by pitch and roll
    known = rng.random(n) < 0.8
    by = _tilt(n, rng, known)
    rays, truth = rays @ np.swapaxes(by, 1, 2), unit @ np.swapaxes(by, 1, 2)
    inputs, frame = features(rays, confidence, sigma, known)
    target = (truth - truth[:, :1]) @ np.swapaxes(frame, 1, 2)
    return inputs, target.astype(np.float32)


def _tilt(n, rng, known):
    """Errors of gravity: about a degree where known, else a camera's pitch and roll."""
    sigma = np.where(known, np.radians(1.0), np.radians(5.0))
    vector = rng.standard_normal((n, 3)) * sigma[:, None]
    vector[:, 2] = 0
    vector[:, 1] += np.where(known, 0, -np.radians(np.clip(rng.normal(12, 15, n), -20, 50)))
    angle = np.linalg.norm(vector, axis=1)
    return rotation(vector / np.maximum(angle, 1e-9)[:, None], angle)


def visible(n, rng, missing=_MISSING):
    """Which joints are seen (n, 17): all, the usual subsets, cut off; of a share ``missing`` of
    the people some at random are not.
    """
    out = np.ones((n, NUM_JOINTS), dtype=bool)
    what = rng.random(n)
    lsp = np.isin(np.arange(NUM_JOINTS), LSP_JOINTS)
    coco = np.isin(np.arange(NUM_JOINTS), _COCO)
    out[what < 0.35] = lsp
    out[(what >= 0.35) & (what < 0.5)] = coco
    cut = rng.random(n)
    out[np.ix_(cut < 0.15, _LEGS)] = False
    out[np.ix_(cut < 0.05, _HIPS)] = False
    share = rng.uniform(0, 0.65, n) * (rng.random(n) < missing)
    gone = rng.random((n, NUM_JOINTS)) < share[:, None]
    few = (out & ~gone).sum(1) < 4
    gone[few] = False
    return out & ~gone


def loss_of(out, target, rank):
    """Error of the mean, and negative log-likelihood of what is left under the covariance.

    Returns:
        (loss, mean joint error in statures).
    """
    n = len(out)
    mean, log_sd = out[:, :_OUT], out[:, _OUT:2 * _OUT].clamp(-7, 1)
    low = out[:, 2 * _OUT:].reshape(n, _OUT, rank) * 0.1
    off = target.reshape(n, _OUT) - mean
    distance = off.reshape(n, NUM_JOINTS, 3).square().sum(-1).add(1e-6).sqrt().mean()
    # 5 mm of 1.7 m: nothing is surer, and the pelvis itself is exact
    var = torch.exp(2 * log_sd) + 9e-6
    scaled = low / var[..., None]
    inner = torch.eye(rank) + low.transpose(1, 2) @ scaled
    chol = torch.linalg.cholesky(inner)
    free = off.detach()
    half = torch.linalg.solve_triangular(
        chol, (scaled.transpose(1, 2) @ free[..., None]), upper=False)
    square = (free ** 2 / var).sum(1) - half.square().sum((1, 2))
    logdet = torch.log(var).sum(1) + 2 * torch.log(torch.diagonal(chol, dim1=1, dim2=2)).sum(1)
    likelihood = 0.5 * (square + logdet).mean()
    return 20 * distance + 100 * off.square().mean() + 0.02 * likelihood, distance.detach()


def train(poses, minutes, seed=0, width=768, blocks=2, rank=6, batch=512, rate=1.5e-3,
          variety=0.5, weights=None, save=None, seen=None, missing=_MISSING):
    """Train for some minutes, from ``weights`` (name -> numpy) if given; ``seen`` and
    ``missing``: of :func:`views`.

    ``save(weights, report)`` is called every 2000 steps: training may be cut short.

    Returns:
        the averaged weights (name -> numpy) and a report (dict of strings).
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    net = RayNet(width, blocks, rank)
    if weights is not None:
        net.load_state_dict({k: torch.from_numpy(np.array(v, dtype=np.float32))
                             for k, v in weights.items()})
    average = {k: v.clone() for k, v in net.state_dict().items()}
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-4, fused=True)
    begin, step, pool, errors = time.monotonic(), 0, None, []
    while (spent := (time.monotonic() - begin) / 60) < minutes:
        if step % 900 == 0:
            joints, _ = training_poses(poses, 60000, rng, variety=variety, captured=_CAPTURED)
            pool = normalise(joints)[0]
        share = spent / minutes
        for group in optimiser.param_groups:
            group['lr'] = rate * min(1, step / 200) * (0.5 + 0.5 * np.cos(np.pi * share)) + 1e-6
        unit = turn(pool[rng.integers(len(pool), size=batch)], rng.uniform(-np.pi, np.pi, batch))
        inputs, target = views(unit, rng, seen, missing)
        loss, error = loss_of(net(torch.from_numpy(inputs)), torch.from_numpy(target), rank)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % 5 == 0:
            decay = min(0.997, step / (step + 250))
            with torch.no_grad():
                for k, v in net.state_dict().items():
                    average[k].lerp_(v, 1 - decay)
        errors.append(float(error))
        if step % 500 == 0:
            log.info('%5.1f min, step %d: loss %.3f, error %.4f statures', spent, step,
                     float(loss.detach()), np.mean(errors[-500:]))
        if save and step % 2000 == 0:
            save(*_result(average, step, errors))
    return _result(average, step, errors)


def _result(average, step, errors):
    return ({k: v.numpy() for k, v in average.items()},
            {'steps': str(step), 'error': f'{np.mean(errors[-500:]):.5f}'})


def add_arguments(parser):
    parser.add_argument('--mocap', required=True, help='folder or npz of motion capture')
    parser.add_argument('--out', default=str(WEIGHTS / 'lifter.safetensors'))
    parser.add_argument('--exclude-source', nargs='*', default=[])
    parser.add_argument('--holdout-subject', nargs='*', default=list(HELD_OUT_SUBJECTS))
    parser.add_argument('--start', help='go on from this file')
    parser.add_argument('--rate', type=float, default=1.5e-3, help='first learning rate')
    parser.add_argument('--minutes', type=float, default=15)
    parser.add_argument('--width', type=int, default=768)
    parser.add_argument('--blocks', type=int, default=2)
    parser.add_argument('--variety', type=float, default=0.5)
    parser.add_argument('--pictures', nargs='*', help='folders of rendered people that the '
                        'density learns the mistakes of the network from (render crops)')
    parser.add_argument('--missing', type=float, default=_MISSING, help='share of the people of '
                        'whom joints are missing at random (%(default)s)')
    parser.add_argument('--network', help="the network's file (the shipped one)")
    parser.add_argument('--seed', type=int, default=0)


def run(args):
    torch.set_num_threads(1)
    keep, _ = split(read(args.mocap), args.exclude_source, args.holdout_subject)
    begin = load_tensors(args.start)[0] if args.start else None
    if begin is not None:       # a calibration is of the density as it was
        begin = {k: v for k, v in begin.items() if not k.startswith('calibration.')}
    seen = from_folders(args.network, args.pictures, args.seed) if args.pictures else None
    held = [*args.exclude_source, *args.holdout_subject]

    def save(weights, report):
        save_tensors(args.out, {k: v.astype(np.float16) for k, v in weights.items()},
                     {'version': '1', 'held_out': ', '.join(held), **report})
        record_digest(args.out)

    weights, report = train(keep, args.minutes, args.seed, args.width, args.blocks,
                            rate=args.rate, variety=args.variety, weights=begin, save=save,
                            seen=seen, missing=args.missing)
    save(weights, report)
    print(f'{args.out}: {report["steps"]} steps, error {report["error"]} statures')
    return 0
