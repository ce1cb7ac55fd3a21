"""The lifter's first look in torch: equal to numpy's, and fit for a GPU as far as CPUs tell."""

import logging
import os

import numpy as np
import pytest
import torch
from torch_support import NoHost

from lifting_ros.camera import Camera
from lifting_ros.lifting import Lifter, device, device_check
from lifting_ros.lifting.calibration import Constant
from lifting_ros.lifting.inputs import Sight
from lifting_ros.network import look as looks
from lifting_ros.network import look_fused
from lifting_ros.network.elimination import bordered_inverse
from lifting_ros.skeleton import INDEX, LSP_JOINTS, NUM_JOINTS

FEW = [INDEX[n] for n in ('neck', 'head_top', 'left_shoulder', 'right_shoulder')]


@pytest.fixture(scope='module')
def lifter():
    return Lifter.from_pretrained()


@pytest.fixture(scope='module')
def believer(lifter):
    return lifter._way


@pytest.fixture(scope='module')
def way(believer):
    return device.OnDevice(believer, looks.Look(believer, 'cpu'))


def first_look(believer, sight):
    """Numpy's answer without a second look, and the posterior that it is of."""
    found = believer.found(sight, second=False)
    return believer.in_metres(believer.described(found, sight), sight), found


def changed(sight, **fields):
    return Sight(**{**vars(sight), **fields})


