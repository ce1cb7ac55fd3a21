"""The measures of identity, and a small scene through the real lifter and tracker."""

import numpy as np
import pytest

from lifting_ros.camera import Camera
from lifting_ros.evaluation import crowds, errors2d, identity, sequences
from lifting_ros.evaluation.consistency import by_ray
from lifting_ros.evaluation.filter import jitter_ratio_of_white, lag
from lifting_ros.lifting import Lifter
from lifting_ros.person import Person
from lifting_ros.skeleton import INDEX
from lifting_ros.tracking import Tracker


def test_figures_known_values():
    pytest.importorskip('trackeval', reason='pip install --no-deps trackeval')
    one = np.eye(2)
    steady = [(np.array([0, 1]), ['a', 'b'], one)] * 10
    swapped = steady[:5] + [(np.array([0, 1]), ['b', 'a'], one)] * 5
    assert identity.figures(steady)['idf1'] == pytest.approx(100)
    assert identity.figures(steady)['hota'] == pytest.approx(100)
    half = identity.figures(swapped)
    assert half['idf1'] == pytest.approx(50) and half['switches'] == 2
    assert half['mota'] == pytest.approx(90)


def test_likeness_is_one_for_the_same_and_nothing_for_another():
    true = np.random.default_rng(0).uniform(0, 200, (2, 17, 2)) + [[[0, 0]], [[900, 0]]]
    alike = identity.likeness(true, np.ones((2, 17), bool), true)
    np.testing.assert_allclose(alike, np.eye(2), atol=1e-9)


def test_of_people_who_do_not_count_nothing_is_asked():
    true = np.random.default_rng(0).uniform(0, 200, (2, 17, 2)) + [[[0, 0]], [[900, 0]]]
    visible = np.ones((2, 17), bool)
    visible[1, 6:] = False
    who, names, alike = identity.counted(np.array([0, 1]), true, visible, ['a', 'b'], true)
    assert who.tolist() == [0] and names == ['a'] and alike.shape == (1, 1)
    # behind something whole: given out as predicted where he is, he is nobody found wrongly
    visible[1] = False
    who, names, _ = identity.counted(np.array([0, 1]), true, visible, ['a', 'b'], true)
    assert who.tolist() == [0] and names == ['a']
    _, names, _ = identity.counted(np.array([0, 1]), true, visible, ['a', 'b'], true + 300)
    assert names == ['a', 'b']
    # and asked for, he counts
    who, names, alike = identity.counted(np.array([0, 1]), true, visible, ['a', 'b'], true,
                                         np.ones(2, bool))
    assert who.tolist() == [0, 1] and alike[1, 1] == pytest.approx(1)


def test_who_is_predicted_is_where_the_prediction_would_be_seen():
    camera = Camera([[600, 0, 320], [0, 600, 240], [0, 0, 1]], 640, 480)
    joints = np.random.default_rng(0).normal(0, 0.4, (17, 3)) + [0, 0, 3.0]
    seen = Person('a', 0.8, np.zeros(4), joints=joints, keypoints=np.full((17, 2), 7.0))
    gone = Person('b', 0.8, np.zeros(4), joints=joints, matched=False)
    names, found = identity.given_out([seen, gone], camera)
    assert names == ['a', 'b'] and (found[0] == 7).all()
    np.testing.assert_allclose(found[1], camera.project(joints))


def test_who_comes_back_late_can_count_as_new_and_names_borne_twice_are_counted():
    one = np.eye(1)
    frames = [(np.array([3]), ['a'], one)] * 12 + [(np.array([], int), [], np.zeros((0, 0)))] * 40
    frames += [(np.array([3]), ['a'], one)] * 12
    new = identity.renumbered(frames, 15.0, away=2.0)
    assert new[0][0][0] == new[11][0][0] != new[-1][0][0]
    assert identity.renumbered(frames, 15.0, away=3.0)[-1][0][0] == 3
    assert identity.merged(frames) == 0 and identity.merged(new) == 1


def test_of_strangers_nobody_comes_twice(shared):
    crowd = crowds.make('strangers', 2, 101, shared / 'data' / 'mocap', seconds=12.0)
    in_sight = {}
    for f, (who, *_) in enumerate(crowd.people):
        for w in who:
            in_sight.setdefault(int(w), []).append(f)
    assert len(in_sight) > 2
    spans = sorted((min(f), max(f)) for f in in_sight.values())
    # of two ways nobody else comes in while somebody is on each
    for f in range(len(crowd.people)):
        assert sum(a <= f <= b for a, b in spans) <= 2


def test_nees_by_ray_is_one_and_two_where_the_covariance_is_right(rng):
    root = rng.normal(size=(3, 3))
    truth = np.tile([0.3, 0.2, 4.0], (100_000, 1))
    found = truth + rng.normal(size=truth.shape) @ root.T
    along, across = by_ray(truth, found, np.broadcast_to(root @ root.T, (100_000, 3, 3)))
    assert along == pytest.approx(1, rel=0.03) and across == pytest.approx(2, rel=0.03)


def test_people_who_cross_keep_their_names(shared):
    crowd = crowds.make('crossing', 2, 1, shared / 'data' / 'mocap', seconds=6.0)
    crowds.lift(crowd, Lifter.from_pretrained())
    owners = {}
    tracker = Tracker()
    for f in range(len(crowd.seen)):
        o = crowds.observation(crowd, f)
        for person in tracker.update(o, 1 + f / crowd.rate):
            if person.matched:
                row = np.flatnonzero((o.keypoints == person.keypoints).all((1, 2)))[0]
                owners.setdefault(int(crowd.seen[f][3][row]), []).append(person.id)
    for who in (0, 1):
        names, count = np.unique(owners[who], return_counts=True)
        assert count.max() / count.sum() > 0.9
    assert set(owners[0]) != set(owners[1])


