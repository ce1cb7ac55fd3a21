"""People of several cameras at one time: who is who, and where."""

from dataclasses import dataclass, field

import numpy as np

from ..matrices import inverse, positive
from ..person import Person, ScaleSource, Source, stacked
from ..prediction import carried, known_velocity
from ..skeleton import NUM_JOINTS
from ..tracking.association import match
from ..tracking.ids import IdSource
from .information import RHO, Parts, apart, distances, fuse, take_apart

#: Which source of a joint says most.
_RANK = np.zeros(max(Source) + 1)
for _rank, _source in enumerate((Source.UNKNOWN, Source.PREDICTED, Source.LIFTED, Source.OBSERVED,
                                 Source.DEPTH)):
    _RANK[_source] = _rank


@dataclass(frozen=True)
class FuserOptions:
    """What is assumed. Metres, seconds."""

    gate: float = 5.0        # people of larger distance (see information.distances) are two
    loyalty: float = 0.5     # factor on the distance where the camera's own id says so too
    slack: float = 0.03      # m, what extrinsics may be off without people falling apart
    keep: float = 2.0        # s, a person nobody sees is forgotten, its id with it


@dataclass
class View:
    """What one camera says.

    Args:
        camera: its name. stamp: s, of its image.
        people: list of :class:`~lifting_ros.person.Person` in the common frame, at ``stamp``.
            Who has a joint that is not known, or whose covariance is none (not positive
            definite), is left out.
        origin: (3,) m, the camera's centre in the common frame; None where it is not known:
            its errors are then taken for those of any other camera (covariance intersection).
        arrays: joints, covariance, velocity and velocity_covariance of the people, (N, 17, ...)
            each, in the common frame, where they are there already: the people's own are then
            not looked at, and may be in another frame.
    """

    camera: str
    stamp: float
    people: list
    origin: np.ndarray | None = None
    arrays: tuple | None = None


@dataclass
class _Sight:
    """The people of a view at the common time, as arrays."""

    camera: str
    people: list
    joints: np.ndarray
    parts: Parts
    velocity: np.ndarray
    spread: np.ndarray
    start: int = 0      # row of the first of them among everybody's


@dataclass
class _Track:
    """A fused person over time: its state as it was published, and the cameras' ids for it."""

    name: str
    born: float
    seen: float
    joints: np.ndarray
    covariance: np.ndarray
    velocity: np.ndarray
    spread: np.ndarray
    links: dict = field(default_factory=dict)


_TINY = 1e-9 * np.eye(3)
#: m, nobody is farther from the common frame's origin.
_FARTHEST = 1e7
_NOBODY = tuple((name, np.broadcast_to(value, (1, NUM_JOINTS, *value.shape))) for name, value in (
    ('joints', np.zeros(3)), ('covariance', np.eye(3)), ('velocity', np.zeros(3)),
    ('spread', np.eye(3))))


