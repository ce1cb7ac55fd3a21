"""A second look at people who are not upright: turns there and back."""

import numpy as np
import pytest
import torch

from lifting_ros.network import BeliefNet, Config, Estimator
from lifting_ros.network.upright import quarter_turns, turned, turned_back
from lifting_ros.skeleton import INDEX, NUM_JOINTS

_SIZE = 64


def _marked(places, size=_SIZE):
    """A crop (3, S, S), black but for a pixel of its own value at each joint."""
    crop = torch.zeros(3, size, size)
    for joint, (x, y) in enumerate(places):
        crop[0, y, x] = joint + 1.0
    return crop


def _read(crops):
    """Places (N, 17, 2) of the marks."""
    out = np.zeros((len(crops), NUM_JOINTS, 2))
    for crop, places in zip(crops, out):
        for joint in range(NUM_JOINTS):
            y, x = np.argwhere(crop[0].numpy() == joint + 1)[0]
            places[joint] = x, y
    return out


def _person(rng, tilt):
    """Joints at random places, the neck over the pelvis, then all turned clockwise by degrees."""
    cells = rng.permutation(16 ** 2)[:NUM_JOINTS]
    xy = 2.0 * np.stack((cells % 16, cells // 16), 1) - 15     # two apart: none fall together
    xy[INDEX['neck']], xy[INDEX['pelvis']] = (2, -19), (2, 19)
    a = np.radians(tilt)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return np.rint(xy @ turn.T + (_SIZE - 1) / 2).astype(int)


@pytest.mark.parametrize('tilt, turns', [(0, 0), (40, 0), (-40, 0), (50, 1), (90, 1), (180, 2),
                                         (170, 2), (-90, 3), (-60, 3)])
def test_the_turn_that_sets_the_trunk_upright(tilt, turns):
    xy = _person(np.random.default_rng(0), tilt)[None].astype(float)
    assert quarter_turns(xy) == [turns]
    assert quarter_turns(_read(turned(_marked(xy[0].astype(int))[None], [turns]))) == [0]


def test_keypoints_of_turned_crops_are_those_of_the_crops():
    rng = np.random.default_rng(1)
    people = np.stack([_person(rng, 0) for _ in range(4)])
    turns = np.arange(4)
    crops = turned(torch.stack([_marked(p) for p in people]), turns)
    # a covariance wide along x of the picture is wide along y of one turned a quarter
    wide = np.tile(np.diag([9.0, 1.0]), (4, NUM_JOINTS, 1, 1))
    wide[1::2] = np.diag([1.0, 9.0])
    xy, covariance = turned_back(_read(crops), wide, turns, _SIZE)
    np.testing.assert_allclose(xy, people, atol=1e-9)
    np.testing.assert_allclose(covariance, np.tile(np.diag([9.0, 1.0]), (4, NUM_JOINTS, 1, 1)),
                               atol=1e-9)


@pytest.fixture(scope='module')
def estimator():
    """One whose network reads the marks, sure of whoever is upright only."""
    made = Estimator(BeliefNet(Config(stages=1, size=_SIZE)), backend='torch')
    made.seen = []

    def graph(x):
        made.seen.append(len(x))
        xy = _read(x)
        upright = quarter_turns(xy) == 0
        confidence = np.where(upright, 0.8, 0.8 - made.worth)[:, None].repeat(NUM_JOINTS, 1)
        spread = np.tile(np.diag([4.0, 1.0]), (len(x), NUM_JOINTS, 1, 1))
        return [torch.from_numpy(v) for v in (xy, confidence, spread)]
    made.crops = graph
    return made


@pytest.mark.parametrize('worth, taken', [(0.3, True), (0.01, False)])
def test_who_is_not_upright_is_looked_at_again(estimator, worth, taken):
    rng = np.random.default_rng(2)
    people = [_person(rng, tilt) for tilt in (0, 90, 20, 180)]
    x = torch.stack([_marked(p) for p in people])
    estimator.worth = worth
    estimator.seen.clear()
    xy, confidence, covariance = estimator._look(x)
    assert estimator.seen == [4, 2]          # all at once, then the two that lie
    np.testing.assert_allclose(xy, np.stack(people), atol=1e-9)
    np.testing.assert_allclose(confidence[:, 0], 0.8 if taken else [0.8, 0.79, 0.8, 0.79])
    quarter = np.diag([1.0, 4.0]) if taken else np.diag([4.0, 1.0])
    np.testing.assert_allclose(covariance[1], np.tile(quarter, (NUM_JOINTS, 1, 1)), atol=1e-9)
    np.testing.assert_allclose(covariance[3], np.tile(np.diag([4.0, 1.0]), (NUM_JOINTS, 1, 1)),
                               atol=1e-9)


def test_people_on_their_feet_cost_one_look(estimator):
    estimator.worth = 0.3
    estimator.seen.clear()
    estimator._look(_marked(_person(np.random.default_rng(3), 10))[None])
    assert estimator.seen == [1]