def hidden(sight, shown):
    """A sight of which only some joints are seen."""
    seen = np.isin(np.arange(NUM_JOINTS), shown) & (sight.weight > 0)
    sight = sight[np.flatnonzero(seen.sum(1) >= 4)]     # fewer are not lifted
    seen = seen[seen.sum(1) >= 4][..., None]
    middle = np.where(seen, sight.rays, 0).sum(1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    return changed(sight, weight=np.where(seen[..., 0], sight.weight, 0), middle=middle,
                   rays=np.where(seen, sight.rays, middle[:, None]))


def steep(sight):
    """Everybody straight below the camera."""
    return changed(sight, up=-sight.middle)


def sharp(sight):
    """Keypoints with covariances of half a pixel."""
    return changed(sight, covariance=np.broadcast_to(0.25 * np.eye(2), sight.covariance.shape))


def slanted(sight):
    """Keypoints whose errors are long along a line, and a camera with skew."""
    skewed = Camera([[560, 30, 319.5], [0, 565, 239.5], [0, 0, 1]], 640, 480)
    return changed(sight, camera=skewed, covariance=np.broadcast_to(
        [[40.0, 18.0], [18.0, 9.0]], sight.covariance.shape))


def tilted(sight):
    """Cameras that are rolled and pitched, gravity known."""
    rng = np.random.default_rng(3)
    up = rng.normal(0, 0.6, (len(sight), 3)) - [0, 1.0, 0]
    return changed(sight, up=up / np.linalg.norm(up, axis=1, keepdims=True))


SCENES = {
    'as drawn': lambda s: s, 'fourteen joints': lambda s: hidden(s, LSP_JOINTS),
    'four joints': lambda s: hidden(s, FEW), 'pelvis and spine': lambda s: hidden(
        s, [0, 7, 1, 4, 8, 9]), 'from above': steep, 'exact': sharp, 'slanted noise': slanted,
    'tilted': tilted}


@pytest.mark.parametrize('kind', SCENES)
def test_the_twin_is_numpy(kind, believer, way):
    for seed in range(2):
        sight = SCENES[kind](device_check.drawn(believer.prior, 40, seed))
        plain, found = first_look(believer, sight)
        ours, again = way.metres(sight)
        off, part = device_check.difference(ours, plain)
        assert off < 1e-3 and part < 2e-3       # a millimetre, a five-hundredth of the variance
        np.testing.assert_allclose(ours.fit, plain.fit, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(ours.scale_source, plain.scale_source)
        other, again_too = way.found(sight)
        np.testing.assert_array_equal(again, again_too)
        np.testing.assert_allclose(other.mean, found.mean, atol=1e-3)
        scale = np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
        np.testing.assert_allclose(other.covariance / scale[:, None] / scale[..., None],
                                   found.covariance / scale[:, None] / scale[..., None],
                                   atol=5e-3)
        for name in ('square', 'weight', 'stretched', 'strange', 'odd'):
            np.testing.assert_allclose(getattr(other, name), getattr(found, name), rtol=1e-2,
                                       atol=1e-2, err_msg=name)


def test_nonsense_is_found_out(believer, way):
    """Keypoints of other joints."""
    sight = device_check.drawn(believer.prior, 40)
    order = np.random.default_rng(2).permutation(NUM_JOINTS)
    sight = changed(sight, **{name: getattr(sight, name)[:, order]
                              for name in ('rays', 'weight', 'covariance')})
    assert way.metres(sight)[1].mean() > 0.9
    plain, _ = first_look(believer, sight)
    assert not plain.ok.all()
    whole = believer(sight[np.arange(40)])
    assert 0 < whole.ok.sum() < 40
    np.testing.assert_array_equal(way(sight).ok, whole.ok)


def test_both_kinds_of_gravity_and_stature_are_drawn(believer):
    sight = device_check.drawn(believer.prior)
    known = np.isfinite(sight.up).all(1)
    assert known.any() and not known.all()
    assert np.isfinite(sight.stature).any() and not np.isfinite(sight.stature).all()
    assert (sight.weight == 0).any()


def test_single_precision_is_enough(believer, way):
    """Solved in double precision the twin says the same: what is left is the density's."""
    double = looks.Look(believer, 'cpu', dtype=torch.float64)
    for kind, change in SCENES.items():
        sight = change(device_check.drawn(believer.prior, 40))
        rows = device.packed(sight, believer.prior.stature)
        single, exact = way.look(rows), double(rows)
        joints = slice(39, 39 + 3 * NUM_JOINTS)
        assert np.abs(single[:, joints] - exact[:, joints]).max() < 1e-4, kind


def test_people_do_not_know_of_one_another(believer, way):
    rows = device.packed(device_check.drawn(believer.prior, 21), believer.prior.stature)
    order = np.random.default_rng(0).permutation(21)
    for whole in (False, True):
        all_ = way.look(rows, whole)
        scale = np.abs(all_).max(0) + 1e-3
        assert np.abs(way.look(rows[order], whole) / scale - all_[order] / scale).max() < 1e-3


def test_batches_are_filled_up_and_what_fills_them_changes_nothing(believer, monkeypatch):
    look = looks.Look(believer, 'cpu')
    module = look._ways[False].module
    sizes, plain = [], module.forward
    monkeypatch.setattr(module, 'forward', lambda x: sizes.append(len(x)) or plain(x))
    rows = device.packed(device_check.drawn(believer.prior, 67), believer.prior.stature)
    all_ = look(rows)
    assert sizes == [64, 4] and all_.shape == (67, 39 + NUM_JOINTS * 12)
    alone = np.concatenate([look(rows[i:i + 1]) for i in (0, 64, 66)])
    np.testing.assert_allclose(all_[[0, 64, 66]], alone, rtol=1e-3, atol=1e-4)
    assert look(rows[:0]).shape == (0, 39 + NUM_JOINTS * 12)


@pytest.mark.parametrize('whole', [False, True])
def test_nothing_asks_the_host_and_kernels_are_few(whole, believer):
    """Where Triton inverts there are fewer than 350 kernels, views not counted."""
    def one_kernel(square):
        return square.clone(), square[:, 0, 0].clone()
    for inverse, most in ((one_kernel, 350), (bordered_inverse, 450)):
        module = looks.FirstLook(believer, whole, inverse=inverse).to('meta')
        rows = torch.empty(4, looks.ROW, device='meta')
        with torch.no_grad():       # in inference mode what is composed would count as one
            module(rows)            # what is made once is made here
            with NoHost() as watched:
                out = module(rows)
        assert out.device.type == 'meta' and out.dtype == torch.float32
        assert watched.forbidden == []
        assert 100 < watched.kernels < most


def test_a_lifter_with_the_twin_lifts_the_same(lifter, believer, way):
    """Second looks, the ground, depth and given statures among it."""
    twin = Lifter(lifter.prior, density=lifter.density)
    twin._way = way
    sight = device_check.drawn(lifter.prior, 40, 5)
    keypoints = sight.camera.project(sight.rays * 3)
    keypoints[::4, [INDEX['left_knee'], INDEX['right_knee']]] = keypoints[
        ::4, [INDEX['right_knee'], INDEX['left_knee']]]
    keypoints[1::4, INDEX['left_wrist']] += 60
    told = dict(keypoints=keypoints, confidence=sight.weight, camera=sight.camera)
    wall = np.full((480, 640), 3.1)
    for more in ({}, {'up': [0, -1.0, 0]}, {'stature': 1.7},
                 {'up': [0, -1.0, 0], 'camera_height': 1.4}, {'depth': wall}):
        plain, ours = lifter.lift(**told, **more), twin.lift(**told, **more)
        lifted = np.isfinite(plain.joints[:, 0, 0])
        assert lifted.mean() > 0.5
        np.testing.assert_array_equal(lifted, np.isfinite(ours.joints[:, 0, 0]))
        np.testing.assert_allclose(ours.joints, plain.joints, atol=2e-3)
        size = np.trace(plain.covariance, axis1=-2, axis2=-1)[..., None, None]
        assert np.nanmax(np.abs(ours.covariance - plain.covariance) / size) < 2e-2
        np.testing.assert_allclose(ours.log_likelihood, plain.log_likelihood, atol=5e-3)
        np.testing.assert_array_equal(ours.source, plain.source)
        np.testing.assert_array_equal(ours.scale_source, plain.scale_source)


def test_a_twin_that_is_right_is_taken(lifter):
    own = Lifter(lifter.prior, density=lifter.density, calibration=lifter._way.factors)
    assert own.device == 'cpu' and own._way.__class__.__name__ == 'Believer'
    assert looks.lift_on(own, 'cpu')
    assert isinstance(own._way, device.OnDevice)
    assert own.device == 'cpu'


@pytest.mark.parametrize('part', ['density.first.weight', 'conditioning.made', 'told.mean',
                                  'metres.out', 'metres.by_scale'])
def test_a_wrong_twin_is_not_trusted(part, believer, monkeypatch, caplog):
    class Broken(looks.FirstLook):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            tensors = dict([*self.named_buffers(), *self.named_parameters()])
            tensors[part].mul_(1.2)
    monkeypatch.setattr(looks, 'FirstLook', Broken)
    assert device.quick(believer, looks.Look, 'cpu') is believer
    assert 'the CPU lifts' in caplog.text and 'mm' in caplog.text


def test_a_twin_that_raises_or_says_nothing_is_not_trusted(believer, monkeypatch, caplog):
    def fails(self, rows):
        raise RuntimeError('CUDA error: no kernel image is available')
    monkeypatch.setattr(looks.FirstLook, 'forward', fails)
    assert device.quick(believer, looks.Look, 'cpu') is believer
    assert 'no kernel image' in caplog.text
    monkeypatch.setattr(looks.FirstLook, 'forward',
                        lambda self, rows: torch.full((len(rows), 4000), torch.nan))
    assert device.quick(believer, looks.Look, 'cpu') is believer


def test_a_fused_kernel_that_fails_leaves_torchs(believer):
    tried = []

    class Fused(looks.Look):
        def __init__(self, believer, where, fused):
            tried.append(fused)
            if fused:
                raise RuntimeError('no C compiler')
            super().__init__(believer, where, fused)
    assert isinstance(device.quick(believer, Fused, 'cpu'), device.OnDevice)
    assert tried == [True, False]


def test_a_device_that_fails_later_is_left(believer, caplog):
    class Failing:
        device = 'cuda'

        def __call__(self, rows, whole=False):
            raise torch.OutOfMemoryError('CUDA out of memory')
    way = device.OnDevice(believer, Failing())
    sight = device_check.drawn(believer.prior)
    with caplog.at_level(logging.WARNING):
        out = way(sight)
    np.testing.assert_array_equal(out.joints, believer(device_check.drawn(believer.prior)).joints)
    assert 'out of memory' in caplog.text and way.look is None


def test_what_the_twin_does_not_know_is_numpys(lifter, caplog):
    plain = Lifter(lifter.prior, density=lifter.density)        # no learned calibration
    assert isinstance(plain._way.factors, Constant)
    assert not looks.lift_on(plain, 'cpu')
    assert not isinstance(plain._way, device.OnDevice)
    assert 'learned calibration' in caplog.text
    search = Lifter(lifter.prior)
    assert not looks.lift_on(search, 'cpu')
    assert search.device == 'cpu'


def test_the_bench_prints_whole_batches():
    from lifting_ros.evaluation import bench_lift
    try:
        figures = bench_lift.on_device('cpu', 1, (1, 4))
    except OSError:
        pytest.skip('the demo clip is not beside the package')
    assert figures.keys() == {'numpy', 'torch, cpu'}
    lines = bench_lift.report({'batch on': figures}).splitlines()
    assert len(lines) == 4 and all('ms, looks on' in line for line in lines)
    assert [' looked at twice' in line for line in lines] == [False, False, True, True]
    assert all(0 <= row['twice'] <= 1 for row in figures['torch, cpu'].values())
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match='not lifted on cuda'):
            bench_lift.on_device('cuda', 1, (1,))


def systems(n, where='cpu'):
    """Positive definite matrices (5, n, n), half of the directions far better known."""
    torch.manual_seed(n)
    x = torch.randn(5, n, n // 2, device=where)
    return torch.eye(n, device=where) + 1e2 * x @ x.mT


@pytest.mark.parametrize('n', [3, 12, 24])
def test_inverses(n):
    a = systems(n)
    want = torch.linalg.inv(a.double())
    inverse, log = bordered_inverse(a)
    assert (inverse - want).abs().max() < 1e-3 * want.abs().max()
    assert torch.allclose(log.double(), torch.logdet(a.double()), atol=1e-2)


@pytest.mark.skipif(
    look_fused.triton is None or not (os.environ.get('TRITON_INTERPRET') == '1'
                                      or torch.cuda.is_available()),
    reason='needs triton, and CUDA or TRITON_INTERPRET=1')
@pytest.mark.parametrize('n', [3, 12, 24])
def test_fused_inverses(n):
    """On a GPU or in Triton's interpreter, see ``test_fused.py``."""
    a = systems(n, 'cuda' if torch.cuda.is_available() else 'cpu')
    want = torch.linalg.inv(a.double())
    inverse, log = look_fused.inverse(a)
    assert (inverse - want).abs().max() < 1e-3 * want.abs().max()
    assert torch.allclose(log.double(), torch.logdet(a.double()), atol=1e-2)
