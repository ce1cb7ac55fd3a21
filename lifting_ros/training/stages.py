"""``lifting-ros train stages``: the same stages with fusion and without, to compare them.

The trunk and stage 1 are those of a given network and stay as they are, so their features are
computed once for a fixed set of crops; then the later stages are trained from nothing, with the
same seed, crops, order and steps, once with the lift and its fusion between the stages and once
plain. ``lifting-ros eval stages`` measures the files that this writes.
"""

import logging
import math
from pathlib import Path

import cv2
import torch
from tqdm import tqdm

from ..network import weights
from ..network.model import BeliefNet, Config, Maps
from ..prior import PosePrior
from . import photos
from .losses import batch_loss
from .mixture import Mixture, gather
from .network import _keep_memory, add_sources, use_prior

log = logging.getLogger(__name__)

_FEATURES = ('first', 'f4', 'wide8', 'wide16')
_LABELS = ('keypoints', 'belief', 'known', 'weight', 'swap', 'camera', 'joints', 'height')


@torch.inference_mode()
def cache(model, mixture, crops, size):
    """Features and labels of a fixed set of crops.

    Returns:
        dict of tensors over all crops, the features in fp16.
    """
    kept = {name: [] for name in _FEATURES + _LABELS}
    for step in tqdm(range(math.ceil(crops / mixture.batch)), desc='features', mininterval=5):
        batch = mixture(step, size)
        features = model.features(batch['image'])
        joints, *_ = model.first(features[0])
        for name, value in zip(_FEATURES, (joints, *features)):
            kept[name].append(value.half())
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
    later = [p for n, p in model.named_parameters() if n.startswith(('context.', 'stages.'))]
    groups = [{'params': later, 'top': rate}, {'params': [model.fusion], 'top': 10 * rate}]
    optimiser = torch.optim.AdamW(groups, lr=rate, weight_decay=1e-3)
    order = torch.Generator().manual_seed(seed)
    said = []
    for step in progress(range(steps)):
        pick = torch.randint(len(data['first']), (batch,), generator=order)
        now = {n: v[pick].float() if v.dtype == torch.float16 else v[pick]
               for n, v in data.items()}
        rise = min(1.0, (step + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
        for group in optimiser.param_groups:
            group['lr'] = group['top'] * rise
        logits, lifts, fused, projected = model.refine(*(now[n] for n in _FEATURES),
                                                       now['camera'])
        n, _, h, w = logits[0].shape
        maps = Maps(logits, logits[0].new_zeros(n, 4, h, w), logits[0].new_zeros(n, 17, 2), None,
                    lifts, fused, projected)
        loss, _ = batch_loss(maps, now)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        said.append(loss.item())
    return said


def add_arguments(parser):
    """Arguments of ``lifting-ros train stages``."""
    add_sources(parser)
    parser.add_argument('--start', help='network whose trunk is taken; default: the shipped one')
    parser.add_argument('--out', required=True, help='folder for the weights files')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1])
    parser.add_argument('--crops', type=int, default=4000, help='crops to compute features of')
    parser.add_argument('--steps', type=int, default=600)
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--size', type=int, default=192)
    parser.add_argument('--threads', type=int, default=1)


def run(args):
    """Train a pair of networks a seed: fusion_SEED.safetensors, plain_SEED.safetensors."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    _keep_memory()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    base, _ = weights.load(args.start)
    sources = gather(args.data, args.movenet, out.parent / 'teacher', args.rendered, args.limit)
    backgrounds = photos.photos_without_people(args.data, kept_out=False)
    mixture = Mixture(sources, backgrounds, args.batch, 1000)
    data = cache(base, mixture, args.crops, args.size)
    del sources, mixture
    for seed in args.seeds:
        for kind in ('fusion', 'plain'):
            torch.manual_seed(seed)
            model = BeliefNet(Config(**{**base.config.to_dict(), 'lift': kind == 'fusion'}))
            state = {n: v for n, v in base.state_dict().items()
                     if n.startswith(('trunk.', 'head.', 'gain', 'bias'))}
            model.load_state_dict(state, strict=False)
            use_prior(model, PosePrior.load())
            said = train(model, data, args.steps, args.batch, seed,
                         progress=lambda it, what=f'{kind} {seed}': tqdm(it, desc=what,
                                                                         mininterval=5))
            log.info('%s, seed %d: loss %.3f', kind, seed, sum(said[-50:]) / len(said[-50:]))
            weights.save(model, out / f'{kind}_{seed}.safetensors',
                         {'steps': str(args.steps), 'seed': str(seed)})
    return 0
