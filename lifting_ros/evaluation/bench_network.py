"""How fast the network is: one crop and several, beside the peers, in one run."""

import time
from functools import partial

import numpy as np
import torch

from ..network import Estimator
from .peers import peers

_BATCHES = (1, 4, 16)
_SIZES = {'image': (480, 640), 'box': (250.0, 60.0, 390.0, 440.0)}


def _milliseconds(call, cuda, least=8, seconds=1.5):
    """Median time of a call in ms, after two to warm up."""
    def done():
        if cuda:
            torch.cuda.synchronize()
    for _ in range(2):
        call()
    done()
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        done()
        times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(times))


def measure(args):
    """Figures of the network on ``args.device`` with ``args.threads`` threads.

    Returns:
        dict: ``crops`` name -> {batch: ms}, ``find`` name -> ms, ``parameters``, ``device``.
    """
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (*_SIZES['image'], 3), dtype=np.uint8)
    box = np.array([_SIZES['box']])
    cuda = args.device == 'cuda'
    first = Estimator.from_pretrained(device=args.device)
    networks = {f'ours ({first.backend})': first}
    if first.backend != 'torch':
        networks['ours (torch)'] = Estimator.from_pretrained(device=args.device, backend='torch')
    crops, find = {}, {}
    for name, network in networks.items():
        crops[name] = {n: _milliseconds(partial(network.keypoints, image, box.repeat(n, 0)), cuda)
                       for n in _BATCHES}
        find[name] = _milliseconds(lambda e=network: e.find(image), cuda)
    if args.peers:
        for name, peer in peers(None, args.peers).items():
            crops[name] = {1: _milliseconds(lambda p=peer: p(image, box[0]), False)}
    return {'device': str(first.device), 'threads': args.threads, 'crops': crops, 'find': find,
            'parameters': sum(p.numel() for p in first.model.parameters())}


def report(figures):
    """The figures as text."""
    lines = [f'{figures["parameters"] / 1e6:.2f} million parameters, on {figures["device"]}, '
             f'{figures["threads"]} threads; ms with cutting the crop and decoding']
    for name, times in figures['crops'].items():
        lines.append(f'  {name:24s}' + '  '.join(f'{n} crops {ms:.1f}'
                                                 for n, ms in times.items()))
    for name, ms in figures['find'].items():
        lines.append(f'  {name:24s}finding people in 640x480 {ms:.1f}')
    ours = next(iter(figures['crops'].values()))[1]
    for name, times in figures['crops'].items():
        if not name.startswith('ours'):
            lines.append(f'  ours takes {ours / times[1]:.2f} times as long as {name}')
    return '\n'.join(lines)
