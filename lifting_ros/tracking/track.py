"""What is known of one person from image to image, besides the filters."""

import numpy as np

#: Fewest shared keypoints that tell of a person's motion in the image.
_SHARED = 4


class Track:
    """One person over time, or a stretch of sight that may be somebody's who was lost.

    Attributes:
        born, seen: stamps of the first and of the last sight. lifted: stamp of the last position
        in metres, None before. at: stamp of the filters' state. sight: the pelvis when it was
        last seen clearly (reunion.Sight), or None. memory: the lost track that this one is taken
        for, or None. settled: whether that is decided.
    """

    def __init__(self, ids, stamp):
        """Start at ``stamp``; ``ids``: where a name is from, once one is needed."""
        self._ids, self._own = ids, None
        self.born, self.seen = stamp, stamp
        self.lifted = self.at = self.sight = None
        self.memory, self.settled = None, False
        self.image_velocity = np.zeros(2)   # px/s
        self.size = None                    # (2,) px of the box, smoothed
        self.person = None
        self.shown = False                  # given out before
        self.leaving = False
        self.stature, self.statures = np.nan, 0
        self.appearance = None

    @property
    def name(self):
        """Id of the person."""
        if self.memory is not None:
            return self.memory.name
        if self._own is None:
            self._own = self._ids.new()
        return self._own

    @property
    def since(self):
        """Stamp at which the person was first seen."""
        return self.born if self.memory is None else self.memory.since

    def settle(self):
        """Be for good who it is taken for."""
        self.settled, old, self.memory = True, self.memory, None
        if old is None:
            return
        self._own, self.born = old.name, old.since
        both = self.statures + old.statures
        if old.statures and self.statures:
            self.stature += old.statures / both * (old.stature - self.stature)
        elif old.statures:
            self.stature = old.stature
        self.statures = both
        if self.appearance is None or old.appearance is None:
            self.appearance = old.appearance if self.appearance is None else self.appearance
        else:
            self.appearance = np.where(np.isfinite(self.appearance), self.appearance,
                                       old.appearance)

    def box_at(self, stamp):
        """Where the person's box is expected, px.

        It moves as the keypoints do in the mean. Its size follows slowly: one keypoint astray
        would widen the next crop, and one unsure limb narrow it, and either feeds itself.
        """
        dt = min(stamp - self.seen, 0.5)
        middle = (self.person.box[:2] + self.person.box[2:]) / 2 + self.image_velocity * dt
        return np.concatenate((middle - self.size / 2, middle + self.size / 2))

    def outside(self, stamp, image_size):
        """Whether the person, going on as it went, is beside an image of (width, height) px."""
        if image_size is None or self.person is None:
            return False
        middle = (self.person.box[:2] + self.person.box[2:]) / 2
        at = middle[0] + self.image_velocity[0] * min(stamp - self.seen, 2.0)
        return bool(at < 0 or at > image_size[0])

    def follow(self, box, step, stamp, image_size):
        """Take the box (4,) px of a new image, before the person is set, and its ``step`` (2,)
        px of :func:`image_steps`; None, or NaN, where it is not known.
        """
        size, dt = box[2:] - box[:2], stamp - self.seen
        if self.person is None:
            self.size = size
        else:
            self.size = self.size + (0.25 if dt < 0.25 else 1.0) * (size - self.size)
            if dt > 0 and step is not None and step[0] == step[0]:
                self.image_velocity = 0.5 * self.image_velocity + 0.5 * step / dt
        if image_size is not None:
            edge = 0.02 * image_size[0]
            self.leaving = bool(
                (box[0] < edge and self.image_velocity[0] < 0)
                or (box[2] > image_size[0] - edge and self.image_velocity[0] > 0))

    def learn(self, stature, appearance):
        """Take this image's stature (m) and appearance (D,), unknown parts NaN."""
        if np.isfinite(stature):
            self.statures += 1
            rate = max(1 / self.statures, 0.03)
            old = stature if self.statures == 1 else self.stature
            self.stature = old + rate * (stature - old)
        if appearance is not None:
            old = appearance if self.appearance is None else self.appearance
            mixed = np.where(np.isfinite(old) & np.isfinite(appearance),
                             0.9 * old + 0.1 * appearance, np.where(np.isfinite(old), old,
                                                                    appearance))
            self.appearance = mixed


def image_steps(before, now, seen):
    """How far people have come in the image.

    Args:
        before, now: (N, 17, 2) px, NaN where not known; seen: (N, 17) bool, now.

    Returns:
        (N, 2) px, the median over keypoints; NaN where fewer than four are shared.
    """
    step = now - before
    seen = seen & np.isfinite(step).all(-1)
    step = np.sort(np.where(seen[..., None], step, np.inf), axis=1)     # those unknown last
    count, row = seen.sum(1), np.arange(len(step))
    middle = (step[row, (count - 1) // 2] + step[row, count // 2]) / 2
    return np.where((count >= _SHARED)[:, None], middle, np.nan)
