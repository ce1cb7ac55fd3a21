"""What runs on a GPU, as far as a machine without one can tell.

Shapes, devices and types by tensors without contents; numbers by the same code on the CPU. That
kernels wait for nothing on the host, which a CUDA graph does not allow, is seen by what is
dispatched.
"""

import numpy as np
import pytest
import torch
from torch_support import NoHost

from lifting_ros.network import half, weights
from lifting_ros.network.cpm import CpmConfig, CpmNet
from lifting_ros.network.crops import as_input, cut_on_device
from lifting_ros.network.estimator import Estimator
from lifting_ros.network.export import CropGraph, WholeGraph
from lifting_ros.network.find import boxes_of, candidates, find_people, split
from lifting_ros.network.graphs import Graphs


@pytest.fixture(scope='module')
def model():
    """The network that ships."""
    return weights.load(None)[0].eval()


def _on_gpu(network):
    """A network whose tensors have a place and no contents."""
    return half.halved(network).to('meta')


def _capturable(module, *shape, dtype=torch.float32):
    given = torch.empty(shape, dtype=dtype, device='meta')
    with torch.inference_mode():
        module(given)      # what is made once is made here
        with NoHost() as watched:
            out = module(given)
    assert out.device.type == 'meta'
    assert watched.calls > 50
    assert watched.forbidden == []
    return out


@pytest.mark.parametrize('kind', ['fast', 'cpm'])
def test_crops_can_be_recorded(kind, model):
    network = model if kind == 'fast' else CpmNet(CpmConfig(stages=2, size=64, width=0.1))
    out = _capturable(half._Crops(_on_gpu(network), torch.float16), 4, 3, 64, 64)
    assert out.shape == (4, 17, 7)
    assert out.dtype == torch.float32


def test_a_search_can_be_recorded(model):
    out = _capturable(half._Whole(_on_gpu(model), torch.float16), 90, 130, 3, dtype=torch.uint8)
    assert out.shape == (64, 86)


def test_a_list_as_an_index_is_noticed():
    with NoHost() as watched:
        torch.zeros(5)[[1, 2]]
    assert watched.forbidden


def test_halved_in_single_precision_is_the_network(model):
    pixels = torch.from_numpy(_people()).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        plain = [p.numpy() for p in CropGraph(model)(as_input(pixels))]
        ours = half.HalfNetwork(model, graphs=False, dtype=torch.float32).crops(pixels)
    for p, o in zip(plain, ours, strict=True):
        np.testing.assert_allclose(o, p, rtol=1e-3, atol=1e-2)
    assert half.agrees(ours, plain)


def test_half_precision_agrees_and_a_wrong_one_does_not(model):
    pixels = torch.from_numpy(_people()).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        plain = [p.numpy() for p in CropGraph(model)(as_input(pixels))]
        ours = half.HalfNetwork(model, graphs=False, dtype=torch.float16).crops(pixels)
        broken = half.HalfNetwork(model, graphs=False, dtype=torch.float32)
        broken.model.trunk.block3.dw.weight.mul_(-1)
        wrong = broken.crops(pixels)
    assert half.agrees(ours, plain)
    assert np.median(np.linalg.norm(ours[0] - plain[0], axis=-1)) < 0.2
    assert not half.agrees(wrong, plain)
    assert not half.agrees([part * np.nan for part in ours], plain)


def _people():
    """Two crops (2, 256, 256, 3) of somebody drawn."""
    drawn = np.ascontiguousarray(half.mannequin(256))
    crops, _, _ = cut_on_device(torch.from_numpy(drawn),
                                np.array([[0.0, 0, 255, 255], [20, 0, 230, 200]]), 256, 1.0)
    return crops.permute(0, 2, 3, 1).numpy()


def test_the_drawing_is_seen(model):
    with torch.inference_mode():
        _, confidence, _ = CropGraph(model)(as_input(
            torch.from_numpy(_people()).permute(0, 3, 1, 2).float()))
    assert (confidence > 0.2).float().mean() > 0.7


def test_candidates_on_a_gpu_are_those_of_the_cpu(model):
    rng = np.random.default_rng(1)
    pixels = np.kron(rng.integers(0, 255, (16, 20, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    pixels[:, 32:160] = half.mannequin(128)
    with torch.inference_mode():
        x = as_input(torch.from_numpy(pixels).permute(2, 0, 1)[None].float())
        maps = [m[0] for m in WholeGraph(model)(x)]
        packed = candidates(maps[0][0], *maps[1:], 64).numpy()
        plain = find_people(*(m.double().numpy() for m in (maps[0][0], *maps[1:])), 0.05, 16)
        ours = boxes_of(split(packed, 0.05, 64), maps[0].shape[1:], 16)
    assert len(plain[0]) > 0
    np.testing.assert_allclose(ours[0], plain[0], atol=1e-3)
    np.testing.assert_allclose(ours[1], plain[1], atol=1e-6)


def test_batches_are_filled_up_and_cut_off(model):
    network = half.HalfNetwork(model, graphs=False, dtype=torch.float32)
    sizes = []
    whole = network._crops.module.forward
    network._crops.module.forward = lambda x: sizes.append(len(x)) or whole(x)
    pixels = torch.from_numpy(_people()).permute(0, 3, 1, 2).float()[:, :, ::4, ::4]
    pixels = pixels[[0, 1, 1] * 7]
    with torch.inference_mode():
        ours = network.crops(pixels)
    assert sizes == [16, 8]
    assert ours[0].shape == (21, 17, 2)
    np.testing.assert_allclose(ours[0][3:6], ours[0][18:], atol=1e-2)


def test_a_batch_that_is_slower_than_a_larger_one_is_run_as_that(model, monkeypatch):
    network = half.HalfNetwork(model, graphs=False, dtype=torch.float32)
    sizes, spent = [], {1: 1.0, 2: 9.0, 4: 3.1, 8: 3.0, 16: 5.0}
    network._crops = lambda x: sizes.append(len(x)) or x.new_zeros(len(x), 17, 7)
    monkeypatch.setattr(network, '_spent', lambda pixels: spent[len(pixels)])
    network.warm_up(32, 'cpu')
    for n in (1, 2, 3, 5, 9):
        assert network.crops(torch.zeros(n, 3, 32, 32))[0].shape == (n, 17, 2)
    assert sizes == [1, 8, 4, 8, 16]        # 4 is as good as 8: it stays
    spent[2] = 1.5
    network.warm_up(32, 'cpu')
    network.crops(torch.zeros(2, 3, 32, 32))
    assert sizes[-1] == 2


def test_recording_that_fails_is_said_and_done_without(caplog):
    graphs = Graphs(lambda x: x + 1)    # there is no CUDA, or it cannot record a CPU's tensor
    x = torch.zeros(3)
    assert torch.equal(graphs(x), x + 1)
    assert 'no CUDA graph' in caplog.text
    caplog.clear()
    assert torch.equal(graphs(x), x + 1)
    assert not caplog.text


def test_memory_that_is_full_is_not_swallowed(monkeypatch):
    graphs = Graphs(lambda x: x)

    def full(x):
        raise torch.OutOfMemoryError('CUDA out of memory')
    monkeypatch.setattr(graphs, '_record', full)
    with pytest.raises(torch.OutOfMemoryError):
        graphs(torch.zeros(3))


@pytest.mark.parametrize('backend', ['graphs', 'half'])
def test_half_precision_is_for_a_gpu(model, backend):
    with pytest.raises(RuntimeError, match='needs device cuda'):
        Estimator(model, backend=backend)