class Fuser:
    """Keeps ids of fused people from time to time."""

    def __init__(self, options=None):
        """Start with nobody."""
        self.options = options or FuserOptions()
        self._ids, self._tracks, self._stamp = IdSource(), [], None
        self.groups = []  # of the last update: (id, [(sight, row), ...]) for each person

    def reset(self):
        """Forget everybody; ids given before are not given again."""
        self._tracks, self._stamp = [], None

    def update(self, views, stamp):
        """Fuse what the cameras say.

        Args:
            views: list of :class:`View`, one a camera; those whose stamp is not ``stamp`` are
                moved to it by their velocities, with growing covariance.
            stamp: s. Time that goes back, or leaps by more than ``keep``, starts afresh.

        Returns:
            list of Person in the common frame at ``stamp``, without pixels.
        """
        if self._stamp is not None and not 0 <= stamp - self._stamp <= self.options.keep:
            self.reset()
        self._stamp = stamp
        sights, everybody, known = _sights(views, self._tracks, stamp)
        groups = self._to_tracks(sights, everybody, known)
        taken = {member for _, members in groups for member in members.items()}
        loose = [(None, {c: i}) for c, s in enumerate(sights) for i in range(len(s.people))
                 if (c, i) not in taken]
        groups = self._joined(groups + loose, sights, everybody)
        self.groups = []
        people = self._fused(groups, sights, everybody, stamp) if groups else []
        self._tracks = [t for t in self._tracks if stamp - t.seen <= self.options.keep]
        return people

    def _to_tracks(self, sights, everybody, known):
        """Groups (track, {camera: row}) of the people known already."""
        tracks = self._tracks
        groups = [(t, {}) for t in tracks]
        if not tracks or not everybody.people:
            return []
        gate = self.options.gate
        far = distances(known.joints, known.parts, everybody.joints[:-1],
                        _rows(everybody.parts, slice(-1)), self.options.slack, gate)
        same = np.array([[t.links.get(s.camera) == p.id for s in sights for p in s.people]
                         for t in tracks])
        cost = np.where(far > gate, np.nan, np.where(same, self.options.loyalty * far, far))
        for c, sight in enumerate(sights):
            if sight.people:
                one = cost[:, sight.start:sight.start + len(sight.people)]
                for row, column in _matched(one, gate):
                    groups[row][1][c] = column
        return [(t, members) for t, members in groups if members]

    def _joined(self, groups, sights, everybody):
        """Groups of different cameras that are one person become one; the older id stays."""
        if not groups or set.intersection(*(set(members) for _, members in groups)):
            return groups       # somebody's camera has everybody: nobody is two
        cost, groups = self._apart(groups, sights, everybody), list(groups)
        while len(groups) > 1:
            a, b = divmod(int(cost.argmin()), len(groups))
            if not cost[a, b] < self.options.gate:
                break
            (first, mine), (second, other) = groups[a], groups[b]
            known = sorted((t for t in (first, second) if t), key=lambda t: t.born)
            if len(known) == 2:
                self._tracks.remove(known[1])
            groups[a] = known[0] if known else None, {**other, **mine}
            # as far apart as their members are at most
            cost[a] = cost[:, a] = np.maximum(cost[a], cost[b])
            del groups[b]
            cost = np.delete(np.delete(cost, b, 0), b, 1)
        return groups

    def _apart(self, groups, sights, everybody):
        """The largest distances of any two groups' members (G, G); inf where they have a camera
        in common, or are too far apart.
        """
        n = len(groups)
        shown = np.zeros((n, len(sights)))
        group = np.empty(len(everybody.people), int)
        for g, (_, members) in enumerate(groups):
            for c, i in members.items():
                shown[g, c], group[sights[c].start + i] = 1, g
        cost = np.where(shown @ shown.T > 0, np.inf, 0.0)
        first, second = np.nonzero(np.triu(cost[group[:, None], group] == 0))
        far = apart(everybody.joints, everybody.parts, everybody.joints, everybody.parts, first,
                    second, self.options.slack, self.options.gate)
        first, second = group[first], group[second]
        np.maximum.at(cost, (first, second), far)
        np.maximum.at(cost, (second, first), far)
        return cost

    def _fused(self, groups, sights, everybody, stamp):
        rows = np.array([[s.start + members[c] if c in members else -1 for _, members in groups]
                         for c, s in enumerate(sights)])
        there = rows >= 0
        # the last of everybody is nobody: whoever is not there
        joints, velocity, spread = (getattr(everybody, name)[rows] for name in (
            'joints', 'velocity', 'spread'))
        parts = _rows(everybody.parts, rows)
        mean, covariance, _ = fuse(joints, parts, there)
        speed, speed_covariance = _velocities(velocity, spread, there)
        sure, source = _best(everybody.people, rows)
        people, n = [], len(groups)
        unseen, spots, spread_2d = (np.full((n,) + shape, np.nan) for shape in (
            (4,), (NUM_JOINTS, 2), (NUM_JOINTS, 2, 2)))
        for g, (track, members) in enumerate(groups):
            if track is None:
                track = _Track(self._ids.new(), stamp, stamp, *[None] * 4)
                self._tracks.append(track)
            track.seen, track.joints, track.covariance = stamp, mean[g], covariance[g]
            track.velocity, track.spread = speed[g], speed_covariance[g]
            seen_by = [(sights[c], i) for c, i in members.items()]
            track.links.update({s.camera: s.people[i].id for s, i in seen_by})
            people.append(_person(track, [s.people[i] for s, i in seen_by], sure[g], source[g],
                                  stamp, unseen[g], spots[g], spread_2d[g]))
            self.groups.append((track.name, seen_by))
        people.sort(key=lambda p: (not p.matched, -p.confidence))
        return people


