"""AP and false people, against counts done by hand; the peers' decoding on made-up outputs."""

from pathlib import Path

import numpy as np
import pytest

from lifting_ros.evaluation import finders
from lifting_ros.evaluation.finding import Scene, average_precision, figures, judge, table
from lifting_ros.network.find import find_people, merge
from lifting_ros.skeleton import NUM_JOINTS
from lifting_ros.training.photos import Labelled

BODY = np.stack((np.linspace(0, 40, NUM_JOINTS), np.linspace(0, 100, NUM_JOINTS)), 1)


def _person(x, y, scale=1.0, labelled=NUM_JOINTS):
    xy = BODY * scale + (x, y)
    visible = np.where(np.arange(NUM_JOINTS) < labelled, 2, 0)
    box = np.concatenate((xy.min(0), xy.max(0)))
    return Labelled('coco', 'x', None, np.where(visible[:, None] > 0, xy, np.nan), visible, box)


def _none():
    return np.zeros((0, 4))


def test_the_surest_takes_the_person_the_second_is_false():
    people = [_person(10, 10), _person(150, 10)]
    found = np.stack([BODY + (11, 10), BODY + (10, 11), BODY + (150, 10), BODY + (400, 10)])
    verdict = judge(found, np.array([0.5, 0.9, 0.3, 0.2]), people, np.ones(2, bool), _none())
    assert verdict.tolist() == [0, 1, 1, 0]


def test_who_is_not_measured_is_neither_for_nor_against():
    people = [_person(10, 10, labelled=3)]
    found = np.stack([BODY + (10, 10), BODY + (11, 10), BODY + (300, 10), BODY + (500, 10)])
    verdict = judge(found, np.full(4, 0.5), people, np.zeros(1, bool),
                    np.array([[290.0, 0, 350, 120]]))
    assert verdict.tolist() == [-1, -1, -1, 0]


def test_joints_that_a_network_lacks_do_not_hide_whom_it_found():
    found = BODY[None] + (10, 10)
    found[0, [0, 7, 8, 10]] = np.nan        # no limb among them
    assert judge(found, np.ones(1), [_person(10, 10)], np.ones(1, bool), _none()) == [1]


def test_average_precision_by_hand():
    right = np.array([True, False, True, False])
    ap, best = average_precision(right, np.array([0.9, 0.8, 0.7, 0.1]), 2)
    # precision 1 up to recall 1/2 (51 of 101 points), then 2/3
    assert ap == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert best == {'precision': pytest.approx(2 / 3), 'recall': 1.0, 'threshold': 0.7}
    shuffled = np.array([2, 0, 3, 1])
    assert average_precision(right[shuffled], np.array([0.9, 0.8, 0.7, 0.1])[shuffled], 2)[0] == ap
    assert average_precision(np.zeros(0, bool), np.zeros(0), 3)[0] == 0
    assert average_precision(np.ones(3, bool), np.ones(3), 3)[0] == pytest.approx(1)


def test_figures_of_a_few_photos():
    image = np.zeros((200, 400, 3), np.uint8)
    scenes = [Scene(image, [_person(10, 10), _person(150, 10, 1.9)], _none(), 'coco'),
              Scene(image, [], _none(), 'background'), Scene(image, [], _none(), 'coco empty')]
    right = (np.stack([BODY + (10, 10), 1.9 * BODY + (150, 10)]), np.array([0.9, 0.6]))
    nothing = (np.zeros((0, 17, 2)), np.zeros(0))
    one = (np.stack([BODY, BODY + 50]), np.array([0.7, 0.5]))
    r = figures([right, one, nothing], scenes)
    assert r['ap'] == pytest.approx(1) and r['threshold'] == 0.6 and r['people'] == 2
    assert r['empty'] == {'background': {'photos': 1, 'people': 1},
                          'coco empty': {'photos': 1, 'people': 0}}
    assert (r['people_medium'], r['recall_medium'], r['people_small']) == (2, 1.0, 0)
    text = table({'ours': r, 'other': {**r, 'ap': 0.5}})
    assert '1 in 1' in text and 'ours / other: 2.000' in text


