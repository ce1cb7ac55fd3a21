"""Speed of the lifter, beside a plain solver of the same closed form."""

import time
from dataclasses import replace
from functools import partial

import numpy as np

from ..prior.fit import turn
from .scenes import scenes


def people(prior, n, seed=0):
    """Scenes of n people of the prior, without its noise: nobody's joints jitter."""
    rng = np.random.default_rng(seed)
    poses, _ = replace(prior, psi=0 * prior.psi).sample(n, rng)
    return scenes(turn(poses, rng.uniform(-np.pi, np.pi, n)) * 1.7, rng)


def captured(n, seed=0):
    """Scenes of n poses of the demo clip, which somebody really took and no fit has seen.

    Raises:
        OSError: the clip's truth is not beside the package (colcon installs it, pip does not).
    """
    from ..lifting.frames import upright
    from .demo import demo_folder, read_truth
    truth = read_truth(demo_folder() / 'truth.npz')
    joints = truth['joints'][np.linspace(0, len(truth['joints']) - 1, n).astype(int)]
    to_up = upright(truth['up'][None], np.array([[0, 0, 1.0]]))[0]
    return scenes(joints @ to_up.T, np.random.default_rng(seed))


def plain_search(prior, rays, confidence, angle_sigma, distance, angles):
    """The closed form of one person, written down as it is thought: every mode and heading by
    least squares. Returns (score, mode, heading) of the best.
    """
    best = (np.inf, 0, 0.0)
    m = prior.dimensions
    seen = np.flatnonzero(confidence > 0)
    for k in range(prior.modes):
        for heading in angles:
            c, s = np.cos(heading), np.sin(heading)
            rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
            rows, right, log = [], [], -2 * np.log(prior.weight[k])
            for j in seen:
                w = confidence[j] / (prior.psi[k] + prior.skeleton_noise ** 2
                                     + (angle_sigma[j] * distance) ** 2)
                q = np.sqrt(w) * (np.eye(3) - np.outer(rays[j], rays[j]))
                rows.append(q @ np.hstack((rotation @ prior.basis[k, :, j].T, np.eye(3))))
                right.append(-q @ rotation @ prior.mean[k, j])
                log -= 2 * confidence[j] * np.log(w)
            a = np.vstack([*rows, np.eye(m, m + 3)])
            b = np.concatenate([*right, np.zeros(m)])
            x = np.linalg.lstsq(a, b, rcond=None)[0]
            depth = rays[seen].mean(0) @ x[m:]
            if depth > 0.15:
                score = (((a @ x - b) ** 2).sum() + np.linalg.slogdet(a.T @ a)[1] + log
                         - 4 * confidence.sum() * np.log(depth))
                best = min(best, (score, k, heading))
    return best


def _time(call, repeats, clock=time.process_time):
    """The least time of a call, s: of the CPU, which on one thread is what it takes on a core of
    its own, or of another clock.
    """
    call()
    spent = []
    for _ in range(repeats):
        begin = clock()
        call()
        spent.append(clock() - begin)
    return min(spent)


def on_device(device, repeats, batches):
    """What whole batches of poses of the demo clip take, by numpy and with the looks on a device.

    Returns:
        dict of where -> dict of batch -> dict: ``wall`` milliseconds; on the device also
        ``twice``, the share of people that are looked at twice, and ``graphs``, milliseconds that
        the graphs alone take by the device's clock, None without CUDA.

    Raises:
        RuntimeError: no CUDA, or the first look cannot be taken there.
        OSError: the clip's truth is not beside the package.
    """
    from ..lifting import Lifter
    from ..network.look import lift_on
    plain, there = Lifter.from_pretrained(), Lifter.from_pretrained()
    if not lift_on(there, device):
        raise RuntimeError(f'people are not lifted on {device}: the warning above says why')
    s = captured(max(batches))

    def batch(lifter, n):
        return {'wall': 1e3 * _time(partial(lifter.lift, s.keypoints[:n], s.confidence[:n],
                                            s.camera, s.up[:n]), repeats, time.perf_counter)}

    def graphs(n):
        there.lift(s.keypoints[:n], s.confidence[:n], s.camera, s.up[:n])
        took, again = there.device_milliseconds(n)
        return {'twice': again / n, 'graphs': took}

    return {'numpy': {str(n): batch(plain, n) for n in batches},
            f'torch, {device}': {str(n): {**batch(there, n), **graphs(n)} for n in batches}}


def measure(args=None, repeats=60, batches=(1, 16, 64)):
    """Least milliseconds of CPU time a person: dict of what -> dict of batch -> milliseconds.

    Set OMP_NUM_THREADS=1 before Python starts for figures of one core. With ``args.device``
    'cuda' :func:`on_device` instead.
    """
    from ..lifting import Lifter
    from ..lifting.frames import upright
    if getattr(args, 'device', 'cpu') != 'cpu':
        return {'batch on': on_device(args.device, repeats, batches)}
    lifter = Lifter.from_pretrained()
    form, prior = lifter.closed_form, lifter.prior
    s = people(prior, max(batches))
    rays = s.camera.rays(np.where(s.confidence[..., None] > 0, s.keypoints, 0))
    seen = s.confidence[..., None]
    middle = (seen * rays).sum(1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    rays = np.where(seen > 0, rays, middle[:, None]) @ np.swapaxes(upright(s.up, middle), 1, 2)
    sigma = np.full(s.confidence.shape, 2.0 / s.camera.focal)
    calls = {
        'closed form': lambda n: form.search(rays[:n], s.confidence[:n], sigma[:n]),
        'lift': lambda n: lifter.lift(s.keypoints[:n], s.confidence[:n], s.camera, s.up[:n]),
        'lift, gravity unknown': lambda n: lifter.lift(s.keypoints[:n], s.confidence[:n],
                                                       s.camera),
    }
    try:
        real = captured(max(batches))
        calls['lift, poses of the demo clip'] = lambda n: lifter.lift(
            real.keypoints[:n], real.confidence[:n], real.camera, real.up[:n])
    except OSError:
        pass
    out = {what: {str(n): 1e3 / n * _time(partial(call, n), repeats) for n in batches}
           for what, call in calls.items()}
    out['closed form, plain solver'] = {'1': 1e3 * _time(lambda: plain_search(
        prior, rays[0], s.confidence[0], sigma[0], s.distance[0] / 1.7, form.angles), 1)}
    return out


def _batch_line(where, n, took):
    line = f'whole batch of {n:>2}: {took["wall"]:9.3f} ms, looks on {where}'
    if took.get('graphs') is not None:
        line += f'; {took["graphs"]:.3f} ms of it the graphs'
    if 'twice' in took:
        line += f'; {took["twice"]:.1%} looked at twice'
    return line


def report(figures):
    """The figures as text."""
    if 'batch on' in figures:
        return '\n'.join(_batch_line(where, n, took) for where, row in figures['batch on'].items()
                         for n, took in row.items())
    return '\n'.join(f'{what:<28} batch {n:>3}  {ms:9.3f} ms a person'
                     for what, row in figures.items() for n, ms in row.items())
