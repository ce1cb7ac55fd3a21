"""From an image to the people in it: find, crop, network, lift, track."""

import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .camera import Camera
from .lifting import Lifter
from .lifting.level import Level
from .network import Estimator
from .network.crops import check_image
from .network.look import lift_on
from .person import Person, ScaleSource, Source
from .skeleton import NUM_JOINTS
from .tracking import Observation, Tracker, TrackerOptions
from .tracking.appearance import describe
from .tracking.association import box_iou, match
from .tracking.egomotion import EgoMotion
from .tracking.ids import IdSource

_LEVEL_EVERY = 0.5     # seconds from one look at how people stand to the next
_LOST_FOR = 2.0        # seconds for which who is out of sight is searched for more often,
_LOST_EVERY = 2        # images from one search to the next then
_BESIDE = 0.05  # overlap (IoU) of two boxes from which their people may be mixed up
_SAME = 0.5     # overlap from which a box that was found says nothing new of who is followed
_BOTH = 0.05    # least product of the search's score and a new person's confidence
_NEAR = 0.12    # of the person's size: mean distance of keypoints of one and the same
_OWNED = 0.08   # the same, of one keypoint
_SEES = 0.7     # least confidence of whose keypoint it is, of the other's
_PATCHED = 0.5  # share of who is seen in others' keypoints from which nobody is there
_SUREST = 8     # joints whose mean is the confidence of a person: of one half hidden they are seen


@dataclass
class PipelineOptions:
    """What a user may turn. May be changed between two calls."""

    threshold: float = 0.2         # least confidence of a person, 0..1
    find_threshold: float = 0.1    # least height of a peak of the centre map, 0..1
    max_people: int = 16
    search_every: int = 5          # images between two searches of the whole image; two at most
                                   # while somebody is out of sight who was seen just now
    stature: float | None = None   # m, where it is known for everybody on the site
    estimate_up: bool = True       # where gravity is not given, tell it by how people stand


