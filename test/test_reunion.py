"""Who comes into sight gets the name of the one who was lost, and for a second that may change."""

import numpy as np
import pytest
from test_tracking import observe

from lifting_ros.tracking import Tracker, TrackerOptions, reunion

RED, BLUE = np.array([60, 45, 25, 30, 0, 0.0]), np.array([35, 5, -35, 60, -2, 12.0])


def seen(tracker, stamp, *people, confidence=0.8, sigma=0.1):
    """Names of people (place, clothes) given to a tracker."""
    o = observe([p for p, _ in people], depth_sigma=sigma)
    o.appearance = np.array([c for _, c in people]).reshape(-1, 6)
    o.confidence[:] = confidence
    found = tracker.update(o, stamp)
    return [next((p.id for p in found if p.matched and (p.keypoints == k).all()), None)
            for k in o.keypoints]


def lost_at(tracker, *people, images=30):
    """Names of people who stood for two seconds, and are out of sight for one."""
    for k in range(images):
        names = seen(tracker, k / 15, *people)
    tracker.update(observe([]), images / 15 + 0.5)
    return names, images / 15 + 1.0


def test_a_name_given_in_the_first_image_is_put_right_by_clothes():
    tracker = Tracker()
    (red, _), t = lost_at(tracker, ([-0.3, 0, 4], RED), ([0.3, 0, 4], BLUE))
    unknown = np.full(6, np.nan)
    # red comes out where blue was: by the place alone it is the other
    first, = seen(tracker, t, ([0.3, 0, 4], unknown))
    names = [seen(tracker, t + k / 15, ([0.3, 0, 4], RED))[0] for k in range(1, 30)]
    assert first != red and names[-1] == red
    changes = sum(a != b for a, b in zip(names[:-1], names[1:], strict=True))
    assert changes == 0 or (changes == 1 and names.index(red) < 15)


def test_after_a_second_a_name_is_for_good():
    tracker = Tracker(TrackerOptions(decide=0.2))
    (red, blue), t = lost_at(tracker, ([-0.3, 0, 4], RED), ([0.3, 0, 4], BLUE))
    unknown = np.full(6, np.nan)
    for k in range(6):
        name, = seen(tracker, t + k / 15, ([0.3, 0, 4], unknown))
    assert name == blue
    for k in range(6, 12):
        name, = seen(tracker, t + k / 15, ([0.3, 0, 4], RED))
    assert name == blue


def test_who_is_seen_for_an_instant_keeps_no_name():
    tracker = Tracker()
    (name,), t = lost_at(tracker, ([0, 0, 4], RED))
    seen(tracker, t, ([0.5, 0, 4.3], np.full(6, np.nan)))     # nobody, taken for the one lost
    tracker.update(observe([]), t + 0.5)
    assert seen(tracker, t + 1.0, ([0, 0, 4], RED)) == [name]


def test_two_in_sight_never_bear_one_name():
    tracker, rng = Tracker(), np.random.default_rng(4)
    for k in range(120):
        people = [([x, 0, 4 + 0.3 * i], (RED, BLUE)[i % 2]) for i, x in enumerate(
            np.linspace(-1, 1, 4) + 0.2 * np.sin(k / 5)) if rng.random() < 0.6]
        o = observe([p for p, _ in people])
        o.appearance = np.array([c for _, c in people]).reshape(-1, 6)
        names = [p.id for p in tracker.update(o, k / 10)]
        assert len(set(names)) == len(names)


def sights(rng, count, stamp):
    """People's sights, of any covariances."""
    def spd(scale):
        a = rng.normal(size=(3, 3))
        return scale * (a @ a.T + np.eye(3))
    return [reunion.Sight(stamp, rng.normal(size=3) + [0, 0, 4], rng.normal(size=3), spd(0.01),
                          spd(0.05), spd(0.1), 0.3) for _ in range(count)]


def test_the_cost_does_not_depend_on_the_frame(rng):
    old, new = sights(rng, 3, 1.0), sights(rng, 2, 2.2)
    before = reunion.cost(old, new)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for s in (*old, *new):
        s.turn(turn, np.zeros(3))
    np.testing.assert_allclose(reunion.cost(old, new), before, rtol=1e-9)
    assert before.shape == (3, 2)


def test_who_walks_on_is_likelier_than_who_turned_round(rng):
    one, = sights(rng, 1, 0.0)
    one.place, one.velocity = np.array([-1, 0, 4.0]), np.array([1.2, 0, 0])

    def later(place, velocity):
        return reunion.Sight(1.5, np.array(place), np.array(velocity), one.own, one.stays,
                             one.speed, one.sigma)
    cost = reunion.cost([one], [later([0.8, 0, 4.0], [1.2, 0, 0]),
                                later([0.8, 0, 4.0], [-1.2, 0, 0]),
                                later([-2.8, 0, 4.0], [1.2, 0, 0])])[0]
    assert cost[0] < cost[1] and cost[0] < cost[2]


def test_clothes_tell_for_and_against_and_nothing_where_not_known():
    unknown = np.full(6, np.nan)
    cost = reunion.clothes_cost(np.array([RED, BLUE, unknown]), np.array([RED + 3]))[:, 0]
    assert cost[0] < -3 and cost[1] > 3 and cost[2] == 0


@pytest.mark.parametrize('sigma, age, replaced', [(0.2, 0.1, True), (0.5, 0.1, False),
                                                  (0.31, 0.1, True), (0.5, 1.5, True)])
def test_a_clear_sight_is_kept_for_a_while(rng, sigma, age, replaced):
    old, = sights(rng, 1, 0.0)
    new, = sights(rng, 1, age)
    new.sigma = sigma
    assert new.replaces(old) == replaced and new.replaces(None)


def test_names_of_those_seen_without_metres_are_followed_too():
    tracker, names = Tracker(), set()
    for k in range(30):
        o = observe([[0.02 * k, 0, 4]])
        if k % 3 == 1:
            o.joints[:], o.covariance[:] = np.nan, np.nan
        names.update(p.id for p in tracker.update(o, k / 15))
    assert len(names) == 1


@pytest.mark.parametrize(('speed', 'back'), [(0.0, True), (1.2, False)])
def test_who_is_hidden_is_waited_for_and_who_would_have_left_the_image_is_not(speed, back):
    tracker = Tracker()

    def look(roots, stamp):
        o = observe(roots)
        o.image_size = 640, 480
        return [p.id for p in tracker.update(o, stamp) if p.matched]
    for k in range(12):                      # no nearer to the edge than 150 px
        before = look([[speed * k / 15, 0, 4]], k / 15)
    for k in range(12, 12 + 15 * 4):         # four seconds of nobody
        look([], k / 15)
    after = look([[speed * 11 / 15, 0, 4]], 12 / 15 + 4.1)
    assert (after == before) == back
