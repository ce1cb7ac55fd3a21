"""``lifting-ros train network``: train the belief-map network on photographs."""

import copy
import ctypes
import json
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from ..network import BeliefNet, Config, weights
from ..network.cpm import CpmConfig, CpmNet
from ..network.trunk import movenet_tensors
from ..prior import PosePrior
from . import own_data, photos
from .curves import Curves
from .losses import batch_loss
from .mixture import Mixture, gather
from .teacher import movenet

log = logging.getLogger(__name__)

#: Learning rates by part; the first layers stay as they are. Those of MoveNet's own layers are
#: shares of the size of each tensor: its features run from ones to thousands, and a step that one
#: layer does not notice destroys another.
_RATES = {'trunk.': 7e-4, 'head.': 1.4e-3, 'context.': 2e-3, 'stages.': 2e-3,
          'fusion': 1e-2, 'gain': 1e-2, 'bias': 1e-2}
_RELATIVE = ('trunk.', 'head.')
#: Of a member that starts from nothing.
_RATES_CPM = 3e-4
_FROZEN = ('trunk.conv1.', 'trunk.block0.', 'trunk.block1.', 'trunk.block2.', 'head.offset.')
_NEW = 1e-3     # the maps that MoveNet has not
_HOLD = 3       # steps between looks at whole photos: they cost as much as half a batch


@dataclass(frozen=True)
class Plan:
    """How to train.

    Args:
        steps: in all. batch: crops a step. size, last_size: side of the crops before and after
        ``switch`` (share of the steps): small crops are nearly twice as fast. warm: steps of
        rising rate. ema: decay of the averaged weights. whole: whole photos a step, on which the
        centre map and the regression are held to the teacher's. seed: of everything.
    """

    steps: int = 4000
    batch: int = 16
    size: int = 192
    last_size: int = 256
    switch: float = 0.7
    warm: int = 100
    ema: float = 0.999
    whole: int = 1
    rate: float = 1.0
    seed: int = 0


def use_prior(model, prior):
    """Put a pose prior into the network's lift."""
    model.lift.set_prior(prior.mean, prior.basis, prior.psi + prior.skeleton_noise ** 2,
                         prior.weight)


