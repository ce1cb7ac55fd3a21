"""The pipeline with a network and a lifter that answer as told: what it finds, keeps and drops."""

from types import SimpleNamespace

import numpy as np
import pytest

from lifting_ros.camera import Camera
from lifting_ros.person import Person, ScaleSource, Source
from lifting_ros.pipeline import Pipeline, PipelineOptions, distinct, keypoint_boxes

SHAPE = np.random.default_rng(3).uniform(0, 1, (17, 2))


class FakeEstimator:
    """People are boxes; their keypoints fill the box, all with the same confidence."""

    device = 'cpu'

    def __init__(self, boxes, confidence=0.8):
        self.boxes, self.confidence = np.asarray(boxes, float).reshape(-1, 4), confidence
        self.searches, self.batches = 0, []

    def find(self, image, threshold, max_people):
        self.searches += 1
        return self.boxes, np.ones(len(self.boxes))

    def keypoints(self, image, boxes):
        self.batches.append(len(boxes))
        # a box finds the person nearest to it, as a crop would
        middle = lambda b: (b[:, :2] + b[:, 2:]) / 2  # noqa: E731
        near = np.linalg.norm(middle(boxes)[:, None] - middle(self.boxes)[None], axis=-1)
        own = self.boxes[near.argmin(axis=1)]
        xy = own[:, None, :2] + SHAPE * (own[:, None, 2:] - own[:, None, :2])
        n = len(boxes)
        return SimpleNamespace(xy=xy, confidence=np.full((n, 17), self.confidence),
                               covariance=np.tile(np.eye(2), (n, 17, 1, 1)))


class FakeLifter:
    """Everybody stands three metres away."""

    def lift(self, keypoints, confidence, camera, up=None, **_):
        joints = 3 * camera.rays(keypoints)
        n = len(keypoints)
        return SimpleNamespace(
            joints=joints, covariance=np.tile(0.01 * np.eye(3), (n, 17, 1, 1)),
            log_likelihood=np.zeros(n), source=np.full((n, 17), Source.OBSERVED),
            scale_source=np.full(n, ScaleSource.PRIOR))


IMAGE = np.zeros((480, 640, 3), np.uint8)
CAMERA = Camera.from_fov(640, 480)
TWO = [[50, 60, 200, 440], [400, 80, 520, 400]]


def make(boxes=TWO, **options):
    estimator = FakeEstimator(boxes)
    return Pipeline(estimator, FakeLifter(), PipelineOptions(**options)), estimator


def test_people_come_in_one_batch_with_positions_and_names():
    pipeline, estimator = make()
    people = pipeline(IMAGE, CAMERA, stamp=1.0)
    assert len(people) == 2 and estimator.batches == [2]
    assert all(isinstance(p, Person) and np.isfinite(p.joints).all() for p in people)
    assert people[0].id != people[1].id
    assert set(pipeline.timing) == {'find', 'network', 'lift', 'track', 'total'}


def test_without_a_camera_positions_are_unknown():
    people = make()[0](IMAGE)
    assert len(people) == 2
    for p in people:
        assert np.isnan(p.joints).all() and np.isnan(p.covariance).all()
        assert (p.source == Source.UNKNOWN).all() and p.scale_source == ScaleSource.NONE


def test_people_who_are_followed_are_searched_for_only_now_and_then():
    pipeline, estimator = make(search_every=5)
    names = {tuple(sorted(p.id for p in pipeline(IMAGE, CAMERA, stamp=k / 30)))
             for k in range(11)}
    assert len(names) == 1 and estimator.searches == 3
    assert estimator.batches == [2] * 11     # who is followed is not looked at twice


def test_a_newcomer_is_found_while_others_are_followed():
    pipeline, estimator = make(TWO[:1], search_every=3)
    first = pipeline(IMAGE, CAMERA, stamp=0.0)
    estimator.boxes = np.array(TWO, float)
    later = [pipeline(IMAGE, CAMERA, stamp=k / 30) for k in range(1, 5)][-1]
    assert len(later) == 2 and first[0].id in {p.id for p in later}


def test_who_is_out_of_sight_is_searched_for_more_often_for_a_time():
    pipeline, estimator = make(search_every=30)
    for k in range(20):
        pipeline(IMAGE, CAMERA, stamp=k / 30)
    estimator.boxes = np.array(TWO[:1], float)          # the other one is hidden
    before = estimator.searches
    for k in range(20, 80):
        pipeline(IMAGE, CAMERA, stamp=k / 30)
    soon = estimator.searches - before
    assert 28 <= soon <= 31
    for k in range(80, 140):
        pipeline(IMAGE, CAMERA, stamp=k / 30)
    assert estimator.searches - before - soon <= 3      # as often as always


def test_scales_take_turns_while_somebody_is_followed():
    class Scales(FakeEstimator):
        sides, asked = (100, 200, 300), []

        def find(self, image, threshold, max_people, side=sides):
            self.asked.append(tuple(side))
            return super().find(image, threshold, max_people)

    pipeline = Pipeline(Scales(TWO), FakeLifter(), PipelineOptions(search_every=1))
    for k in range(4):
        pipeline(IMAGE, CAMERA, stamp=k / 30)
    pipeline(IMAGE, CAMERA)
    every = (100, 200, 300)
    assert Scales.asked[0] == Scales.asked[-1] == every
    assert sorted(Scales.asked[1:3]) == [(100, 200), (300,)] and Scales.asked[3] in [
        (100, 200), (300,)]