def test_data_that_is_kept_out_is_not_trained_on():
    data = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'photos'
    if not data.is_dir():
        pytest.skip('no photos beside the project')
    from lifting_ros.training import photos
    out, kept, every = (photos.photos_without_people(data, k) for k in (True, False, None))
    assert len(out) + len(kept) == len(every) and 20 < len(out) < 50


def test_distinct_boxes():
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]])
    assert finders.distinct(boxes, np.array([0.2, 0.9, 0.5])).tolist() == [1, 2]


def test_anchors_of_blazepose():
    anchors = finders.anchors()
    assert anchors.shape == (2254, 2)
    np.testing.assert_allclose(anchors[:2], 0.5 / 28)
    np.testing.assert_allclose(anchors[1568], 0.5 / 14)
    np.testing.assert_allclose(anchors[-1], 6.5 / 7)


def _maps(people, h=40, w=60):
    """Centre map, regression and heat of people: lists of (17, 2) cells x, y and a score."""
    centre, heat = np.zeros((h, w)), np.zeros((17, h, w))
    regress = np.zeros((34, h, w))
    for joints, score in people:
        cx, cy = joints.mean(0).round().astype(int)
        centre[cy, cx] = score
        regress[:, cy, cx] = (joints - (cx, cy))[:, ::-1].ravel()
        heat[np.arange(17), joints[:, 1].astype(int), joints[:, 0].astype(int)] = score
    return centre, regress, heat


def test_people_are_where_their_joints_are():
    rng = np.random.default_rng(2)
    one = rng.integers(3, 20, (17, 2)).astype(float)
    two = one + (30, 8)
    boxes, scores = find_people(*_maps([(one, 0.4), (two, 0.8)]), 0.2, 10)
    assert scores.tolist() == [0.8, 0.4]
    for box, joints in zip(boxes, (two, one)):
        low, high = 4 * joints.min(0) + 1.5, 4 * joints.max(0) + 1.5
        assert (box[:2] <= low).all() and (box[2:] >= high).all()
        assert (box[2:] - box[:2] <= 1.5 * (high - low) + 20).all()
    assert len(find_people(*_maps([(one, 0.4), (two, 0.8)]), 0.5, 10)[1]) == 1
    assert len(find_people(*_maps([(one, 0.4), (two, 0.8)]), 0.2, 1)[1]) == 1



def test_a_neighbours_joint_does_not_widen_a_box():
    """The only wrist in sight is another person's, far from where the regression has it."""
    joints = np.stack((np.linspace(5, 15, 17), np.linspace(5, 25, 17)), 1).round()
    centre, regress, heat = _maps([(joints, 0.8)])
    alone, _ = find_people(centre, regress, heat, 0.2, 10)
    x, y = joints[9].astype(int)
    heat[9, y, x], heat[9, 30, 50] = 0.0, 0.9
    beside, _ = find_people(centre, regress, heat, 0.2, 10)
    assert np.abs(alone - beside).max() < 8


def test_scales_are_merged():
    boxes = np.array([[0.0, 0, 10, 20], [100, 0, 130, 40]])
    found, scores = merge([(boxes, np.array([0.3, 0.5])),
                           (boxes + 1, np.array([0.6, 0.4])),
                           (np.zeros((0, 4)), np.zeros(0))], 10)
    np.testing.assert_allclose(scores, [1 - 0.7 * 0.4, 1 - 0.5 * 0.6])
    np.testing.assert_array_equal(found, [boxes[0] + 1, boxes[1]])
    once, score = merge([(np.stack((boxes[0], boxes[0] + 1)), np.array([0.6, 0.5]))], 10)
    assert len(once) == 1 and score == pytest.approx(0.6)       # one scale says it once
    assert len(merge([(boxes, np.array([0.3, 0.5]))], 1)[0]) == 1
    assert merge([(np.zeros((0, 4)), np.zeros(0))], 5)[0].shape == (0, 4)
