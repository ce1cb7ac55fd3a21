"""A TensorRT engine where there is one; elsewhere torch, and a message that says why."""

import logging
from types import SimpleNamespace

import pytest
import torch

from lifting_ros.network import tensorrt
from lifting_ros.network.tensorrt import Engine, EngineError, engine_or_torch


class _Graph(torch.nn.Module):
    names = ('xy', 'confidence', 'covariance')

    def forward(self, x):
        return x, x.sum(), x


class _Logger:
    WARNING = 1

    def __init__(self, level):
        assert level == self.WARNING


def test_none_is_torch():
    graph = _Graph()
    assert engine_or_torch(None, graph) == (graph, 'torch')


@pytest.mark.skipif(torch.cuda.is_available(), reason='is about machines without CUDA')
def test_without_tensorrt_or_cuda_torch_runs_and_says_so(tmp_path, caplog):
    graph = _Graph()
    (tmp_path / 'crops.engine').write_bytes(b'engine')
    with caplog.at_level(logging.WARNING):
        assert engine_or_torch(tmp_path / 'crops.engine', graph) == (graph, 'torch')
    assert 'torch runs the network' in caplog.text and 'tensorrt' in caplog.text.lower()
    with pytest.raises(EngineError, match='CUDA'):
        Engine(tmp_path / 'crops.engine', package=SimpleNamespace())


def test_a_file_of_another_machine_is_named(tmp_path, monkeypatch):
    """TensorRT gives None for an engine that it cannot read."""
    package = SimpleNamespace(
        __version__='10.3', Logger=_Logger,
        Runtime=lambda log: SimpleNamespace(deserialize_cuda_engine=lambda data: None))
    monkeypatch.setattr(tensorrt.torch.cuda, 'is_available', lambda: True)
    (tmp_path / 'crops.engine').write_bytes(b'engine')
    with pytest.raises(EngineError, match=r'crops\.engine.*10\.3.*build it again'):
        Engine(tmp_path / 'crops.engine', package=package)
    graph = _Graph()
    assert engine_or_torch(tmp_path / 'none.engine', graph, package)[1] == 'torch'
