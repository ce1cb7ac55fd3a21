"""The paper's member: shapes, its layers' sizes, and gradients through the lift."""

import pytest
import torch
import torch.nn.functional as F

from lifting_ros.network.cpm import TRUNK, CpmConfig, CpmNet

TINY = {'stages': 3, 'channels': 8, 'size': 64, 'width': 1 / 8, 'lift_modes': 2, 'lift_dims': 3,
        'lift_headings': 4}


@pytest.fixture
def figure():
    """A prior of one standing figure and some bends of it."""
    rng = torch.Generator().manual_seed(0)
    mean = 0.3 * torch.randn(2, 17, 3, generator=rng)
    basis = 0.05 * torch.randn(2, 3, 17, 3, generator=rng)
    return mean.numpy(), basis.numpy(), [1e-3, 2e-3], [0.6, 0.4]


def _net(figure, **changes):
    torch.manual_seed(3)
    net = CpmNet(CpmConfig(**{**TINY, **changes}))
    net.lift.set_prior(*figure)
    return net


@pytest.mark.parametrize('linear', [False, True])
@pytest.mark.parametrize('size', [64, 96])
def test_shapes(figure, linear, size):
    maps = _net(figure, linear=linear)(torch.rand(2, 3, size, size))
    cells = size // 8
    assert [m.shape for m in maps.logits] == [(2, 18, cells, cells)] * 3
    assert maps.extras.shape == (2, 4, cells, cells) and maps.coarse.shape == (2, 17, 2)
    assert [m.shape for m in maps.lifts] == [(2, 17, 3)] * 2
    assert [m.shape for m in maps.projected] == [(2, 17, cells, cells)] * 2
    assert all(torch.isfinite(m).all() for m in maps.logits)


def test_the_papers_layers():
    with torch.device('meta'):
        net = CpmNet.__new__(CpmNet)
        CpmNet.__init__(net, CpmConfig(lift_modes=1, lift_dims=1, lift_headings=1))
    assert [net.trunk[n].out_channels for n, _, _ in TRUNK] == (
        [64] * 2 + [128] * 2 + [256] * 4 + [512] * 2 + [256] * 4 + [128])
    for t in range(2, 7):
        layers = [net.later[f'Mconv{i}_stage{t}'] for i in range(1, 8)]
        assert [la.kernel_size[0] for la in layers] == [7] * 5 + [1] * 2
        assert [la.out_channels for la in layers] == [128] * 6 + [18]
        assert layers[0].in_channels == 18 + 128 + 1


def test_lifted_maps_lie_where_the_fine_ones_do(figure):
    """A peak's place in px is the same whether it is drawn in cells of 8 px or of 4."""
    net = _net(figure)
    belief = torch.zeros(1, 17, 8, 8)
    belief[:, torch.arange(17), torch.arange(17) % 7, (3 * torch.arange(17)) % 7] = 1.0
    fine = F.interpolate(belief, scale_factor=2.0, mode='bilinear', align_corners=False)
    pose, drawn = net.lifted(belief, None)
    again, sharp = net.lift(fine, None)[:2]
    torch.testing.assert_close(pose, again)
    assert drawn.shape == belief.shape
    top = sharp.flatten(2).argmax(2)
    coarse = drawn.flatten(2).argmax(2)
    torch.testing.assert_close(coarse % 8, (top % 16) // 2)
    torch.testing.assert_close(coarse // 8, (top // 16) // 2)


@pytest.mark.parametrize('linear', [False, True])
def test_gradients_flow_through_the_lift(figure, linear):
    """The last pose depends on the trunk, and what is fused on the weights of the fusion."""
    net = _net(figure, linear=linear)
    maps = net(torch.rand(2, 3, 64, 64))
    maps.lifts[-1].square().sum().backward()
    first = net.trunk['conv1_1'].weight.grad
    assert torch.isfinite(first).all() and first.abs().max() > 0
    net.zero_grad()
    net(torch.rand(2, 3, 64, 64)).logits[-1].square().mean().backward()
    assert net.fusion.grad.abs().max() > 0
    for name, value in net.named_parameters():
        if not name.startswith('extras'):
            assert torch.isfinite(value.grad).all(), name


def test_a_linear_map_learns_below_its_floor():
    """Where a linear belief is negative the logit is bounded, the gradient is not lost."""
    net = CpmNet(CpmConfig(**{**TINY, 'linear': True}))
    raw = torch.full((1, 18, 2, 2), -0.5, requires_grad=True)
    belief, logits = net.beliefs(raw)
    assert torch.equal(belief, raw)
    ((torch.sigmoid(logits) - 1) ** 2).sum().backward()
    assert (raw.grad < -0.5).all()


def test_without_lift_nothing_is_fused():
    net = CpmNet(CpmConfig(**{**TINY, 'lift': False}))
    maps = net(torch.rand(1, 3, 64, 64))
    assert not maps.lifts and not maps.fused and len(maps.logits) == 3