class Pipeline:
    """The whole way. One instance per camera: it remembers people from image to image.

    Attributes:
        options: :class:`PipelineOptions`.
        device: where the network runs, a torch device; the lifter's first look, too.
        timing: milliseconds of the parts of the last call.
        up: (3,) against gravity in the optical frame, as given in the last call or as people
            tell it (:mod:`.lifting.level`); None where neither does.
    """

    def __init__(self, estimator, lifter, options=None, tracker=None):
        """Put the parts together; :meth:`from_pretrained` is the usual way."""
        self.estimator, self.lifter = estimator, lifter
        self.options = options or PipelineOptions()
        self.tracker = tracker or Tracker(TrackerOptions())
        self.timing = {}
        self._since_search = 0
        self._searches = 0
        self._egomotion = EgoMotion()
        self.up, self._level, self._looked = None, Level(), None

    @classmethod
    def from_pretrained(cls, device='cpu', weights=None, id_file=None, engine=None,
                        int8='search', **options):
        """Load the weights that ship with the package.

        Args:
            device: 'cpu', 'cuda', or 'auto': CUDA where torch finds it.
            weights: path of another network's weights, or None.
            engine: path of a TensorRT engine of the network (docs/deploy.md), or None.
            int8: what runs in int8 on a CPU that is faster so: 'search', 'all' or 'none' (see
                Estimator.from_pretrained).
            id_file: a file that keeps ids from coming twice (see tracking.ids), or None.
            **options: fields of :class:`PipelineOptions`.

        Raises:
            lifting_ros.prior.file.WeightsError: a file is missing or not what it should be.
            RuntimeError: CUDA asked for and not there.
        """
        estimator = Estimator.from_pretrained(weights, device=device, engine=engine, int8=int8)
        lifter = Lifter.from_pretrained()
        if estimator.device.type == 'cuda':
            lift_on(lifter, estimator.device)
        return cls(estimator, lifter, PipelineOptions(**options), Tracker(ids=IdSource(id_file)))

    @property
    def device(self):
        """Where the network runs."""
        return self.estimator.device

    def reset(self):
        """Forget everybody who was seen; their ids are not given again."""
        self.tracker.reset()
        self._since_search = 0
        self.up, self._level, self._looked = None, Level(), None

    def keypoints(self, image, boxes):
        """Keypoints of people whose boxes are known.

        Args:
            image: (H, W, 3) uint8 BGR.
            boxes: (N, 4) x0 y0 x1 y1, px, about the person's joints.

        Returns:
            keypoints (N, 17, 2) px and confidence (N, 17) in 0..1.
        """
        found = self.estimator.keypoints(image, np.asarray(boxes, float).reshape(-1, 4))
        return found.xy, found.confidence

    def __call__(self, image, camera=None, stamp=None, up=None, depth=None, camera_height=None,
                 pose=None):
        """Find the people in an image.

        Args:
            image: (H, W, 3) uint8 BGR.
            camera: :class:`~lifting_ros.camera.Camera` of this image's size, or None: then
                positions are NaN.
            stamp: time of the image in seconds. With it, people are followed from call to call;
                None is a picture by itself, and nothing is carried over from or to it.
            up: (3,) unit vector against gravity in the optical frame, or None where unknown.
            depth: a depth image of the same instant, see :meth:`lifting.Lifter.lift`, or None.
            camera_height: metres of the camera over the ground, or None where unknown.
            pose: (R (3, 3), t (3,) m) of the camera at the stamp in a frame that stands still,
                x_fixed = R x_camera + t, or None where unknown. With it people who stand are
                still though the camera moves, and velocities are those in that frame (along
                the camera's axes).

        Returns:
            list of :class:`~lifting_ros.person.Person`, the most confident first, those that
            are only predicted last.

        Raises:
            ValueError: the image is not (H, W, 3) uint8, or the camera is of another size.
        """
        image = check_image(image)
        height, width = image.shape[:2]
        if camera is not None and (camera.width, camera.height) != (width, height):
            raise ValueError(f'the camera is calibrated for {camera.width}x{camera.height}, the '
                             f'image is {width}x{height}')
        alone = stamp is None
        # a picture by itself has no second in which the unsure could be confirmed
        tracker = (Tracker(replace(self.tracker.options, confirm=0.0)) if alone
                   else self.tracker)
        now = 0.0 if alone else float(stamp)
        clock = [time.perf_counter()]

        boxes, belief = self._boxes(image, tracker.expected_boxes(now), alone, now)
        clock.append(time.perf_counter())
        seen = self._observe(image, boxes, belief)
        clock.append(time.perf_counter())
        self._lift(seen, camera, up, depth, camera_height, None if alone else now)
        clock.append(time.perf_counter())
        if not alone:
            self._egomotion.follow(tracker, pose)
        people = tracker.update(seen, now)
        clock.append(time.perf_counter())

        self.timing = dict(zip(('find', 'network', 'lift', 'track'),
                               1e3 * np.diff(clock)), total=1e3 * (clock[-1] - clock[0]))
        return sorted(people, key=lambda p: (not p.matched, -p.confidence))

    def _boxes(self, image, expected, alone, now):
        """Boxes to look into: people followed, and every few images whoever is new or back.

        Returns:
            boxes (M, 4); how far each is believed (M,): the search's score, 1 for who is known.
        """
        self._since_search += 1
        every = self.options.search_every
        if not alone and self.tracker.missing(now, _LOST_FOR):
            every = min(every, _LOST_EVERY)
        search = alone or len(expected) == 0 or self._since_search >= every
        if not search:
            return expected, np.ones(len(expected))
        if not alone:
            self._since_search = 0
        # while somebody is followed the scales take turns: all in one image would be a long wait.
        # The largest costs more than twice what all the others do
        sides = getattr(self.estimator, 'sides', ())
        one = {} if alone or len(expected) == 0 or len(sides) < 2 else {
            'side': sides[-1:] if self._searches % 2 else sides[:-1]}
        self._searches += 1
        found, score = self.estimator.find(image, self.options.find_threshold,
                                           self.options.max_people, **one)
        found = np.asarray(found, float).reshape(-1, 4)
        # A box that follows keypoints can be drawn over to a neighbour; one that was found anew
        # cannot, but it is coarser: depth would jump with it by a percent at every search. So who
        # has a neighbour is looked at where the search sees him, whoever is alone as before.
        overlap = box_iou(found, expected)
        pairs = match(1 - overlap, 0.7)
        crowded = (box_iou(expected, expected) > _BESIDE).sum(1) > 1
        crowded |= (overlap > _BESIDE).sum(0) > 1
        new = np.ones(len(found), bool)
        for f, e in pairs:
            new[f] = False
            if crowded[e] or overlap[f, e] < _SAME:
                expected[e] = found[f]
        boxes = np.concatenate((expected, found[new]))
        belief = np.concatenate((np.ones(len(expected)), np.asarray(score, float)[new]))
        return boxes[:self.options.max_people], belief[:self.options.max_people]

    def _observe(self, image, boxes, belief):
        """Run the network on all boxes at once; drop the unsure and the double."""
        n = len(boxes)
        if n:
            found = self.estimator.keypoints(image, boxes)
            xy, confidence, covariance = (np.asarray(a, float) for a in (
                found.xy, found.confidence, found.covariance))
        else:
            xy, confidence, covariance = (np.zeros((0, NUM_JOINTS) + s)
                                          for s in ((2,), (), (2, 2)))
        score = person_confidence(confidence)
        # a faint peak in the search needs a sure crop, and the other way round
        sure = np.where(score * belief >= _BOTH, score, 0.0)
        keep = distinct(xy, confidence, sure, max(self.options.threshold, 1e-6))
        xy, confidence, covariance, score = (a[keep] for a in (xy, confidence, covariance, score))
        n = len(keep)
        return Observation(
            confidence=score, box=keypoint_boxes(xy, confidence), keypoints=xy,
            keypoint_confidence=confidence, keypoint_covariance=covariance,
            joints=np.full((n, NUM_JOINTS, 3), np.nan),
            covariance=np.full((n, NUM_JOINTS, 3, 3), np.nan),
            source=np.full((n, NUM_JOINTS), Source.UNKNOWN, dtype=np.uint8),
            scale_source=np.full(n, ScaleSource.NONE), log_likelihood=np.full(n, np.nan),
            appearance=describe(image, xy, confidence), image_size=image.shape[1::-1])

    def _lift(self, seen, camera, up, depth=None, camera_height=None, now=None):
        """Fill in what is in metres."""
        estimate = up is None and self.options.estimate_up
        self.up = self._level.up if estimate and now is not None else up
        if camera is None or not len(seen):
            return
        lift = partial(self.lifter.lift, seen.keypoints, seen.keypoint_confidence, camera,
                       keypoint_covariance=seen.keypoint_covariance,
                       stature=self.options.stature, depth=depth)
        lifted = None
        if estimate:
            lifted = self._look_at_level(lift, now)
        if lifted is None:
            # the ground would be looked for a degree too high or low, if gravity is but estimated
            lifted = lift(up=self.up, camera_height=None if up is None else camera_height)
        seen.joints, seen.covariance = lifted.joints, lifted.covariance
        seen.source, seen.log_likelihood = lifted.source, lifted.log_likelihood
        seen.scale_source = lifted.scale_source

    def _look_at_level(self, lift, now):
        """Set ``up`` by how people stand; Lifted if it was lifted and ``up`` is not known yet.

        Now and then people are lifted without gravity: with it they would say what they were told.
        """
        level = self._level if now is not None else Level()
        lifted = None
        if now is None or self._looked is None or not 0 <= now - self._looked < _LEVEL_EVERY:
            if now is not None:
                if self._looked is not None and now < self._looked:     # the clock jumped back
                    level = self._level = Level()
                self._looked = now
            lifted = lift(up=None)
            level.see(lifted, now or 0.0)
        self.up = level.up
        return lifted if self.up is None else None


