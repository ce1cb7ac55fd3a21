"""``lifting-ros train martinez``: the simple baseline as a peer of the lifter.

Martinez, Hossain, Romero and Little, "A simple yet effective baseline for 3d human pose
estimation" (ICCV 2017): keypoints in, joints about the pelvis in the camera's frame out, through
two residual blocks of two layers of 1024 with batch norm, ReLU and dropout of 0.5. It is trained
on the bodies, noise and missing joints of the learned density (:mod:`.rays`), before cameras of
the same pitches and distances. Two things are added, without which it would not stand a chance
here: keypoints are normalised for each person (position and spread are inputs of their own), as
cameras and distances vary, and a number for each joint says whether it is given.
"""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..prior.file import load_tensors, save_tensors
from ..prior.fit import turn
from ..skeleton import MIRROR, NUM_JOINTS
from .mocap import HELD_OUT_SUBJECTS, read, stature
from .prior import split, training_poses
from .rays import visible

log = logging.getLogger(__name__)
INPUTS = NUM_JOINTS * 3 + 3
_OUT = NUM_JOINTS * 3
#: The network's own unit, metres: about the spread of a joint.
_UNIT = 0.3
#: Steps for which one set of bodies is used, and how many bodies it has.
_POOL = (500, 30000)


class Martinez(nn.Module):
    """The network: (N, INPUTS) to (N, 51) metres about the pelvis, optical frame."""

    def __init__(self, width=1024, blocks=2, dropout=0.5):
        super().__init__()

        def layer(before):
            linear = nn.Linear(before, width)
            nn.init.kaiming_normal_(linear.weight)
            return [linear, nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)]

        self.first = nn.Sequential(*layer(INPUTS))
        self.blocks = nn.ModuleList(nn.Sequential(*layer(width), *layer(width))
                                    for _ in range(blocks))
        self.last = nn.Linear(width, _OUT)
        with torch.no_grad():
            self.last.weight *= 0.1

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return _UNIT * self.last(x)


def features(xy, seen):
    """Inputs (N, INPUTS) float32 of undistorted image coordinates (N, 17, 2) and what is seen
    (N, 17): coordinates about their mean by their spread, the flags, the mean and log spread.
    """
    seen = np.asarray(seen, bool) & np.isfinite(xy).all(-1)
    xy = np.where(seen[..., None], xy, 0.0)
    count = np.maximum(seen.sum(1), 1)
    middle = xy.sum(1) / count[:, None]
    off = np.where(seen[..., None], xy - middle[:, None], 0.0)
    spread = np.sqrt((off ** 2).sum((1, 2)) / count) + 1e-6
    joints = np.concatenate((off / spread[:, None, None], seen[..., None]), -1)
    return np.concatenate((np.clip(joints, -6, 6).reshape(len(xy), -1), middle,
                           np.log(spread)[:, None] + 2), 1).astype(np.float32)


def views(joints, rng):
    """Bodies before random cameras: pitches, distances (in statures), noise and missing joints
    of :func:`.rays.views`, and rolls of 2 degrees.

    Args:
        joints: (N, 17, 3) m, z up, any heading; rng: numpy Generator.

    Returns:
        inputs (N, INPUTS) float32; targets (N, 17, 3) float32 m about the pelvis, optical frame.
    """
    n = len(joints)
    size = stature(joints)
    down = np.radians(np.clip(rng.normal(18, 22, n), -30, 78))
    distance = np.exp(rng.uniform(np.log(0.5), np.log(7), n)) * size
    # where in the image the person is; the camera is pitched by what remains
    u, v = rng.uniform(-0.5, 0.5, n), rng.uniform(-0.35, 0.35, n)
    pitch, roll = down - np.arctan(v), np.radians(rng.normal(0, 2, n))
    c, s, zero = np.cos(pitch), np.sin(pitch), np.zeros(n)
    # rows: right, down, ahead of a camera that looks along +x of the world
    rotation = np.stack((np.stack((zero, zero - 1, zero), -1), np.stack((-s, zero, -c), -1),
                         np.stack((c, zero, -s), -1)), 1)
    cr, sr = np.cos(roll), np.sin(roll)
    rolled = np.stack((cr, sr, zero, -sr, cr, zero, zero, zero, zero + 1), -1).reshape(n, 3, 3)
    rotation = rolled @ rotation
    body = (joints - joints[:, :1]) @ np.swapaxes(rotation, 1, 2)
    ray = np.stack((u, v, np.ones(n)), -1)
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    points = body + (ray * distance[:, None])[:, None]
    z = np.maximum(points[..., 2:], 0.05)
    xy = points[..., :2] / z
    extent = 0.8 * size / distance
    noise = extent * np.exp(rng.uniform(np.log(0.002), np.log(0.05), n))
    wrong = (rng.random((n, NUM_JOINTS)) < 0.06) & (rng.random(n) < 0.4)[:, None]
    own = noise[:, None] + np.where(wrong, 0.15 * extent[:, None], 0)
    xy = xy + own[..., None] * rng.standard_normal(xy.shape)
    return features(xy, visible(n, rng) & (points[..., 2] > 0.1)), body.astype(np.float32)


