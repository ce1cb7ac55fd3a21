"""``lifting-ros train network``: train the belief-map network on photographs."""

import ctypes
import json
import logging
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from ..network import BeliefNet, Config, Estimator, weights
from ..network.cpm import CpmConfig, CpmNet
from ..network.estimator import check_device
from ..network.trunk import movenet_tensors
from ..prior import PosePrior
from . import own_data, photos
from .curves import Curves
from .looks import glance, picture
from .mixture import Mixture, gather
from .teacher import movenet, sides_exchanged
from .trainer import Plan, Trainer, use_prior

log = logging.getLogger(__name__)


def add_sources(parser):
    """Arguments of what is trained on, the same for every training on photographs."""
    parser.add_argument('--data', required=True, help='folder of the labelled photos')
    parser.add_argument('--movenet', required=True, help='movenet_lightning.npz')
    parser.add_argument('--rendered', help='folder of rendered people (lifting-ros render)')
    parser.add_argument('--limit', type=int, help='people of a source (to try things)')


def add_arguments(parser):
    """Arguments of ``lifting-ros train network``."""
    add_sources(parser)
    parser.add_argument('--prior', help='pose prior; default: the shipped one')
    parser.add_argument('--out', required=True, help='folder for checkpoints, curves, pictures')
    parser.add_argument('--start', help='weights file to start from instead of MoveNet')
    parser.add_argument('--doubt-sides', action='store_true',
                        help='with --start: labels of athletes whose sides that network sees '
                        'exchanged may be read so by the loss, too')
    parser.add_argument('--member', choices=('fast', 'cpm'), default='fast',
                        help="fast: starts from MoveNet; cpm: the paper's, for a GPU, --size 368")
    own_data.add_arguments(parser)
    parser.add_argument('--no-lift', action='store_true', help='plain stages, no fusion')
    parser.add_argument('--stages', type=int, default=Config.stages)
    for name, kind in (('steps', int), ('batch', int), ('size', int), ('last_size', int),
                       ('switch', float), ('whole', int), ('rate', float), ('seed', int)):
        parser.add_argument('--' + name.replace('_', '-'), type=kind, default=getattr(Plan, name))
    parser.add_argument('--fuse', choices=('between', 'sum', 'product'), default=Config.fuse,
                        help='form of the fusion, of fast')
    parser.add_argument('--shares', nargs='+', default=[], metavar='SOURCE=SHARE',
                        help='of the crops: lspet=0.35 coco=0.2 ...; default: by their size')
    parser.add_argument('--device', choices=('cpu', 'cuda', 'auto'), default='cpu',
                        help='cuda: convolutions in bfloat16')
    parser.add_argument('--workers', type=int, default=0,
                        help='processes that make batches; 0: a thread; on a GPU one a core')
    parser.add_argument('--minutes', type=float, help='stop after so long, to go on later')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--glance', type=int, default=500, help='steps between looks at held-out')
    parser.add_argument('--keep', type=int, default=100, help='steps between checkpoints')
    parser.add_argument('--until', type=int, help='stop at this step, to go on later')


def keep_memory():
    """Keep freed memory instead of handing it back to the kernel (Linux, glibc).

    Faulting the same pages in again at every step takes longer than the network's first layers.
    """
    try:
        libc = ctypes.CDLL('libc.so.6')
        libc.mallopt(-4, 0)                  # M_MMAP_MAX: large blocks from the heap too
        libc.mallopt(-1, 2 ** 31 - 1)        # M_TRIM_THRESHOLD
        libc.mallopt(-2, 2 ** 28)            # M_TOP_PAD
    except (OSError, AttributeError):
        log.info('no glibc: memory is left to its own ways')


def doubt_sides(path, athletes, device):
    """Let the loss exchange the sides of labels that a network sees exchanged.

    Args:
        path: the network's weights file; athletes: list of Labelled, changed in place;
        device: where it looks at them.

    Returns:
        how many may be exchanged now.
    """
    estimator = Estimator.from_pretrained(path, device)
    seen = [estimator.keypoints(p.image, p.box[None]).xy
            for p in tqdm(athletes, desc='sides', mininterval=5)]
    for person, other in zip(athletes, sides_exchanged(np.concatenate(seen), athletes)):
        person.swap = bool(person.swap or other)
    return sum(person.swap for person in athletes)