def _sights(views, tracks, stamp):
    """A _Sight for each view; one of everybody together, with nobody behind them; one of the
    tracks.
    """
    kept = [view.people for view in views]
    arrays = [stacked(v.people) if v.arrays is None else v.arrays for v in views]
    joints, covariance = (np.concatenate([nobody[:0], *(four[i] for four in arrays)])
                          for i, (_, nobody) in enumerate(_NOBODY[:2]))
    good = (np.abs(joints) < _FARTHEST).all((1, 2)) & positive(covariance).all(1)
    if not good.all():
        good = np.split(good, np.cumsum([len(some) for some in kept])[:-1])
        kept = [[p for p, g in zip(*both) if g] for both in zip(kept, good)]
        arrays = [[a[g] for a in four] for four, g in zip(arrays, good)]
    people = [p for some in kept for p in some]
    n, count = len(people), [len(some) for some in kept]
    # in one go: everybody, nobody, the tracks
    joints, covariance, velocity, spread = (np.concatenate((
        *(four[i] for four in arrays), nobody,
        np.array([getattr(t, name) for t in tracks]).reshape(len(tracks), *nobody.shape[1:])))
        for i, (name, nobody) in enumerate(_NOBODY))
    origin, seconds = np.full((len(joints), 3), np.nan), np.zeros(len(joints))
    start = 0
    for view, some in zip(views, count):
        if view.origin is not None:
            origin[start:start + some] = view.origin
        seconds[start:start + some] = stamp - view.stamp
        start += some
    seconds[n + 1:] = [stamp - t.seen for t in tracks]
    parts = take_apart(joints[:n], covariance[:n], origin[:n])
    rest = len(joints) - n
    parts = Parts(np.concatenate((parts.ray, np.zeros((rest, NUM_JOINTS, 3)))),
                  np.concatenate((parts.scale, np.zeros(rest))),
                  np.concatenate((parts.own, covariance[n:])))
    if seconds.any():
        # what grows with time grows in each joint by itself
        joints, grown, velocity, spread = carried(joints, covariance, velocity, spread, seconds)
        parts = Parts(parts.ray, parts.scale, parts.own + grown - covariance)
    else:
        velocity, spread = known_velocity(velocity, spread)

    def sight(camera, who, rows):
        return _Sight(camera, who, joints[rows], _rows(parts, rows), velocity[rows], spread[rows],
                      rows.start)
    out, start = [], 0
    for view, some in zip(views, kept):
        out.append(sight(view.camera, some, slice(start, start + len(some))))
        start += len(some)
    return out, sight('', people, slice(0, n + 1)), sight('', [], slice(n + 1, len(joints)))


def _matched(cost, gate):
    """As ``match``; where nobody has a choice, there is nothing to be weighed up."""
    rows, columns = np.nonzero(cost < gate)
    rows, columns = rows.tolist(), columns.tolist()
    if len(set(rows)) == len(rows) and len(set(columns)) == len(columns):
        return list(zip(rows, columns))
    return match(cost, gate)


def _rows(parts, rows):
    return Parts(parts.ray[rows], parts.scale[rows], parts.own[rows])


def _velocities(velocity, spread, there):
    """Velocities of several cameras: by information, as alike as the joints' own errors are."""
    count = there.sum(0)
    trust = there / (1 + RHO * (np.maximum(count, 1) - 1))
    information = inverse(spread + _TINY) * trust[..., None, None, None]
    out = inverse(information.sum(0))
    return (out @ (information @ velocity[..., None]).sum(0))[..., 0], out


def _best(people, rows):
    """Of each group's joints (N, 17) the highest confidence, and the source that says most.

    Args:
        people: everybody. rows: (C, N), who of them is in a group; -1: nobody.
    """
    nobody = np.zeros(NUM_JOINTS)
    confidence = np.array([*(p.keypoint_confidence for p in people), nobody])[rows]
    source = np.array([*(p.source for p in people), nobody], np.uint8)[rows]
    best = _RANK[source].argmax(0)
    return confidence.max(0), np.take_along_axis(source, best[None], 0)[0]


def _person(track, members, sure, source, stamp, box, spots, spread_2d):
    """The fused Person of a track that was just updated; the last three say nothing."""
    return Person(
        id=track.name, confidence=float(max(m.confidence for m in members)),
        box=box, keypoints=spots, keypoint_covariance=spread_2d, keypoint_confidence=sure,
        joints=track.joints, covariance=track.covariance, velocity=track.velocity,
        velocity_covariance=track.spread, source=source,
        scale_source=ScaleSource(max(m.scale_source for m in members)),
        age=stamp - track.born, matched=any(m.matched for m in members),
        occluded=all(m.occluded for m in members))
