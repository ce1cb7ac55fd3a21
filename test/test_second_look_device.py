"""The lifter's second look in torch: it reads keypoints as numpy does, and lifts them the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch_support import NoHost

from lifting_ros.lifting import Lifter, device, device_check
from lifting_ros.lifting.believe import PLAIN
from lifting_ros.network import look as looks
from lifting_ros.network.elimination import bordered_inverse


@pytest.fixture(scope='module')
def believer():
    return Lifter.from_pretrained()._way


@pytest.fixture
def way(believer):
    return device.OnDevice(believer, looks.Look(believer, 'cpu'))


def copies(believer, seed=0, n=48):
    """Twice the same people, with errors."""
    return [device_check.exchanged(device_check.drawn(believer.prior, n, seed), seed)
            for _ in range(2)]


def read_alike(one, other):
    """Who is read the same in two sights (N,)."""
    return (one.weight == other.weight).all(1) & (one.rays == other.rays).all((1, 2))


@pytest.mark.parametrize('height', [np.nan, 1.5])
def test_errors_are_read_as_numpy_reads_them(height, believer, way, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError('numpy looked')
    total, corrected, other, limbs, dropped = 0, 0, 0, 0, 0
    for seed in range(3):
        plain, ours = (replace(s, height=np.full(48, height)) for s in copies(believer, seed))
        before = device_check.exchanged(device_check.drawn(believer.prior, 48, seed), seed)
        want = believer(plain)
        with monkeypatch.context() as patch:
            patch.setattr(believer.__class__, 'found', never)
            got = way(ours)
        assert way.look is not None
        same, changed = read_alike(plain, ours), ~read_alike(plain, before)
        total, other = total + 48, other + (~same).sum()
        corrected += changed.sum()
        dropped += ((before.weight > 0).sum(1) > (plain.weight > 0).sum(1)).sum()
        limbs += (changed & ((before.weight > 0).sum(1) == (plain.weight > 0).sum(1))).sum()
        both = same & changed
        off, part = device_check.difference(got[both], want[both])
        assert off < 2e-3 and part < 2e-2
        np.testing.assert_allclose(got.fit[both], want.fit[both], atol=5e-3)
        np.testing.assert_array_equal(got.ok[same], want.ok[same])
        np.testing.assert_array_equal(got.by_depth[same], want.by_depth[same])
        np.testing.assert_array_equal(got.scale_source[same], want.scale_source[same])
    assert corrected > 30 and limbs > 10 and dropped > 5
    assert other <= 0.02 * total


def test_batches_of_it_are_filled_up(believer, way):
    """What is beside a person changes nothing, nor do more people than a batch holds."""
    sight = copies(believer)[0]
    _, rows = told, _ = way._look(sight, False)
    rows = device.Numbers(rows)
    again = np.concatenate((told, device.proposals(rows, sight.weight)), 1)
    assert len(again) > looks.AGAIN[-1]
    all_ = way.look.again(again)
    assert 3 < (all_[:, 0] != PLAIN).sum() < 45
    alone = np.concatenate([way.look.again(again[i:i + 1]) for i in (0, 1, 16, 17, 40)])
    np.testing.assert_allclose(all_[[0, 1, 16, 17, 40]], alone, rtol=2e-3, atol=2e-3)
    assert way.look.again(again[:0]).shape == (0, all_.shape[1])


@pytest.mark.parametrize('whole', [False, True])
def test_nothing_asks_the_host(whole, believer):
    def one_kernel(square):
        return square.clone(), square[:, 0, 0].clone()
    for inverse, most in ((one_kernel, 560), (bordered_inverse, 760)):
        module = looks.SecondLook(looks.FirstLook(believer, whole, inverse=inverse)).to('meta')
        rows = torch.empty(4, looks.ROW + sum(looks.TOLD), device='meta')
        with torch.no_grad():
            module(rows)
            with NoHost() as watched:
                out = module(rows)
        assert out.device.type == 'meta' and out.dtype == torch.float32
        assert watched.forbidden == []
        assert 200 < watched.kernels < most


@pytest.mark.parametrize('part', ['swap_cost', 'most', 'orders'])
def test_a_wrong_second_look_is_numpys(part, believer, monkeypatch, caplog):
    class Broken(looks.SecondLook):
        def __init__(self, first):
            super().__init__(first)
            tensor = dict(self.named_buffers())[part]
            tensor.copy_(tensor.flip(0) if part == 'orders' else -20 + 0 * tensor)
    monkeypatch.setattr(looks, 'SecondLook', Broken)
    way = device.quick(believer, looks.Look, 'cpu')
    assert isinstance(way, device.OnDevice) and not way.second
    assert 'second looks are not taken' in caplog.text
    plain, ours = copies(believer)
    want, got = believer(plain), way(ours)
    assert read_alike(plain, ours).all()
    changed = ~read_alike(plain, copies(believer)[0])
    assert changed.sum() > 5
    np.testing.assert_array_equal(got.joints[changed], want.joints[changed])


def test_a_right_second_look_is_taken(believer, caplog):
    way = device.quick(believer, looks.Look, 'cpu')
    assert way.second and caplog.text == ''


def test_a_second_look_that_fails_later_is_left(believer, way, caplog, monkeypatch):
    def fails(rows, whole=False):
        raise torch.OutOfMemoryError('CUDA out of memory')
    monkeypatch.setattr(way.look, 'again', fails)
    plain, ours = copies(believer)
    np.testing.assert_array_equal(way(ours).joints, believer(plain).joints)
    assert way.look is None and 'out of memory' in caplog.text
