"""A tree of frames over the last few seconds: transforms at a stamp, interpolated, never guessed.

What tf2 does, as far as it is needed here, without ROS.
"""

from bisect import bisect_left

import numpy as np

from . import rigid

SECOND = 1_000_000_000


class NotThere(LookupError):
    """A transform that is not to be had; the text says why.

    Args:
        reason: in words.
        later: the transform at this stamp may still arrive, waiting for it makes sense.
    """

    def __init__(self, reason, later=False):
        super().__init__(reason)
        self.later = later


class Buffer:
    """A tree of transforms over the last few seconds, interpolated between their stamps.

    Args:
        keep: seconds of history.
    """

    def __init__(self, keep=10.0):
        """Start with no frame at all."""
        self._keep = int(keep * SECOND)
        # child -> (parent, stamps in order, values (t, q)), or (parent, None, [(R, t)])
        self._edges = {}

    def add(self, parent, child, stamp, translation, quaternion, static=False):
        """Take a transform: x_parent = R x_child + t.

        A publisher whose time jumps back beyond the history (a looped bag) starts afresh.

        Args:
            stamp: ns; translation: (3,) m; quaternion: (4,) x y z w.

        Raises:
            ValueError: not a rotation, or numbers that are not finite.
        """
        turn = rigid.matrix(quaternion)
        t = np.asarray(translation, dtype=np.float64)
        if not np.isfinite(t).all() or parent == child or not parent or not child:
            raise ValueError(f'transform of {child!r} in {parent!r} makes no sense')
        q = np.asarray(quaternion, dtype=np.float64)
        value = t, q / np.linalg.norm(q)
        if static:
            self._edges[child] = parent, None, [(turn, t)]
            return
        known, stamps, values = self._edges.get(child, (None, None, None))
        if known != parent or stamps is None or stamp < stamps[-1] - self._keep:
            self._edges[child] = parent, [stamp], [value]
            return
        at = bisect_left(stamps, stamp)
        if at < len(stamps) and stamps[at] == stamp:
            values[at] = value
            return
        stamps.insert(at, stamp)
        values.insert(at, value)
        old = bisect_left(stamps, stamps[-1] - self._keep)
        if old > 64:  # now and then, not at every message
            del stamps[:old], values[:old]

    def lookup(self, target, source, stamp):
        """The motion (R, t) with x_target = R x_source + t at a stamp in ns.

        Raises:
            NotThere: a frame is not known, the two are in different trees, or the stamp is not
                within what was heard.
        """
        if target == source:
            return np.eye(3), np.zeros(3)
        up, down = self._path(source), self._path(target)
        common = next((f for f in up if f in set(down)), None)
        for name, path in ((source, up), (target, down)):
            if len(path) == 1 and not any(e[0] == name for e in self._edges.values()):
                raise NotThere(f'frame {name!r} is not in TF')
        if common is None:
            raise NotThere(f'frames {source!r} and {target!r} are in two trees of TF '
                           f'({up[-1]!r} and {down[-1]!r})')
        first, second = (self._climb(path[:path.index(common)], stamp) for path in (up, down))
        if second is None:
            return first
        second = rigid.inverse(second)
        return second if first is None else rigid.chained(first, second)

    def _path(self, frame):
        """Frames from one to the root of its tree; cut where it runs in a circle."""
        path = [frame]
        while path[-1] in self._edges:
            parent = self._edges[path[-1]][0]
            if parent in path:
                break
            path.append(parent)
        return path

    def _climb(self, children, stamp):
        """The motion from the first of the children to the parent of the last; None for none."""
        motion = None
        for child in children:
            edge = self._edge(child, stamp)
            motion = edge if motion is None else rigid.chained(motion, edge)
        return motion

    def _edge(self, child, stamp):
        _, stamps, values = self._edges[child]
        if stamps is None:
            return values[0]
        if stamp > stamps[-1]:
            raise NotThere(f'TF of {child!r} ends {1e-6 * (stamp - stamps[-1]):.0f} ms before the '
                           'stamp of the image', later=True)
        at = bisect_left(stamps, stamp)
        if stamps[at] == stamp:
            t, q = values[at]
            return rigid.matrix(q), t
        if at == 0:
            raise NotThere(f'TF of {child!r} begins {1e-6 * (stamps[0] - stamp):.0f} ms after the '
                           'stamp of the image')
        (t0, q0), (t1, q1) = values[at - 1:at + 1]
        share = (stamp - stamps[at - 1]) / (stamps[at] - stamps[at - 1])
        return rigid.matrix(rigid.slerp(q0, q1, share)), (1 - share) * t0 + share * t1
