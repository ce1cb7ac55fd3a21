"""Exported networks say what the network says; the export command writes usable files."""

import numpy as np
import pytest
import torch

from lifting_ros.cli import main
from lifting_ros.network import BeliefNet, Config, Estimator, weights
from lifting_ros.network.crops import cut, normalise
from lifting_ros.network.export import CropGraph, WholeGraph, to_onnx, to_torchscript

SIDE = 128


class Beliefs(torch.nn.Module):
    """Crops to the belief maps themselves, which the shipped graphs decode."""

    names = ('belief',)

    def __init__(self, model):
        super().__init__()
        self.model, self.axes = model, {0: 'people'}
        self.example = torch.zeros(2, 3, SIDE, SIDE)

    def forward(self, x):
        return torch.sigmoid(self.model(x).logits[-1])


@pytest.fixture(scope='module')
def model():
    """A small network whose maps have clear peaks and whose later stages do something."""
    torch.manual_seed(4)
    model = BeliefNet(Config(stages=2, channels=8, layers=1, size=SIDE, lift_modes=3,
                             lift_headings=4)).eval().requires_grad_(False)
    for stage in model.stages:
        torch.nn.init.normal_(stage.out.weight, std=0.05)
    x = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    heat = model.head['heatmap'](model.trunk(x)[0])
    spread = heat.std((0, 2, 3))
    for part, some in ((model.head['heatmap'].out, slice(0, 17)),
                       (model.head['heatmap'].more, slice(17, 21))):
        part.weight.mul_(0.5 / spread[some, None, None, None])
        part.bias.fill_(-1)
    return model


@pytest.fixture(scope='module')
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'network.safetensors'
    weights.save(model, path)
    return path


@pytest.fixture(scope='module')
def onnx_run():
    from lifting_ros.network.export import OnnxRunner
    return lambda graph: OnnxRunner(to_onnx(graph), 1)


def _crops(n):
    noise = torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(n))
    x = torch.nn.functional.interpolate(noise, (SIDE, SIDE), mode='bilinear')
    return x * 2 - 1


def test_onnxruntimes_own_operations_say_the_same(model):
    import onnx

    from lifting_ros.network.export import OnnxRunner
    plain, own = (to_onnx(CropGraph(model), only) for only in (False, True))
    domains = [{n.domain for n in onnx.load_from_string(d).graph.node} for d in (plain, own)]
    assert domains == [{''}, {'', 'com.microsoft'}]
    x = _crops(3)
    for a, b in zip(OnnxRunner(plain, 1)(x), OnnxRunner(own, 1)(x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def test_onnx_belief_maps_are_torchs(model, onnx_run):
    """Two people were traced; one and three must come out the same."""
    graph = Beliefs(model)
    runner = onnx_run(graph)
    for n in (1, 3):
        x = _crops(n)
        ours = graph(x).numpy()
        assert ours.std() > 0.02            # else equality says nothing
        np.testing.assert_allclose(runner(x.numpy())[0], ours, atol=1e-3)


def _clear(estimator, image, boxes):
    """Whether a map's maximum is above all that is 3 cells and more away: (N, 17) bool."""
    crops, _, _ = cut(image, boxes, SIDE, estimator.config.margin)
    with torch.no_grad():
        belief = torch.sigmoid(estimator.model(normalise(crops)).logits[-1][:, :17])
    top, index = belief.flatten(2).max(2)
    near = torch.zeros_like(belief).flatten(2).scatter(2, index[..., None], 1).view_as(belief)
    near = torch.nn.functional.max_pool2d(near, 5, 1, 2)
    return (top - (belief * (1 - near)).amax((2, 3)) > 2e-3).numpy()


def test_onnx_estimator_is_torchs(file, onnx_run):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    boxes = np.array([[20.0, 20, 140, 220], [100, 10, 300, 200], [200, 60, 310, 230]])
    one, two = (Estimator.from_pretrained(file, backend=b) for b in ('onnx', 'torch'))
    assert (one.backend, two.backend) == ('onnx', 'torch')
    for some in (boxes[:1], boxes):
        a, b = one.keypoints(image, some), two.keypoints(image, some)
        np.testing.assert_allclose(a.confidence, b.confidence, atol=1e-3)
        # noise is no person: a map whose second peak is as high as its first may have either
        clear = _clear(two, image, some)
        assert clear.mean() > 0.25
        assert np.abs(a.xy - b.xy)[clear].max() < 0.5
        np.testing.assert_allclose(a.covariance[clear], b.covariance[clear], rtol=0.02, atol=0.5)
    for a, b in zip(one.find(image, 0.05), two.find(image, 0.05)):
        np.testing.assert_allclose(a, b, atol=0.5)


def test_torchscript_is_the_network(model, tmp_path):
    for kind, x in ((CropGraph, _crops(2)), (WholeGraph, torch.rand(1, 3, 128, 192))):
        graph = kind(model)
        to_torchscript(graph).save(str(tmp_path / 'graph.pt'))
        back = torch.jit.load(str(tmp_path / 'graph.pt'))
        for theirs, ours in zip(back(x), graph(x)):
            torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize('form, part', [('torchscript', 'crops'), ('torchscript', 'whole'),
                                        ('onnx', 'crops')])
def test_command_writes_a_file_that_runs(file, tmp_path, capsys, form, part):
    out = tmp_path / 'network.bin'
    assert main(['export', '--format', form, '--part', part, '--weights', str(file),
                 '--out', str(out)]) == 0
    said = capsys.readouterr().out
    assert str(out) in said and 'RGB / 127.5 - 1' in said
    model, _ = weights.load(file)
    graph = {'crops': CropGraph, 'whole': WholeGraph}[part](model)
    x = _crops(3 if form == 'onnx' else 2)[:1 if part == 'whole' else None]
    with torch.no_grad():
        expected = graph(x)
    if form == 'onnx':
        from lifting_ros.network.export import OnnxRunner
        found = OnnxRunner(out.read_bytes(), 1)(x.numpy())
    else:
        found = torch.jit.load(str(out))(x)
    assert len(found) == len(expected) == len(graph.names)
    np.testing.assert_allclose(np.asarray(found[1]), expected[1].numpy(), atol=1e-3, rtol=1e-3)


def test_command_says_which_file_is_missing(tmp_path, capsys):
    assert main(['export', '--weights', str(tmp_path / 'none.safetensors'),
                 '--out', str(tmp_path / 'x')]) == 1
    assert 'none.safetensors' in capsys.readouterr().err
    assert not (tmp_path / 'x').exists()
