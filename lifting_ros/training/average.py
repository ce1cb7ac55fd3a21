"""``lifting-ros train average``: the mean of the weights of several trainings.

Networks trained on from one start with other crops end in one valley: the mean of their weights
is as good as the mean of their answers, at the cost of one (Wortsman et al., "Model soups",
ICML 2022).
"""

import json
from pathlib import Path

import torch

from ..network import weights


def add_arguments(parser):
    """Arguments of ``lifting-ros train average``."""
    parser.add_argument('weights', nargs='+', help='files of networks that started as one')
    parser.add_argument('--out', required=True, help='file to write')


def mean(models):
    """The mean of networks of one configuration.

    Args:
        models: list of networks; the first takes the mean.

    Raises:
        ValueError: they are not of one configuration.
    """
    if any(m.config != models[0].config for m in models):
        raise ValueError('the networks differ in their configuration: there is no mean of them')
    states = [model.state_dict() for model in models]
    models[0].load_state_dict({
        name: torch.stack([s[name] for s in states]).mean(0) if value.is_floating_point()
        else value for name, value in states[0].items()})
    return models[0]


def run(args):
    """Write the mean; what the first file says of itself is kept, and which files there were."""
    loaded = [weights.load(path) for path in args.weights]
    about = {name: value for name, value in loaded[0][1].items()
             if name not in ('config', 'version')}
    about['mean_of'] = json.dumps([Path(path).name for path in args.weights])
    weights.save(mean([model for model, _ in loaded]), args.out, about)
    return 0
