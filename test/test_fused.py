"""The fused kernels of the lift against torch's operations, on a GPU or in Triton's interpreter.

Without a GPU: ``pip install triton``, then ``TRITON_INTERPRET=1 pytest test/test_fused.py``.
"""

import os

import pytest
import torch

from lifting_ros.network import fused, weights
from lifting_ros.network.lift import Lift
from lifting_ros.network.rays import soft_peaks

_INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
pytestmark = pytest.mark.skipif(
    fused.triton is None or not (_INTERPRETED or torch.cuda.is_available()),
    reason='needs triton, and CUDA or TRITON_INTERPRET=1')


def beliefs(n, side, device):
    """Maps (n, 17, side, side) with a peak each, some of them faint or at the border."""
    torch.manual_seed(3)
    at = side * (0.15 + 0.7 * torch.rand(n, 17, 2, device=device))
    at[0, 3] = torch.tensor([0.2, side - 1.0])
    height = torch.rand(n, 17, 1, 1, device=device)
    step = torch.arange(side, device=device)
    gx = torch.exp(-(step - at[..., :1]) ** 2 / 6)
    gy = torch.exp(-(step - at[..., 1:]) ** 2 / 4)
    return height * gy[..., None] * gx[:, :, None] + 0.01 * torch.rand(n, 17, side, side,
                                                                       device=device)


@pytest.fixture(scope='module')
def lift():
    """The shipped network's lift, with a few of its modes and headings: interpreting is slow."""
    whole = weights.load(None)[0].lift
    few = Lift(3, whole.dims, 4)
    few.set_prior(whole.mean[:3], whole.basis[:3], whole.variance[:3],
                  torch.exp(whole.log_weight[:3]))
    return few.to('cuda' if torch.cuda.is_available() else 'cpu')


def _plain(lift, belief, camera, last=None):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, 'ready', lambda *_: False)
        return lift.forward(belief, camera, last, last is None)


def _same(plain, ours):
    """Poses, their maps, and what the next stage is told."""
    assert torch.equal(plain[2].turn, ours[2].turn)
    assert torch.equal(plain[2].mode, ours[2].mode)
    assert torch.allclose(plain[0], ours[0], atol=5e-4)      # half a millimetre
    assert torch.allclose(plain[1], ours[1], atol=5e-3)
    assert torch.allclose(plain[2].frame, ours[2].frame, atol=1e-5)
    assert torch.allclose(plain[2].joints, ours[2].joints, atol=5e-4)


@pytest.mark.parametrize('camera', [None, (210.0, 80.0, 120.0)])
def test_a_fused_lift_is_the_lift(lift, camera):
    belief = beliefs(3, 24, lift.mean.device)
    camera = camera and torch.tensor(camera, device=belief.device).expand(3, 3)
    with torch.no_grad():
        first = _plain(lift, belief, camera)
        ours = lift.fused(belief, camera)
        _same(first, ours)
        # the next stage: no search, and doubt by the pose before, here of another's
        belief = belief.flip(0)
        second = _plain(lift, belief, camera, first[2])
        _same(second, lift.fused(belief, camera, ours[2]))
        assert (second[0] - first[0]).abs().max() > 0.01


def test_soft_peaks(lift):
    belief = beliefs(2, 24, lift.mean.device)
    for plain, ours in zip(soft_peaks(belief), fused.peaks(belief), strict=True):
        assert torch.allclose(plain, ours, atol=1e-5)
