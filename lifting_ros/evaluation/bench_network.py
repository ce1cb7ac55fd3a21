"""How fast the network is: one crop and several, beside the peers, in one run."""

import time
from functools import partial

import cv2
import numpy as np
import torch

from ..network import Estimator, int8, weights
from ..network.cpm import CpmNet
from . import roofline
from .peers import peers

BATCHES = (1, 2, 4, 8, 16)
_BOX = (250.0, 60.0, 390.0, 440.0)


def picture():
    """A picture (480, 640, 3) uint8 of blurred noise: no layer's time depends on what is seen."""
    coarse = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)


def _milliseconds(call, warm=2, least=5, seconds=1.0):
    """Median time of a call in ms, after some to warm up."""
    for _ in range(warm):
        call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        began = time.perf_counter()
        call()      # whose results are arrays: it has waited for the device
        times.append(1e3 * (time.perf_counter() - began))
        if time.perf_counter() > end + 4 * seconds:
            break
    return float(np.median(times))


def side_by_side(calls, rounds=30, seconds=15.0):
    """Least time of each of several calls, taken in turns so that they share their luck.

    Each call is made twice in its turn and the second is measured: the first brings its own
    numbers into the caches. CPU time is that of the process; where it is far below wall time the
    machine was busy with something else.

    Args:
        calls: dict name -> callable; rounds: at most so many, 3 at least; seconds: to stop after.

    Returns:
        dict name -> (wall ms, CPU ms).
    """
    best = {name: (np.inf, np.inf) for name in calls}
    end = time.perf_counter() + seconds
    for i in range(rounds):
        for name, call in calls.items():
            call()
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            best[name] = (min(best[name][0], 1e3 * wall), min(best[name][1], 1e3 * cpu))
        if i >= 2 and time.perf_counter() > end:
            break
    return best


def _on_gpu():
    """Name -> Estimator of both members of the family, as fast as they are and step by step."""
    networks = {}
    # a cpm that nobody has trained: no layer's time depends on what it has learned
    for name, model in (('fast', weights.load(None)[0]), ('cpm', CpmNet())):
        model.lift.load_state_dict(weights.load(None)[0].lift.state_dict())
        for backend, words in (('graphs', 'half, graphs'), ('half', 'half, eager'),
                               ('torch', 'single, eager')):
            networks[f'{name} ({words})'] = Estimator(model, 'cuda', backend, upright=False)
    return networks


def _ours(device):
    """Name -> Estimator of every backend that this machine has."""
    if device == 'cuda':
        return _on_gpu()
    # one look: in noise there may be somebody who lies
    first = Estimator.from_pretrained(device=device, upright=False)
    networks = {f'ours ({first.backend})': first}
    if first.backend == 'onnx' and int8.fast_here():
        networks['ours (int8)'] = Estimator.from_pretrained(upright=False, int8='all')
    if first.backend != 'torch':
        networks['ours (torch)'] = Estimator.from_pretrained(device=device, backend='torch',
                                                              upright=False)
    return networks


def measure(args):
    """Figures of the network on ``args.device`` with ``args.threads`` threads.

    Every time is that of a picture and boxes to keypoints in the picture: cutting, the network
    and decoding. Peers run on the CPU, the .tflite ones with one thread; one crop of each network
    and peer is timed in turns (:func:`side_by_side`).

    Returns:
        dict: ``crops`` name -> {batch: ms}, ``find`` name -> ms, ``beside`` name -> (wall ms, CPU
        ms) of one crop, ``peers`` their names, ``parameters``, ``device``, ``threads``; on CUDA
        ``floor`` name -> {batch: ms} (:mod:`.roofline`) and ``peaks``, Tflop/s and Gbyte/s.
    """
    torch.set_num_threads(args.threads)
    image, box = picture(), np.array([_BOX])
    cuda = args.device == 'cuda'
    networks = _ours(args.device)
    crops, find, first = {}, {}, next(iter(networks))
    for name, network in networks.items():
        many = BATCHES if cuda or name == first else BATCHES[:1]
        crops[name] = {n: _milliseconds(partial(network.keypoints, image, box.repeat(n, 0)))
                       for n in many}
        if not name.startswith('cpm'):      # which finds nobody in a whole image
            find[name] = _milliseconds(partial(network.find, image))
    others = {}
    if args.peers:
        # movenet_lightning.npz: beside the .tflite files, or in the folder weights beside theirs
        places = (args.peers, args.peers.parent / 'weights')
        npz = [p / 'movenet_lightning.npz' for p in places]
        others = peers(next((p for p in npz if p.is_file()), None), args.peers)
    one = {name: partial(network.keypoints, image, box) for name, network in networks.items()}
    one |= {name: partial(peer, image, box[0]) for name, peer in others.items()}
    beside = {} if cuda else side_by_side(one)
    first = next(iter(networks.values()))
    name = torch.cuda.get_device_name() if cuda else 'cpu'
    figures = {'device': name, 'threads': args.threads, 'crops': crops, 'find': find,
               'beside': beside, 'peers': list(others),
               'parameters': sum(p.numel() for p in first.model.parameters())}
    if cuda:
        operations, bandwidth = roofline.peaks('cuda')
        figures['peaks'] = operations / 1e12, bandwidth / 1e9
        figures['floor'] = {name: {n: roofline.floor(roofline.work(network.model, n),
                                                     operations, bandwidth) for n in BATCHES}
                            for name, network in networks.items()}
        figures['backends'] = {name: network.backend for name, network in networks.items()}
    return figures


def report(figures):
    """The figures as text."""
    lines = [f'{figures["parameters"] / 1e6:.2f} million parameters, on {figures["device"]}, '
             f'{figures["threads"]} thread(s); ms, median, with cutting the crops and decoding']
    for name, times in figures['crops'].items():
        lines.append(f'{name:22}  ' + '  '.join(f'{n} crop{"s" * (n > 1)} {ms:.2f}'
                                                for n, ms in times.items()))
        if name in figures['find']:
            lines.append(f'{"":22}  finding people in 640x480 {figures["find"][name]:.1f}')
        if 'floor' in figures:
            shares = (f'{n} {figures["floor"][name][n] / ms:.0%}' for n, ms in times.items())
            lines.append(f'{"":22}  of it the floor that operations and bytes give: '
                         + ', '.join(shares) + f'; what ran: {figures["backends"][name]}')
    if 'peaks' in figures:
        lines.append('the device reaches {:.0f} Tflop/s in half precision, {:.0f} Gbyte/s'
                     .format(*figures['peaks']))
    if figures['beside']:
        lines.append('1 crop, in turns, the least of each; ms wall, ms CPU')
    for name, (wall, cpu) in figures['beside'].items():
        ratios = ''
        if name not in figures['peers']:
            for peer in figures['peers']:
                theirs = figures['beside'][peer]
                ratios += f'  {wall / theirs[0]:.2f}, {cpu / theirs[1]:.2f} of {peer};'
        lines.append(f'{name:22}  {wall:6.1f} {cpu:6.1f}{ratios}')
    return '\n'.join(lines)
