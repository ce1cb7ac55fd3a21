"""``lifting-ros train average``."""

import json

import pytest
import torch

from lifting_ros import cli
from lifting_ros.network import BeliefNet, Config, weights


def _network(path, seed, **config):
    torch.manual_seed(seed)
    model = BeliefNet(Config(stages=2, channels=8, lift_modes=2, lift_dims=3, lift_headings=4,
                             **config))
    weights.save(model, path, {'steps': '7'})
    return weights.load(path)[0]


def test_weights_of_the_mean_are_means(tmp_path):
    files = [tmp_path / f'{n}.safetensors' for n in 'abc']
    models = [_network(file, seed) for seed, file in enumerate(files)]
    out = tmp_path / 'mean.safetensors'
    assert cli.main(['train', 'average', *map(str, files), '--out', str(out)]) == 0
    mean, about = weights.load(out)
    assert about['steps'] == '7' and json.loads(about['mean_of']) == [f.name for f in files]
    others = [dict(m.named_parameters()) for m in models]
    for name, value in mean.named_parameters():
        expected = (others[0][name] + others[1][name] + others[2][name]) / 3
        torch.testing.assert_close(value, expected, rtol=2e-3, atol=1e-4, msg=name)
    name = 'trunk.block9.dw.weight'
    assert not torch.equal(dict(mean.named_parameters())[name], others[0][name])


def test_networks_of_two_kinds_have_no_mean(tmp_path, capsys):
    _network(tmp_path / 'a.safetensors', 0)
    _network(tmp_path / 'b.safetensors', 0, fuse='product')
    files = [str(tmp_path / f'{n}.safetensors') for n in 'ab']
    assert cli.main(['train', 'average', *files, '--out', str(tmp_path / 'c')]) == 1
    assert 'configuration' in capsys.readouterr().err and not (tmp_path / 'c').exists()
    with pytest.raises(SystemExit):
        cli.main(['train', 'average', '--out', 'x'])