def person_confidence(confidence):
    """How sure a person is (N,): the mean of the surest joints of confidences (N, 17)."""
    return np.sort(confidence, axis=1)[:, -_SUREST:].mean(axis=1)


def keypoint_boxes(xy, confidence, least=0.1):
    """Boxes about keypoints: their extent, widened by a tenth of its longer side.

    Args:
        xy: (N, 17, 2) px.
        confidence: (N, 17); keypoints below ``least`` do not count (all do if fewer than four
            would).

    Returns:
        (N, 4) x0 y0 x1 y1, px.
    """
    use = confidence > least
    use |= (use.sum(axis=1) < 4)[:, None]
    use &= np.isfinite(xy).all(axis=-1)
    low = np.where(use[..., None], xy, np.inf).min(axis=1, initial=np.inf)
    high = np.where(use[..., None], xy, -np.inf).max(axis=1, initial=-np.inf)
    pad = 0.1 * np.maximum((high - low).max(axis=1, keepdims=True, initial=0), 1.0)
    return np.concatenate((low - pad, high + pad), axis=1)


def distinct(xy, confidence, score, threshold):
    """Indices of people sure enough and not the same as surer ones, the surest first.

    Two are the same when the keypoints that both see lie near each other in the mean. Nobody is
    there, either, where most of what is seen of him (by confidence) are keypoints of surer people:
    between two who overlap the network likes to see a third, with an arm of each.

    Args:
        xy: (N, 17, 2) px; confidence: (N, 17); score: (N,), who is surer. threshold: least score.
    """
    boxes = keypoint_boxes(xy, confidence)
    size = np.sqrt(np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1.0))
    order = [i for i in np.argsort(-score) if score[i] >= threshold]
    if len(order) < 2:
        return np.array(order, dtype=int)
    weight = np.sqrt(confidence[:, None] * confidence[None])             # (N, N, 17)
    gap = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    smaller = np.minimum(size[:, None], size[None])
    same = (weight * gap).sum(-1) < _NEAR * smaller * np.maximum(weight.sum(-1), 1e-6)
    # of i the keypoint is k's, who sees it as well
    owned = (gap < _OWNED * smaller[..., None]) & (confidence > _SEES * confidence[:, None])
    keep = []
    for i in order:
        if not same[i, keep].any() and (owned[i, keep].any(0) * confidence[i]).sum() <= (
                _PATCHED * confidence[i].sum()):
            keep.append(i)
    return np.array(keep, dtype=int)


__all__ = ['Camera', 'Person', 'Pipeline', 'PipelineOptions', 'distinct', 'keypoint_boxes',
           'person_confidence']