class Trainer:
    """A network in training.

    Args:
        model: BeliefNet; plan: Plan; mixture: callable (step, size) -> batch;
        scenes: list of whole BGR photos; teacher: of :func:`.teacher.movenet`, or None.
    """

    def __init__(self, model, plan, mixture, scenes=(), teacher=None):
        self.model = model.to(memory_format=torch.channels_last).train()
        self.plan, self.mixture, self.scenes, self.teacher = plan, mixture, scenes, teacher
        self.fast = isinstance(model, BeliefNet)    # the member that starts from MoveNet
        groups = {}
        for name, value in model.named_parameters():
            if not self.fast:
                groups.setdefault(1e-2 if name == 'fusion' else _RATES_CPM, []).append(value)
                continue
            if name.startswith(_FROZEN):
                value.requires_grad_(False)
                continue
            rate = _NEW if '.more.' in name else next(
                r for part, r in _RATES.items() if name.startswith(part))
            if name.startswith(_RELATIVE) and '.more.' not in name:
                rate *= max(float(value.detach().square().mean().sqrt()), 1e-3)
            groups.setdefault(rate, []).append(value)
        self.optimiser = torch.optim.AdamW(
            [{'params': values, 'lr': rate, 'rate': rate} for rate, values in groups.items()],
            weight_decay=1e-3)
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.stride = getattr(model, 'stride', 4)
        self.done = 0
        self.ahead, self.next = ThreadPoolExecutor(1), {}   # the next batch is made meanwhile

    def size(self, step):
        """Side of the crops of a step."""
        return self.plan.size if step < self.plan.switch * self.plan.steps else self.plan.last_size

    def batch(self, step):
        """Batch of a step, and a start on the next."""
        now = self.next.pop(step, None) or self.ahead.submit(self.mixture, step, self.size(step))
        self.next = {step + 1: self.ahead.submit(self.mixture, step + 1, self.size(step + 1))}
        return now.result()

    def rate(self, step):
        """Factor on the learning rates: a rise, then a cosine to 2 %."""
        plan = self.plan
        rise = min(1.0, (step + 1) / plan.warm)
        through = min(1.0, step / max(plan.steps, 1))
        return plan.rate * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * through)))

    def step(self):
        """One step; returns a dict of floats."""
        plan = self.plan
        batch = self.batch(self.done)
        for group in self.optimiser.param_groups:
            group['lr'] = group['rate'] * self.rate(self.done)
        maps = self.forward(batch['image'], batch.get('camera'))
        loss, said = batch_loss(maps, batch, self.stride)
        if (self.fast and self.teacher is not None and len(self.scenes) and plan.whole
                and self.done % _HOLD == 0):
            held = self.hold(self.done)
            loss, said['whole'] = loss + _HOLD * held, held.item()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(
            [p for g in self.optimiser.param_groups for p in g['params']], 1e4)
        self.optimiser.step()
        self.done += 1
        self.follow()
        return {'loss': loss.item(), **said, 'norm': float(norm), 'size': self.size(self.done - 1)}

    def forward(self, image, camera=None):
        """Maps of a batch; the frozen first layers keep no graph."""
        if not self.fast:
            return self.model(image, camera)
        with torch.no_grad():
            early = self.model.trunk.early(image)
        return self.model.heads(*self.model.trunk.late(early), camera)

    @torch.no_grad()
    def follow(self):
        """Move the averaged weights."""
        decay = min(self.plan.ema, (1 + self.done) / (10 + self.done))
        for mean, value in zip(self.average.parameters(), self.model.parameters()):
            if value.requires_grad:
                mean.lerp_(value, 1 - decay)

    def hold(self, step):
        """Loss against forgetting: centre, regression and heat of whole photos as they were."""
        rng = np.random.default_rng((self.plan.seed, step, 7))
        x = torch.from_numpy(np.stack([
            _window(rng, self.scenes[rng.integers(len(self.scenes))], 256)
            for _ in range(self.plan.whole)])).permute(0, 3, 1, 2).float() / 127.5 - 1
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            early = self.teacher.trunk.early(x)     # the same frozen layers
            was = self.teacher.trunk.late(early)[0]
            centre, regress, heat = (self.teacher.head[n](was)
                                     for n in ('center', 'regress', 'heatmap'))
            at = torch.sigmoid(centre)
        now = self.model.trunk.late(early)[0]
        head = self.model.head
        loss = F.binary_cross_entropy_with_logits(head['center'](now), at, reduction='none')
        loss = loss.sum() / (at.sum() + 10)
        error = F.smooth_l1_loss(head['regress'](now), regress, reduction='none', beta=2.0)
        use = at * (at > 0.2)
        loss = loss + 0.1 * (error.mean(1, keepdim=True) * use).sum() / (use.sum() + 1)
        heat = torch.sigmoid(heat[:, :17])
        kept = F.binary_cross_entropy_with_logits(head['heatmap'](now)[:, :17], heat,
                                                  reduction='none')
        return loss + 0.1 * kept.sum() / (heat.sum() + 10)

    def save(self, path):
        """Everything needed to go on, without pickled code."""
        state = {'model': self.model.state_dict(), 'average': self.average.state_dict(),
                 'optimiser': self.optimiser.state_dict(), 'done': self.done,
                 'config': self.model.config.to_dict()}
        part = Path(path).with_suffix('.part')
        torch.save(state, part)
        part.replace(path)

    def load(self, path):
        """Go on from :meth:`save`."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state['model'])
        self.average.load_state_dict(state['average'])
        self.optimiser.load_state_dict(state['optimiser'])
        self.done = state['done']


def _window(rng, image, size):
    """A window of a whole photo at the scale in which people are looked for."""
    scale = rng.uniform(256, 448) / max(image.shape[:2])
    h, w = image.shape[:2]
    room = np.maximum(np.array([w, h]) * scale - size, 0)
    corner = rng.uniform(0, 1, 2) * room
    matrix = np.array([[scale, 0, -corner[0]], [0, scale, -corner[1]]])
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += size - 1
    window = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
    return np.ascontiguousarray(window[..., ::-1])


@torch.inference_mode()
def glance(model, data, limit=120):
    """PCK and OKS of a few people that are kept out of training.

    Returns:
        dict with pck and oks.
    """
    from ..evaluation.measures2d import box_area, oks, oks_table, pck_table
    from ..network.estimator import Estimator
    estimator = Estimator(copy.deepcopy(model))
    result = {}
    athletes = photos.lspet(data, True, limit)
    people = [p for p in photos.coco(data, True) if photos.measured(p)][:limit]
    for name, some in (('pck', athletes), ('oks', people)):
        found = np.concatenate([estimator.keypoints(p.image, p.box[None]).xy for p in some])
        truth = np.stack([p.keypoints for p in some])
        labelled = np.stack([p.visible for p in some]) > 0
        if name == 'pck':
            result[name] = pck_table(found, truth, labelled)['pck']
        else:
            area = box_area(np.stack([p.box for p in some]))
            result[name] = oks_table(oks(found, truth, labelled, area))['oks']
    return result


@torch.inference_mode()
def picture(model, batch, path, count=6):
    """A picture of belief maps: crop, then per stage the maps, and what was drawn between."""
    model.eval()
    maps = model(batch['image'][:count])
    rows = []
    for i in range(min(count, len(batch['image']))):
        crop = ((batch['image'][i].permute(1, 2, 0).numpy()[..., ::-1] + 1) * 127.5)
        crop = np.ascontiguousarray(crop).astype(np.uint8)
        layers = [torch.sigmoid(m[i, :17]).amax(0).numpy() for m in maps.logits]
        layers += [m[i].amax(0).numpy() for m in maps.projected]
        tiles = [crop]
        for layer in layers:
            heat = cv2.resize((255 * layer.clip(0, 1)).astype(np.uint8), crop.shape[1::-1])
            tiles.append(cv2.addWeighted(crop, 0.4, cv2.applyColorMap(heat, cv2.COLORMAP_TURBO),
                                         0.6, 0))
        rows.append(np.hstack(tiles))
    shown = np.vstack(rows)
    cv2.imwrite(str(path), shown)
    return shown


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
    parser.add_argument('--member', choices=('fast', 'cpm'), default='fast',
                        help="fast: starts from MoveNet; cpm: the paper's, for a GPU, --size 368")
    own_data.add_arguments(parser)
    parser.add_argument('--no-lift', action='store_true', help='plain stages, no fusion')
    parser.add_argument('--stages', type=int, default=Config.stages)
    for name, kind in (('steps', int), ('batch', int), ('size', int), ('last_size', int),
                       ('switch', float), ('whole', int), ('rate', float), ('seed', int)):
        parser.add_argument('--' + name.replace('_', '-'), type=kind, default=getattr(Plan, name))
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--glance', type=int, default=500, help='steps between looks at held-out')
    parser.add_argument('--keep', type=int, default=100, help='steps between checkpoints')
    parser.add_argument('--until', type=int, help='stop at this step, to go on later')


def _keep_memory():
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


def run(args):
    """Train, or go on where ``--out`` stopped; writes network.safetensors there."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    _keep_memory()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)      # tails of maps: a hundred times as slow as zero
    cv2.setNumThreads(1)
    torch.manual_seed(args.seed)
    plan = Plan(**{n: getattr(args, n) for n in Plan.__dataclass_fields__ if hasattr(args, n)})
    kinds = {'fast': (BeliefNet, Config), 'cpm': (CpmNet, CpmConfig)}
    net, config = kinds[args.member]
    model = net(config(stages=args.stages, lift=not args.no_lift, size=args.size))
    if args.start:
        taken = weights.start(model, args.start)
        log.info('%d of %d tensors from %s', len(taken), len(model.state_dict()), args.start)
    elif args.member == 'fast':
        model.load_movenet(movenet_tensors(args.movenet))
    use_prior(model, PosePrior.load(args.prior))
    backgrounds = photos.photos_without_people(args.data, kept_out=False)
    sources = gather(args.data, args.movenet, out.parent / 'teacher', args.rendered, args.limit,
                     own_data.read(args, args.limit))
    # the photos themselves: no two people of one photo bring it twice
    scenes = {p.photo: p.image for s in ('coco', 'unlabelled') for p, _ in sources.get(s, ())}
    scenes = list(scenes.values()) + backgrounds
    trainer = Trainer(model, plan, Mixture(sources, backgrounds, plan.batch, plan.seed), scenes,
                      movenet(args.movenet) if plan.whole else None)
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
    while trainer.done < stop:
        said = trainer.step()
        count += 1
        for key, value in said.items():
            sums[key] = sums.get(key, 0.0) + value
            counts[key] = counts.get(key, 0) + 1
        bar.update()
        if trainer.done % 20 == 0:
            row = {key: value / counts[key] for key, value in sums.items()}
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
