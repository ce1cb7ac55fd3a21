"""``lifting-ros train stages``: the same stages with fusion and without, to compare them.

The trunk and stage 1 are those of a given network and stay as they are, so their features are
computed once for a fixed set of crops; then the later stages are trained from nothing, with the
same seed, crops, order and steps, once with the lift and its fusion between the stages and once
plain. Of the fusion there are three forms (``Config.fuse``); in two of them the fused map of every
stage is what the loss is on and what is read. ``lifting-ros eval stages`` measures the files that
this writes.
"""

import logging
import math
from pathlib import Path

import cv2
import torch
from tqdm import tqdm

from ..network import BeliefNet, Config, weights
from ..network.lift import Found
from ..network.maps import Maps
from ..prior import PosePrior
from . import photos
from .losses import batch_loss
from .mixture import Mixture, gather
from .network import add_sources, keep_memory
from .trainer import use_prior

log = logging.getLogger(__name__)

_AT_ONCE = 16    # crops made at once: which they are does not depend on the batch trained with
_FEATURES = ('first', 'f4', 'wide8', 'wide16')
_FOUND = ('turn', 'mode', 'frame', 'placed')
_LABELS = ('keypoints', 'belief', 'known', 'weight', 'swap', 'camera', 'joints', 'height')


@torch.inference_mode()
def cache(model, mixture, crops, size):
    """Features and labels of a fixed set of crops.

    Returns:
        dict of tensors over all crops, the features in fp16, and what the search of stage 1's maps
        found: as stage 1 stays as it is, so does that.
    """
    kept = {name: [] for name in _FEATURES + _LABELS + _FOUND}
    for step in tqdm(range(math.ceil(crops / mixture.batch)), desc='features', mininterval=5):
        batch = mixture(step, size)
        features = model.features(batch['image'])
        joints, *_ = model.first(features[0])
        for name, value in zip(_FEATURES, (joints, *features)):
            kept[name].append(value.half())
        *_, found = model.lift(torch.sigmoid(joints), batch['camera'])
        for name, value in zip(_FOUND, found):
            kept[name].append(value)
        for name in _LABELS:
            kept[name].append(batch[name])
    return {name: torch.cat(values) for name, values in kept.items()}


def train(model, data, steps, batch, seed, rate=1.5e-3, progress=iter):
    """Train context, stages and fusion on cached features; deterministic by seed.

    Args:
        model: BeliefNet, its later stages as initialised; data: of :func:`cache`.
        steps, batch: how much; rate: highest learning rate.

    Returns:
        list of the loss of every step.
    """
    named = dict(model.named_parameters())
    later = [p for n, p in named.items() if n.startswith(('context.', 'stages.'))]
    mixing = [p for n, p in named.items() if n in ('fusion', 'product')]
    groups = [{'params': later, 'top': rate}, {'params': mixing, 'top': 10 * rate}]
    optimiser = torch.optim.AdamW(groups, lr=rate, weight_decay=1e-3)
    order = torch.Generator().manual_seed(seed)
    said = []
    for step in progress(range(steps)):
        pick = torch.randint(len(data['first']), (batch,), generator=order)
        now = {n: v[pick].float() if v.dtype == torch.float16 else v[pick]
               for n, v in data.items()}
        rise = min(1.0, (step + 1) / min(50, 1 + steps // 4))
        rise *= 0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group['lr'] = group['top'] * rise
        found = Found(*(now[n] for n in _FOUND)) if model.config.lift else None
        logits, lifts, fused, projected = model.refine(*(now[n] for n in _FEATURES),
                                                       now['camera'], found)
        n, _, h, w = logits[0].shape
        maps = Maps(logits, logits[0].new_zeros(n, 4, h, w), logits[0].new_zeros(n, 17, 2), None,
                    lifts, fused, projected)
        loss, _ = batch_loss(maps, now)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        said.append(loss.item())
    return said


def fresh(base, form, seed):
    """A network with the trunk and stage 1 of another, its later stages from nothing.

    Args:
        base: BeliefNet; form: of :attr:`Config.fuse`, or 'plain': no lift, no fusion; seed: of the
            later stages, which start alike in every form.
    """
    torch.manual_seed(seed)
    how = {'lift': False} if form == 'plain' else {'lift': True, 'fuse': form}
    model = BeliefNet(Config(**{**base.config.to_dict(), **how}))
    state = {n: v for n, v in base.state_dict().items()
             if n.startswith(('trunk.', 'head.', 'gain', 'bias'))}
    model.load_state_dict(state, strict=False)
    use_prior(model, PosePrior.load())
    return model


def add_arguments(parser):
    """Arguments of ``lifting-ros train stages``."""
    add_sources(parser)
    parser.add_argument('--start', help='network whose trunk is taken; default: the shipped one')
    parser.add_argument('--out', required=True, help='folder for the weights files')
    parser.add_argument('--forms', nargs='+', default=['product', 'plain'],
                        choices=('between', 'sum', 'product', 'plain'),
                        help='of the fusion; plain: none')
    parser.add_argument('--shares', nargs='+', default=[], metavar='SOURCE=SHARE',
                        help='of the crops; default: those of train network')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1])
    parser.add_argument('--crops', type=int, default=4000, help='crops to compute features of')
    parser.add_argument('--steps', type=int, default=600)
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--size', type=int, default=192)
    parser.add_argument('--threads', type=int, default=1)


def run(args):
    """Train a network a form and seed: FORM_SEED.safetensors."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    keep_memory()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    base, _ = weights.load(args.start)
    sources = gather(args.data, args.movenet, out.parent / 'teacher', args.rendered, args.limit)
    backgrounds = photos.photos_without_people(args.data, kept_out=False)
    mixture = Mixture(sources, backgrounds, _AT_ONCE, 1000)
    mixture.take_shares(args.shares)
    data = cache(base, mixture, args.crops, args.size)
    del sources, mixture
    for seed in args.seeds:
        for kind in args.forms:
            model = fresh(base, kind, seed)
            said = train(model, data, args.steps, args.batch, seed,
                         progress=lambda it, what=f'{kind} {seed}': tqdm(it, desc=what,
                                                                         mininterval=5))
            log.info('%s, seed %d: loss %.3f', kind, seed, sum(said[-50:]) / len(said[-50:]))
            weights.save(model, out / f'{kind}_{seed}.safetensors',
                         {'steps': str(args.steps), 'seed': str(seed)})
    return 0
