"""Training of the belief-map network: it can go on at any step as if it had never stopped."""

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch.optim import swa_utils

from ..network import BeliefNet
from .loading import Ahead
from .losses import batch_loss
from .recorded import Gradients

#: Learning rates by part; the first layers stay as they are. Those of MoveNet's own layers are
#: shares of the size of each tensor: its features run from ones to thousands, and a step that one
#: layer does not notice destroys another.
_RATES = {'trunk.': 7e-4, 'head.': 1.4e-3, 'context.': 2e-3, 'stages.': 2e-3,
          'fusion': 1e-2, 'product': 1e-2, 'gain': 1e-2, 'bias': 1e-2}
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
        device: where it is trained. bf16: convolutions in bfloat16, all else in single precision;
            None: on CUDA. workers: processes that make batches, see :class:`.loading.Ahead`.
    """

    def __init__(self, model, plan, mixture, scenes=(), teacher=None, device='cpu', bf16=None,
                 workers=0):
        self.device = torch.device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last).train()
        self.plan, self.mixture, self.scenes = plan, mixture, scenes
        self.teacher = teacher and teacher.to(self.device)
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
        cuda = self.device.type == 'cuda'
        self.optimiser = torch.optim.AdamW(
            [{'params': values, 'lr': rate, 'rate': rate} for rate, values in groups.items()],
            weight_decay=1e-3, fused=cuda)
        self.parameters = [p for values in groups.values() for p in values]
        if cuda:
            torch.backends.cudnn.benchmark = True
        self.gradients = Gradients(self.losses, self.parameters, record=cuda)
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self._pairs = list(zip(*[
            (mean, value) for mean, value in zip(self.average.parameters(), model.parameters())
            if value.requires_grad]))
        self.stride = getattr(model, 'stride', 4)
        self.done = 0
        self.ahead = Ahead(mixture, self.size, plan.steps, workers, cuda)
        if bf16 or bf16 is None and cuda:
            for network in (self.model, self.teacher):      # never the averaged one, a copy
                self._coarsen(network)

    def _coarsen(self, network):
        """Convolutions in bfloat16; lifts, losses and the weights themselves keep their digits."""
        for layer in network.modules() if network else ():
            if isinstance(layer, torch.nn.Conv2d):
                layer.forward = torch.autocast(self.device.type, torch.bfloat16)(layer.forward)

    def size(self, step):
        """Side of the crops of a step."""
        return self.plan.size if step < self.plan.switch * self.plan.steps else self.plan.last_size

    def batch(self, step):
        """Batch of a step on the device, and a start on the next."""
        batch = self.ahead(step)
        return {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}

    def rate(self, step):
        """Factor on the learning rates: a rise, then a cosine to 2 %."""
        plan = self.plan
        rise = min(1.0, (step + 1) / plan.warm)
        through = min(1.0, step / max(plan.steps, 1))
        return plan.rate * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * through)))

    def step(self):
        """One step; returns a dict of floats, on a GPU of scalars that it has yet to work out."""
        plan = self.plan
        batch = self.batch(self.done)
        for group in self.optimiser.param_groups:
            group['lr'] = group['rate'] * self.rate(self.done)
        said = dict(self.gradients(batch))
        if (self.fast and self.teacher is not None and len(self.scenes) and plan.whole
                and self.done % _HOLD == 0):
            held = _HOLD * self.hold(self.done)
            held.backward()         # onto the gradients of the crops
            said['whole'] = held.detach() / _HOLD
            said['loss'] = said['loss'] + held.detach()
        said['norm'] = norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1e4)
        # a lift that is nearly singular may have no finite gradient: a step without one, then,
        # instead of weights that are lost
        said['skipped'] = lost = ~torch.isfinite(norm)
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(lost, 0)
        said['size'] = self.size(self.done)
        self.optimiser.step()
        self.done += 1
        self.follow()
        if self.device.type == 'cpu':
            said = {name: float(value) for name, value in said.items()}
        return said

    def losses(self, batch):
        """Scalars of a batch of crops; ``loss`` is their sum."""
        loss, said = batch_loss(self.forward(batch['image'], batch.get('camera')), batch,
                                self.stride)
        return {'loss': loss, **said}

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
        swa_utils.get_ema_multi_avg_fn(decay)(*self._pairs, None)

    def hold(self, step):
        """Loss against forgetting: centre, regression and heat of whole photos as they were."""
        rng = np.random.default_rng((self.plan.seed, step, 7))
        x = torch.from_numpy(np.stack([
            _window(rng, self.scenes[rng.integers(len(self.scenes))], 256)
            for _ in range(self.plan.whole)])).permute(0, 3, 1, 2).float() / 127.5 - 1
        x = x.to(self.device, memory_format=torch.channels_last)
        with torch.no_grad():
            early = self.teacher.trunk.early(x)     # the same frozen layers
            was = self.teacher.trunk.late(early)[0]
            centre, regress, heat = (self.teacher.head[n](was).float()
                                     for n in ('center', 'regress', 'heatmap'))
            at = torch.sigmoid(centre)
        now = self.model.trunk.late(early)[0]
        head = self.model.head
        centre = head['center'](now).float()
        loss = F.binary_cross_entropy_with_logits(centre, at, reduction='none')
        loss = loss.sum() / (at.sum() + 10)
        error = F.smooth_l1_loss(head['regress'](now).float(), regress, reduction='none', beta=2.0)
        use = at * (at > 0.2)
        loss = loss + 0.1 * (error.mean(1, keepdim=True) * use).sum() / (use.sum() + 1)
        heat = torch.sigmoid(heat[:, :17])
        kept = F.binary_cross_entropy_with_logits(head['heatmap'](now)[:, :17].float(), heat,
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
        state = torch.load(path, map_location=self.device, weights_only=True)
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