def test_all_ways_to_follow_people_in_the_table_can_be_run(shared):
    crowd = crowds.make('crossing', 2, 1, shared / 'data' / 'mocap', seconds=4.0)
    crowds.lift(crowd, Lifter.from_pretrained())
    for name, tracker in identity.trackers().items():
        frames, everybody, _ = identity.follow(tracker, crowd)
        assert len(frames) == len(everybody) == len(crowd.seen), name
        # somebody is given out in most images, and is one of those asked for
        right = [alike.max() > 0.5 for _, _, alike in frames if alike.size]
        assert len(right) > 0.8 * len(frames) and np.mean(right) > 0.9, name


def test_lag_is_the_delay_put_in():
    t = np.arange(120) / 30
    truth = np.zeros((120, 17, 3))
    wrist = [INDEX['left_wrist'], INDEX['right_wrist']]
    truth[:, wrist, 0] = np.sin(5 * t)[:, None]
    late = truth.copy()
    late[:, wrist, 0] = np.sin(5 * (t - 0.05))[:, None]
    assert lag(truth, late, 30) == pytest.approx(0.05, abs=0.005)
    assert lag(truth, truth, 30) == pytest.approx(0.0, abs=0.005)


def test_a_person_at_rest_is_smoothed_and_a_reach_is_followed(rng):
    rest, late = jitter_ratio_of_white(rng)
    assert rest < 1 / 3 and abs(late) < 1 / 30


def test_the_errors_made_are_those_the_network_was_measured_to_make(rng):
    """Made errors, measured as the network's are, give the constants they were made of."""
    parts = []
    for _ in range(200):       # many people for 2 s, as the constants are between people, too
        hidden = np.zeros((60, 17), bool)
        off, told, _ = sequences.noise(hidden, 30.0, rng)
        parts.append((off[29::15], told[29::15], ~hidden[29::15]))   # once errors have begun
    found = errors2d.fit(*(np.concatenate(p) for p in zip(*parts, strict=True)))
    told, usual, gross, share = found['all']
    assert told == pytest.approx(6.9, rel=0.05) and usual == pytest.approx(0.78, rel=0.05)
    assert gross == pytest.approx(4.6, rel=0.1) and share == pytest.approx(0.059, abs=0.015)
    assert found['wrist'][3] > 2 * found['shoulder'][3]
    assert found['joint'] == pytest.approx(0.32, abs=0.04)


def test_a_mixture_known():
    rng = np.random.default_rng(3)
    gross = rng.random(50_000) < 0.1
    square = (rng.normal(size=(50_000, 2)) ** 2).sum(1) * np.where(gross, 5.0, 0.7) ** 2
    assert errors2d.mixture(square) == pytest.approx((0.7, 5.0, 0.1), rel=0.05)


def test_who_stands_sideways_hides_the_far_arm_and_who_faces_the_camera_nothing():
    camera = Camera.from_fov(640, 480, 1.0)
    facing = np.zeros((17, 3))
    for name, place in {'right_hip': (-.15, 0, 0), 'left_hip': (.15, 0, 0),
                        'right_knee': (-.15, .45, 0), 'left_knee': (.15, .45, 0),
                        'right_ankle': (-.15, .9, 0), 'left_ankle': (.15, .9, 0),
                        'spine': (0, -.25, 0), 'neck': (0, -.5, 0), 'nose': (0, -.6, 0),
                        'head_top': (0, -.75, 0), 'left_shoulder': (.2, -.5, 0),
                        'right_shoulder': (-.2, -.5, 0), 'left_elbow': (.45, -.3, 0),
                        'right_elbow': (-.45, -.3, 0), 'left_wrist': (.55, -.1, 0),
                        'right_wrist': (-.55, -.1, 0)}.items():
        facing[INDEX[name]] = place
    sideways = facing[:, [2, 1, 0]]
    hidden = sequences.behind(np.stack((facing, sideways))[:, None] + [0, 0, 4.0], camera)[:, 0]
    assert not hidden[0].any()
    assert hidden[1, INDEX['left_shoulder']] and not hidden[1, INDEX['right_shoulder']]
    two = np.stack((facing + [0, 0, 4.0], sideways + [0, 0, 2.5]))[None]
    assert sequences.behind(two, camera)[0, 0, INDEX['neck']]     # behind somebody else


def test_what_the_measure_lacks_is_shared_out():
    pytest.importorskip('trackeval', reason='pip install --no-deps trackeval')
    one, who = np.eye(2), np.array([0, 1])
    frames = [(who, ['a', 'b'], one)] * 6 + [(who, ['b', 'a'], one)] * 2
    frames += [(who, ['a'], one[:, :1]), (who[:1], ['a', 'c'], one[:1])]
    row = identity.figures(frames)
    assert row['missed'] > 0 and row['extra'] > 0 and row['names'] > 0
    assert row['idf1'] + row['missed'] + row['extra'] + row['names'] == pytest.approx(100)
    # 19 asked, 19 given out: one of each is nobody's, four of the pairs have the wrong name
    assert row['missed'] == pytest.approx(100 / 38) and row['extra'] == pytest.approx(100 / 38)
    assert row['names'] == pytest.approx(100 * 8 / 38)