class Coarse(FakeEstimator):
    """Its search finds people's boxes too wide; it remembers where it was asked to look."""

    def __init__(self, boxes):
        super().__init__(boxes)
        self.looked = []

    def find(self, image, threshold, max_people):
        found, score = super().find(image, threshold, max_people)
        wide = 0.2 * (found[:, 2:] - found[:, :2])
        return np.concatenate((found[:, :2] - wide, found[:, 2:] + wide), 1), score

    def keypoints(self, image, boxes):
        self.looked.append(np.array(boxes))
        return super().keypoints(image, boxes)


@pytest.mark.parametrize('beside, jumps', [(400, False), (170, True)])
def test_who_is_alone_is_looked_at_where_he_was_who_has_a_neighbour_where_he_is_found(
        beside, jumps):
    boxes = [[50, 60, 200, 440], [beside, 80, beside + 120, 400]]
    estimator = Coarse(boxes)
    pipeline = Pipeline(estimator, FakeLifter(), PipelineOptions(search_every=3))
    for k in range(9):
        pipeline(IMAGE, CAMERA, stamp=k / 30)
    assert estimator.searches == 3
    moved = np.array([np.abs(np.sort(b, 0) - np.sort(a, 0)).max()
                      for a, b in zip(estimator.looked[3:], estimator.looked[4:])])
    assert (moved.max() > 20) == jumps and (jumps or moved.max() < 2)


def test_a_picture_without_stamp_stands_alone():
    pipeline, estimator = make()
    alone = [pipeline(IMAGE, CAMERA) for _ in range(3)]
    assert estimator.searches == 3
    assert all(p.age == 0 and p.matched for people in alone for p in people)
    pipeline(IMAGE, CAMERA, stamp=1.0)
    followed = pipeline(IMAGE, CAMERA, stamp=1.1)
    pipeline(IMAGE, CAMERA)
    again = pipeline(IMAGE, CAMERA, stamp=1.2)
    assert {p.id for p in followed} == {p.id for p in again}


def test_reset_forgets():
    pipeline, _ = make()
    before = {p.id for p in pipeline(IMAGE, CAMERA, stamp=1.0)}
    pipeline.reset()
    assert before.isdisjoint(p.id for p in pipeline(IMAGE, CAMERA, stamp=1.03))


def test_the_same_person_found_twice_is_given_once():
    pipeline, _ = make([TWO[0], [52, 62, 203, 441]])
    assert len(pipeline(IMAGE, CAMERA)) == 1


def test_nobody_is_between_two_who_has_an_arm_of_each():
    left, right = SHAPE * [100, 300] + [100, 50], SHAPE[::-1] * [100, 300] + [180, 50]
    patched = np.where(np.arange(17)[:, None] < 8, left, right)
    own = SHAPE[np.random.default_rng(4).permutation(17)] * [100, 300] + [140, 50]
    xy, score = np.stack((left, right, patched, own)), np.array([0.8, 0.7, 0.4, 0.5])
    sure = np.full((4, 17), 0.6)
    assert distinct(xy, sure, score, 0.2).tolist() == [0, 1, 3]
    # whose keypoints they are is who sees them better: then the two are unsure of theirs
    sure[:2], sure[2] = 0.3, 0.6
    assert distinct(xy, sure, score, 0.2).tolist() == [0, 1, 3, 2]
    # and what is not seen of somebody speaks neither for nor against
    sure[:2] = 0.6
    xy[2, :8] += [90, 0]
    sure[2, 8:] = 0.05
    assert distinct(xy, sure, score, 0.2).tolist() == [0, 1, 3, 2]


def test_the_unsure_are_dropped_and_nobody_is_no_error():
    pipeline, estimator = make(threshold=0.5)
    estimator.confidence = 0.4
    assert pipeline(IMAGE, CAMERA) == []
    assert make([])[0](IMAGE, CAMERA, stamp=1.0) == []


@pytest.mark.parametrize('image', [
    np.zeros((480, 640), np.uint8), np.zeros((0, 640, 3), np.uint8),
    np.zeros((480, 640, 3), np.float32), np.zeros((480, 640, 4), np.uint8)])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match='uint8 BGR'):
        make()[0](image)


def test_a_camera_of_another_size_is_refused():
    with pytest.raises(ValueError, match='320x240'):
        make()[0](IMAGE, Camera.from_fov(320, 240))


def test_boxes_hold_the_confident_keypoints(rng):
    xy, confidence = rng.uniform(0, 100, (1, 17, 2)), np.ones((1, 17))
    xy[0, 3], confidence[0, 3] = [900, 900], 0.0
    box, = keypoint_boxes(xy, confidence)
    inside = np.delete(xy[0], 3, axis=0)
    pad = 0.1 * np.ptp(inside, axis=0).max()
    np.testing.assert_allclose(box, [*(inside.min(0) - pad), *(inside.max(0) + pad)])