def run(args):
    """Train, or go on where ``--out`` stopped; writes network.safetensors there."""
    if args.doubt_sides and not args.start:
        raise ValueError('--doubt-sides asks the network of --start: name one')
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    keep_memory()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)      # tails of maps: a hundred times as slow as zero
    cv2.setNumThreads(1)
    torch.manual_seed(args.seed)
    plan = Plan(**{n: getattr(args, n) for n in Plan.__dataclass_fields__ if hasattr(args, n)})
    kinds = {'fast': (BeliefNet, Config), 'cpm': (CpmNet, CpmConfig)}
    net, config = kinds[args.member]
    more = {'fuse': args.fuse} if args.member == 'fast' else {}
    model = net(config(stages=args.stages, lift=not args.no_lift, size=args.size, **more))
    if args.start:
        taken = weights.start(model, args.start)
        log.info('%d of %d tensors from %s', len(taken), len(model.state_dict()), args.start)
    elif args.member == 'fast':
        model.load_movenet(movenet_tensors(args.movenet))
    use_prior(model, PosePrior.load(args.prior))
    backgrounds = photos.photos_without_people(args.data, kept_out=False)
    sources = gather(args.data, args.movenet, out.parent / 'teacher', args.rendered, args.limit,
                     own_data.read(args, args.limit))
    if args.doubt_sides:
        athletes = [person for person, _ in sources['lspet']]
        log.info('%d of %d athletes may be labelled with sides exchanged',
                 doubt_sides(args.start, athletes, args.device), len(athletes))
    # the photos themselves: no two people of one photo bring it twice
    scenes = {p.photo: p.image for s in ('coco', 'unlabelled') for p, _ in sources.get(s, ())}
    scenes = list(scenes.values()) + backgrounds
    mixture = Mixture(sources, backgrounds, plan.batch, plan.seed)
    mixture.take_shares(args.shares)
    trainer = Trainer(model, plan, mixture, scenes, movenet(args.movenet) if plan.whole else None,
                      check_device(args.device), workers=args.workers)
    checkpoint = out / 'checkpoint.pt'
    if checkpoint.is_file():
        trainer.load(checkpoint)
    (out / 'plan.json').write_text(json.dumps(
        {**plan.__dict__, 'config': model.config.to_dict(),
         'people': {name: len(people) for name, people in sources.items()}}, indent=1))
    stop = min(plan.steps, args.until or plan.steps)
    curves = Curves(out)
    curves.cut_back(trainer.done)
    bar = tqdm(total=plan.steps, initial=trainer.done, mininterval=10)
    sums, counts, count, began = {}, {}, 0, time.monotonic()
    end = began + 60 * args.minutes if args.minutes else float('inf')
    while trainer.done < stop:
        if time.monotonic() > end:
            stop = trainer.done + 1     # looked at and saved like any last step
        said = trainer.step()
        count += 1
        for key, value in said.items():
            sums[key] = sums.get(key, 0.0) + value
            counts[key] = counts.get(key, 0) + 1
        bar.update()
        if trainer.done % 20 == 0:
            row = {key: float(value) / counts[key] for key, value in sums.items()}
            bar.set_postfix(loss=f'{row["loss"]:.3f}')
            row['seconds'] = (time.monotonic() - began) / count
            curves.write(trainer.done, row)
            sums, counts, count, began = {}, {}, 0, time.monotonic()
        if trainer.done % args.keep == 0 or trainer.done == stop:
            trainer.save(checkpoint)
        if trainer.done % args.glance == 0 or trainer.done == stop:
            seen = glance(trainer.average, args.data) if trainer.fast else {}
            w = torch.sigmoid(model.fusion.detach()).mean(1)
            curves.write(trainer.done, {**{f'held_out_{k}': v for k, v in seen.items()},
                                        **{f'w{t + 1}': float(v) for t, v in enumerate(w)}})
            tqdm.write(f'step {trainer.done}: {seen}, w {w.numpy().round(3)}')
            shown = picture(trainer.average, trainer.mixture(0, plan.size),
                            out / f'beliefs_{trainer.done:06d}.png')
            curves.picture(trainer.done, 'beliefs', shown)
            weights.save(trainer.average, out / f'network_{trainer.done:06d}.safetensors')
            began = time.monotonic()
    weights.save(trainer.average, out / 'network.safetensors', {
        'trained_on': json.dumps({name: len(people) for name, people in sources.items()}),
        'plan': json.dumps(plan.__dict__), 'steps': str(trainer.done)})
    curves.close()
    return 0