class Peer:
    """A trained network as a lifter without covariance.

    Args:
        tensors: name -> array, as :func:`train` makes them; metadata: strings of the file.
    """

    def __init__(self, tensors, metadata=None):
        self.metadata = metadata or {}
        tensors = {k: torch.from_numpy(np.array(v, dtype=np.float32 if v.dtype.kind == 'f'
                                                else v.dtype)) for k, v in tensors.items()}
        blocks = len({k.split('.')[1] for k in tensors if k.startswith('blocks.')})
        self.net = Martinez(tensors['last.weight'].shape[1], blocks)
        self.net.load_state_dict(tensors)
        self.net.eval()

    @classmethod
    def load(cls, path):
        """Read a file; raises WeightsError."""
        return cls(*load_tensors(path))

    def lift(self, keypoints, confidence, camera):
        """Joints (N, 17, 3) m in the optical frame.

        The pose is the mean of the scene's and of its mirror image's. The network says nothing
        of where the person is: that is the least-squares translation that brings the joints
        onto their rays.

        Args:
            keypoints: (N, 17, 2) px; confidence: (N, 17), 0 not seen; camera: Camera.
        """
        confidence = np.asarray(confidence, float)
        xy = camera.normalise(keypoints)
        seen = (confidence > 0) & np.isfinite(xy).all(-1)
        both = np.concatenate((features(xy, seen),
                               features(xy[:, MIRROR] * [-1, 1], seen[:, MIRROR])))
        with torch.inference_mode():
            out = self.net(torch.from_numpy(both)).double().numpy().reshape(-1, NUM_JOINTS, 3)
        n = len(xy)
        pose = (out[:n] + out[n:, MIRROR] * [-1, 1, 1]) / 2
        pose -= pose[:, :1]
        return pose + translation(pose, xy, seen)[:, None]


def translation(pose, xy, seen):
    """Translations (N, 3) that bring poses (N, 17, 3) closest to their image coordinates:
    sum over what is seen of |(x, y) - (X, Y)/Z|^2 Z^2, linear in the translation.
    """
    xy = np.where(seen[..., None], xy, 0.0)
    w = np.asarray(seen, float)
    zero = np.zeros_like(w)
    a = np.stack((np.stack((w, zero, -w * xy[..., 0]), -1),
                  np.stack((zero, w, -w * xy[..., 1]), -1)), 2).reshape(len(xy), -1, 3)
    b = (w[..., None] * (xy * pose[..., 2:] - pose[..., :2])).reshape(len(xy), -1)
    square = np.swapaxes(a, 1, 2) @ a + 1e-9 * np.eye(3)
    return np.linalg.solve(square, (np.swapaxes(a, 1, 2) @ b[..., None]))[..., 0]


