"""The tracker: observations of one image in, people with names and velocities out."""

from dataclasses import dataclass

import numpy as np

from ..person import Person, ScaleSource, Source
from ..skeleton import NUM_JOINTS, PELVIS
from .association import box_distance, keypoint_distance, match, root_mahalanobis
from .ids import IdSource
from .kalman import PointFilters

#: Standard deviation of the joints' acceleration, m/s^2: hands and feet are thrown about, hips
#: are not. In the order of skeleton.JOINTS.
ACCELERATION = np.array([4, 4, 8, 12, 4, 8, 12, 4, 4, 6, 6, 5, 10, 16, 5, 10, 16], float)


@dataclass(frozen=True)
class TrackerOptions:
    """What the tracker may assume. Times in seconds."""

    keep: float = 2.0        # a person not seen for longer is forgotten, its name with it
    show_gap: float = 0.35   # a person not seen is still given out, as PREDICTED, for so long
    max_cost: float = 1.2    # pairs further apart (shares of the person's size) do not match
    seen: float = 0.15       # a keypoint above this confidence counts as seen
    max_step: float = 5.0    # time running on by more than this starts afresh


@dataclass
class Observation:
    """N people in one image, before they have names.

    Shapes and units as in :class:`lifting_ros.person.Person`, people first; joints and
    covariance may be NaN where there is no calibrated camera.
    """

    confidence: np.ndarray           # (N,)
    box: np.ndarray                  # (N, 4)
    keypoints: np.ndarray            # (N, 17, 2)
    keypoint_confidence: np.ndarray  # (N, 17)
    keypoint_covariance: np.ndarray  # (N, 17, 2, 2)
    joints: np.ndarray               # (N, 17, 3)
    covariance: np.ndarray           # (N, 17, 3, 3)
    source: np.ndarray               # (N, 17)
    scale_source: np.ndarray         # (N,)
    log_likelihood: np.ndarray       # (N,)

    def __len__(self):
        """How many people."""
        return len(self.box)


class _Track:
    """One person over time."""

    def __init__(self, name, stamp):
        self.name, self.born, self.seen = name, stamp, stamp
        self.filters = None
        self.image_velocity = np.zeros(2)   # px/s
        self.size = None                    # (2,) px of the box, smoothed
        self.person = None

    def box_at(self, stamp):
        """Where the person's box is expected, px.

        It moves as the keypoints do in the mean. Its size follows slowly: one keypoint astray
        would widen the next crop, and one unsure limb narrow it, and either feeds itself.
        """
        dt = min(stamp - self.seen, 0.5)
        middle = (self.person.box[:2] + self.person.box[2:]) / 2 + self.image_velocity * dt
        return np.concatenate((middle - self.size / 2, middle + self.size / 2))

    def follow(self, box, keypoints, seen, stamp):
        """Take the box (4,) and keypoints (17, 2) of a new image, before the person is set."""
        size, dt = box[2:] - box[:2], stamp - self.seen
        if self.person is None:
            self.size = size
            return
        self.size = self.size + (0.25 if dt < 0.25 else 1.0) * (size - self.size)
        both = seen & np.isfinite(self.person.keypoints).all(axis=1)
        if dt > 0 and both.sum() >= 4:
            step = np.median(keypoints[both] - self.person.keypoints[both], axis=0)
            self.image_velocity = 0.5 * self.image_velocity + 0.5 * step / dt


