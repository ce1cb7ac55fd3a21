"""The network's weights file: fp16 safetensors with the configuration in its metadata."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..prior.file import WeightsError, load_tensors
from .config import Config
from .cpm import CpmConfig, CpmNet
from .model import BeliefNet

DEFAULT = Path(__file__).resolve().parents[1] / 'weights' / 'network.safetensors'
VERSION = '1'


def save(model, path, about=None):
    """Write a network.

    Args:
        model: BeliefNet.
        path: file to write.
        about: dict of strings kept in the file's metadata (what it was trained on, ...).
    """
    tensors = {name: value.detach().to(torch.float16 if value.is_floating_point() else value.dtype)
               .contiguous().cpu() for name, value in model.state_dict().items()}
    for name in tensors:      # the prior's small variances and its weights need their digits
        if name.startswith('lift.'):
            tensors[name] = model.state_dict()[name].float().contiguous().cpu()
    metadata = {**(about or {}), 'version': VERSION, 'config': json.dumps(model.config.to_dict())}
    save_file(tensors, str(path), metadata=metadata)


def start(model, path):
    """Take the tensors of another network that fit, to train on from there.

    Args:
        model: BeliefNet, changed in place.
        path: weights file, of this architecture or a relative of it.

    Returns:
        names of the tensors taken.
    """
    tensors, metadata = load_tensors(Path(path))
    own = model.state_dict()
    same = ('stages', 'channels', 'layers')
    theirs = json.loads(metadata.get('config', '{}'))
    parts = ('trunk.', 'head.', 'gain', 'bias')     # these mean the same in every member
    if all(theirs.get(n) == getattr(model.config, n) for n in same):
        parts += ('context.', 'stages.', 'fusion')
    fit = {n: torch.from_numpy(v).float() for n, v in tensors.items()
           if n.startswith(parts) and n in own and tuple(own[n].shape) == v.shape}
    model.load_state_dict(fit, strict=False)
    return sorted(fit)


def load(path=None):
    """Read a network, checked against the sha256 in SHA256SUMS beside the shipped file.

    Args:
        path: weights file; None takes the shipped one.

    Returns:
        BeliefNet (or CpmNet) in float32, in eval mode; metadata dict.

    Raises:
        WeightsError: the file is missing, damaged, or of another version.
    """
    path = Path(path) if path else DEFAULT
    tensors, metadata = load_tensors(path)
    try:
        config = json.loads(metadata['config'])
        if config.get('kind') == 'cpm':
            model = CpmNet(CpmConfig(**config))
        else:
            model = BeliefNet(Config(**config))
        model.load_state_dict({n: torch.from_numpy(v).float() for n, v in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f'{path} does not hold a network of this version ({VERSION}): '
                           f'{error}. Install the package again, or train the weights again with '
                           'lifting-ros train network') from error
    return model.eval(), metadata