def train(poses, steps, seed=0, batch=128, rate=1e-3, width=1024, dropout=0.5, resume=None,
          save=None, every=250):
    """Train for some steps; the result follows from the seed, with or without a break.

    Args:
        poses: Poses to train on.
        steps: of Adam, squared error; the rate falls to a tenth by a cosine.
        resume: tensors that ``save`` was given, to go on from.
        save: called with (tensors, step) every ``every`` steps and at the end: the network's
            tensors, and beside them those of the optimiser, named ``adam.*``.

    Returns:
        the network's tensors (name -> numpy), and the mean joint error of the last steps, m.
    """
    from tqdm import tqdm
    torch.manual_seed(seed)
    net = Martinez(width, dropout=dropout)
    optimiser = torch.optim.Adam(net.parameters(), rate, fused=True)
    names = [n for n, _ in net.named_parameters()]
    first = 0
    if resume is not None:
        first = int(resume['step'])
        net.load_state_dict({k: torch.from_numpy(np.array(resume[k]))
                             for k in net.state_dict()})
        state = optimiser.state_dict()
        state['state'] = {i: {k: torch.from_numpy(np.array(resume[f'adam.{k}.{n}']))
                              for k in ('step', 'exp_avg', 'exp_avg_sq')}
                          for i, n in enumerate(names)}
        optimiser.load_state_dict(state)

    def tensors():
        return {k: v.numpy().copy() for k, v in net.state_dict().items()}

    def everything(step):
        out = tensors() | {'step': np.array(step)}
        for n, state in zip(names, optimiser.state_dict()['state'].values(), strict=True):
            out |= {f'adam.{k}.{n}': v.numpy() for k, v in state.items()}
        return out

    pool, errors = None, []
    bar = tqdm(range(first, steps), initial=first, total=steps, mininterval=5, unit='step')
    for step in bar:
        if pool is None or step % _POOL[0] == 0:
            number = step // _POOL[0]
            pool, _ = training_poses(poses, _POOL[1], np.random.default_rng([seed, 1, number]),
                                     variety=0.5)
        rng = np.random.default_rng([seed, 2, step])
        torch.manual_seed((seed << 32) + step)
        for group in optimiser.param_groups:
            group['lr'] = rate * min(1, (step + 1) / 200) * (
                0.55 + 0.45 * np.cos(np.pi * step / steps))
        body = turn(pool[rng.integers(len(pool), size=batch)], rng.uniform(-np.pi, np.pi, batch))
        inputs, target = views(body, rng)
        off = net(torch.from_numpy(inputs)) - torch.from_numpy(target.reshape(batch, -1))
        optimiser.zero_grad()
        (off.square().mean() / _UNIT ** 2).backward()
        optimiser.step()
        errors.append(float(off.detach().reshape(batch, NUM_JOINTS, 3).norm(dim=-1).mean()))
        if step % 100 == 0:
            bar.set_postfix(mm=f'{1e3 * np.mean(errors[-200:]):.1f}')
        if save and (step + 1) % every == 0:
            save(everything(step + 1), step + 1)
    if save:
        save(everything(steps), steps)
    return tensors(), float(np.mean(errors[-500:])) if errors else float('nan')


def add_arguments(parser):
    parser.add_argument('--mocap', default='../shared/data/mocap',
                        help='folder or npz of motion capture (%(default)s)')
    parser.add_argument('--out', required=True, help='file to write (safetensors)')
    parser.add_argument('--exclude-source', nargs='*', default=[])
    parser.add_argument('--holdout-subject', nargs='*', default=list(HELD_OUT_SUBJECTS))
    parser.add_argument('--steps', type=int, default=20000)
    parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--rate', type=float, default=1e-3)
    parser.add_argument('--width', type=int, default=1024)
    parser.add_argument('--dropout', type=float, default=0.5)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--resume', action='store_true',
                        help='go on from OUT.state, which a broken-off training left')


def run(args):
    torch.set_num_threads(1)
    keep, _ = split(read(args.mocap), args.exclude_source, args.holdout_subject)
    state = Path(f'{args.out}.state')
    held = ', '.join([*args.exclude_source, *args.holdout_subject])
    begin = load_tensors(state)[0] if args.resume else None

    def save(tensors, step):
        part = state.with_suffix('.part')
        save_tensors(part, tensors, {'version': '1'})
        part.replace(state)
        log.info('step %d of %d', step, args.steps)

    tensors, error = train(keep, args.steps, args.seed, args.batch, args.rate, args.width,
                           args.dropout, begin, save)
    # batch norm's counters stay whole numbers
    save_tensors(args.out, {k: v.astype(np.float16) if v.dtype.kind == 'f' else v
                            for k, v in tensors.items()},
                 {'version': '1', 'held_out': held, 'steps': args.steps, 'seed': args.seed})
    print(f'{args.out}: {args.steps} steps, {1e3 * error:.1f} mm in training, with dropout')
    return 0