class Tracker:
    """Keeps names and velocities of people from image to image. Stamps are in seconds."""

    def __init__(self, options=None):
        """Start with nobody."""
        self.options = options or TrackerOptions()
        self._ids = IdSource()
        self._tracks = []
        self._stamp = None

    def reset(self):
        """Forget everybody. Names given before are not given again."""
        self._tracks, self._stamp = [], None

    def expected_boxes(self, stamp):
        """(T, 4) px: where the people seen lately should be at ``stamp``."""
        boxes = [t.box_at(stamp) for t in self._tracks
                 if 0 <= stamp - t.seen <= self.options.show_gap]
        return np.array(boxes, dtype=float).reshape(-1, 4)

    def update(self, observation, stamp):
        """Take the people of one image.

        Args:
            observation: :class:`Observation`.
            stamp: time of the image, s. Time that stands still or goes back (a looped bag), or
                that leaps by more than ``max_step``, starts afresh.

        Returns:
            list of :class:`~lifting_ros.person.Person`: those seen, then those predicted.
        """
        if self._stamp is not None and not 0 < stamp - self._stamp <= self.options.max_step:
            self.reset()
        dt = 0.0 if self._stamp is None else stamp - self._stamp
        self._stamp = stamp
        for track in self._tracks:
            if track.filters is not None:
                track.filters.predict(dt)
        pairs = self._associate(observation, stamp)
        taken = {column for _, column in pairs}
        for row, column in pairs:
            self._measure(self._tracks[row], observation, column, stamp)
        seen = {row for row, _ in pairs}
        lost = [t for i, t in enumerate(self._tracks) if i not in seen]
        for column in range(len(observation)):
            if column not in taken:
                track = _Track(self._ids.new(), stamp)
                self._tracks.append(track)
                self._measure(track, observation, column, stamp)
        self._tracks = [t for t in self._tracks if stamp - t.seen <= self.options.keep]
        people = [t.person for t in self._tracks if t.seen == stamp]
        for track in lost:
            if stamp - track.seen <= self.options.show_gap and track.filters is not None:
                people.append(self._predicted(track, stamp))
        return people

    def _associate(self, observation, stamp):
        tracks = self._tracks
        if not tracks or not len(observation):
            return []
        boxes = np.array([t.box_at(stamp) for t in tracks])
        moved = boxes[:, None, :2] - np.array([t.person.box for t in tracks])[:, None, :2]
        points = np.array([t.person.keypoints for t in tracks]) + moved
        size = np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1), axis=1))
        size_new = np.sqrt(np.prod(np.maximum(observation.box[:, 2:] - observation.box[:, :2],
                                              1), axis=1))
        limit = self.options.seen
        seen = np.array([t.person.keypoint_confidence for t in tracks]) > limit
        cost = keypoint_distance(points, seen, size, observation.keypoints,
                                 observation.keypoint_confidence > limit, size_new)
        cost = np.where(np.isfinite(cost), cost, box_distance(boxes, observation.box))
        cost = cost + np.abs(np.log(size[:, None] / size_new[None]))
        # the longer unseen, the less the last place says
        away = np.array([stamp - t.seen for t in tracks])
        cost = cost / (1 + away[:, None])
        root = np.array([np.full(3, np.nan) if t.filters is None else t.filters.position[PELVIS]
                         for t in tracks])
        root_cov = np.array([np.full((3, 3), np.nan) if t.filters is None
                             else t.filters.covariance[PELVIS] for t in tracks])
        far = root_mahalanobis(root, root_cov, observation.joints[:, PELVIS],
                               observation.covariance[:, PELVIS])
        cost = cost + 0.02 * np.nan_to_num(np.minimum(far, 50.0))
        return match(cost, self.options.max_cost)

    def _measure(self, track, o, i, stamp):
        """Give track its observation i."""
        seen = o.keypoint_confidence[i] > self.options.seen
        track.follow(o.box[i], o.keypoints[i], seen, stamp)
        joints, covariance = o.joints[i], o.covariance[i]
        if np.isfinite(joints).all():
            if track.filters is None:
                track.filters = PointFilters(joints, covariance, acceleration=ACCELERATION)
            else:
                track.filters.update(joints, covariance)
        elif not np.isfinite(joints).any():
            track.filters = None
        f = track.filters
        track.seen = stamp
        track.person = Person(
            id=track.name, confidence=float(o.confidence[i]), box=o.box[i],
            keypoints=o.keypoints[i], keypoint_confidence=o.keypoint_confidence[i],
            keypoint_covariance=o.keypoint_covariance[i],
            joints=joints if f is None else f.position.copy(),
            covariance=covariance if f is None else f.covariance,
            source=o.source[i], scale_source=ScaleSource(int(o.scale_source[i])),
            log_likelihood=float(o.log_likelihood[i]),
            age=stamp - track.born, matched=True, occluded=bool((~seen).sum() >= NUM_JOINTS // 3))
        if f is not None:
            track.person.velocity = f.velocity.copy()
            track.person.velocity_covariance = f.velocity_covariance.copy()

    def _predicted(self, track, stamp):
        """The person as the filters carry it on, while it is not seen."""
        last, f = track.person, track.filters
        fade = 1 - (stamp - track.seen) / (2 * self.options.show_gap)
        return Person(
            id=track.name, confidence=last.confidence * fade, box=track.box_at(stamp),
            joints=f.position.copy(), covariance=f.covariance, velocity=f.velocity.copy(),
            velocity_covariance=f.velocity_covariance.copy(),
            source=np.full(NUM_JOINTS, Source.PREDICTED, dtype=np.uint8),
            scale_source=last.scale_source, age=stamp - track.born, matched=False, occluded=True)
