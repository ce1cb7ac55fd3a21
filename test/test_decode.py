"""Decoding of drawn belief maps: place, covariance, and maps that say nothing."""

import numpy as np
import pytest
import torch

from lifting_ros.network.decode import decode


def _gaussian(places, sigma=1.0, size=64, along=None):
    """Gaussians of ``sigma`` cells at px of the crop; ``along`` (2, 2) cells^2 instead."""
    inverse = np.linalg.inv(np.eye(2) * sigma ** 2 if along is None else along)
    grid = 4 * np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1) + 1.5   # (h, w, 2)
    d = (grid - np.asarray(places)[..., None, None, :]) / 4
    return torch.from_numpy(np.exp(-0.5 * np.einsum('...i,ij,...j', d, inverse, d))).float()


@pytest.mark.parametrize('height', [1.0, 0.4])
def test_peaks_to_a_tenth_of_a_pixel(height):
    rng = np.random.default_rng(0)
    places = rng.uniform(30, 220, (6, 17, 2))
    xy, confidence, _ = decode(height * _gaussian(places))
    error = np.linalg.norm(xy.numpy() - places, axis=2)
    assert error.mean() < 0.1 and error.max() < 0.25
    assert confidence.max() <= height and confidence.min() > 0.7 * height


@pytest.mark.parametrize('angle', [0.0, 0.6, 2.2])
def test_covariance_has_the_shape_of_the_peak(angle):
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    along = turn @ np.diag([2.2 ** 2, 1.1 ** 2]) @ turn.T
    _, _, covariance = decode(_gaussian([[[128.0, 120.0]]], along=along))
    found = covariance[0, 0].double().numpy() / 16
    values, vectors = np.linalg.eigh(found)
    assert abs(vectors[:, 1] @ turn[:, 0]) > 0.99           # the long axis lies where drawn
    # the level that is taken off narrows a peak by a fifth or so
    assert 0.6 * 1.1 < np.sqrt(values[0]) < 1.1 * 1.1
    assert 0.6 * 2.2 < np.sqrt(values[1]) < 1.1 * 2.2
    np.testing.assert_allclose(found, found.T)


def test_two_equal_peaks_reach_one_another():
    left, right = np.array([110.0, 128.0]), np.array([134.0, 128.0])
    belief = torch.maximum(_gaussian([[left]]), _gaussian([[right]]))
    xy, _, covariance = decode(belief)
    distance = min(np.linalg.norm(xy[0, 0].numpy() - p) for p in (left, right))
    assert distance < 0.3                                     # one of them, not between them
    # half the mass lies 24 px away: sqrt(24^2 / 2) = 17 px
    assert covariance[0, 0, 0, 0].sqrt() > 0.9 * 24 / np.sqrt(2)
    assert covariance[0, 0, 1, 1].sqrt() < 8


@pytest.mark.parametrize('fill', [0.0, 0.5, 1.0])
def test_flat_maps_give_finite_numbers(fill):
    for value in decode(torch.full((2, 3, 24, 40), fill)):
        assert torch.isfinite(value).all()


def test_peaks_at_the_border_stay_inside():
    places = np.array([[[1.5, 1.5], [253.5, 1.5], [1.5, 253.5], [253.5, 253.5], [-3, 128]]])
    xy, _, covariance = decode(_gaussian(places))
    assert (xy >= 1.4).all() and (xy <= 253.6).all()
    assert (torch.linalg.eigvalsh(covariance) > 0).all()


def test_maps_do_not_mix_and_follow_their_order():
    rng = np.random.default_rng(1)
    belief = _gaussian(rng.uniform(40, 210, (3, 5, 2)))
    order = torch.tensor([2, 0, 1])
    for a, b in zip(decode(belief[order]), decode(belief)):
        torch.testing.assert_close(a, b[order])


def test_a_joint_is_where_most_belief_is_gathered():
    at = np.array([[[48.0, 160.0]]]), np.array([[[176.0, 80.0]]])
    sharp, broad = _gaussian(at[0], sigma=0.5), 0.7 * _gaussian(at[1], sigma=2.0)
    xy, confidence, _ = decode(0.9 * sharp + broad)
    assert np.allclose(xy[0, 0], at[1][0, 0], atol=0.5)
    assert confidence[0, 0] == pytest.approx(0.7, abs=0.03)
    # of two as broad the higher one is taken
    xy, _, _ = decode(0.9 * _gaussian(at[0], sigma=2.0) + broad)
    assert np.allclose(xy[0, 0], at[0][0, 0], atol=0.5)
