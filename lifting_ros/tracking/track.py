"""What is known of one person from image to image, besides the filters."""

import math

import numpy as np

from .small import median

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
        self.box = None                     # x0 y0 x1 y1 px, when last seen
        self.image_velocity = 0.0, 0.0      # px/s
        self.size = None                    # px of the box, width and height, smoothed
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
        """Where the person's box is expected, x0 y0 x1 y1 px.

        It moves as the keypoints do in the mean. Its size follows slowly: one keypoint astray
        would widen the next crop, and one unsure limb narrow it, and either feeds itself.
        """
        # plain numbers: for so few numpy takes five times longer
        dt = min(stamp - self.seen, 0.5)
        (x0, y0, x1, y1), (vx, vy), (w, h) = self.box, self.image_velocity, self.size
        x, y = (x0 + x1) / 2 + vx * dt, (y0 + y1) / 2 + vy * dt
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2

    def outside(self, stamp, image_size):
        """Whether the person, going on as it went, is beside an image of (width, height) px."""
        if image_size is None or self.box is None:
            return False
        at = (self.box[0] + self.box[2]) / 2 + self.image_velocity[0] * min(stamp - self.seen, 2.0)
        return at < 0 or at > image_size[0]

    def follow(self, box, step, stamp, image_size):
        """Take the box of a new image, x0 y0 x1 y1 px, and its ``step`` (x, y) px of
        :func:`image_steps`; None, or NaN, where it is not known.
        """
        width, height, dt = box[2] - box[0], box[3] - box[1], stamp - self.seen
        if self.size is None:
            self.size = width, height
        else:
            share, (w, h) = 0.25 if dt < 0.25 else 1.0, self.size
            self.size = w + share * (width - w), h + share * (height - h)
            if dt > 0 and step is not None and step[0] == step[0]:
                (vx, vy), (x, y) = self.image_velocity, step
                self.image_velocity = 0.5 * vx + 0.5 * x / dt, 0.5 * vy + 0.5 * y / dt
        self.box = box
        if image_size is not None:
            edge = 0.02 * image_size[0]
            self.leaving = ((box[0] < edge and self.image_velocity[0] < 0)
                            or (box[2] > image_size[0] - edge and self.image_velocity[0] > 0))

    def learn(self, stature, appearance):
        """Take this image's stature (m) and appearance (D,), unknown parts NaN."""
        if math.isfinite(stature):
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
    step = np.ascontiguousarray((now - before).transpose(0, 2, 1))      # along the keypoints
    known = np.isfinite(step)
    if not known.all():
        seen = seen & known.all(1)
    if seen.all():
        return median(step)
    step = np.where(seen[:, None], step, np.inf)                        # those unknown last
    step.sort(axis=-1)
    count, row = seen.sum(1), step.shape[-1] * np.arange(2 * len(step)).reshape(-1, 2)
    middle = (step.take(row + ((count - 1) // 2)[:, None])
              + step.take(row + (count // 2)[:, None])) / 2
    return np.where((count >= _SHARED)[:, None], middle, np.nan)
