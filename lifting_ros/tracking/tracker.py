"""The tracker: observations of one image in, people with names and velocities out."""

from dataclasses import dataclass

import numpy as np

from . import association, people, reunion
from .appearance import NUM_LOOKS
from .filters import FilterBank, FilterOptions
from .ids import IdSource
from .stature import bone_stature
from .track import Track, image_steps


@dataclass(frozen=True)
class TrackerOptions:
    """What the tracker may assume. Times in seconds."""

    keep: float = 6.0        # a person not seen for longer is forgotten, its name with it
    keep_left: float = 2.0   # the same for one who left the image, or would have by now
    show_gap: float = 0.25   # a person not seen is still given out, as PREDICTED, for so long
    look_gap: float = 0.35   # and looked for where it should be for so long
    max_cost: float = 12.0   # pairs that cost more do not match (association.py)
    lost_cost: float = 8.0   # the same for who was not in the last image: others may come out
    decide: float = 1.0      # for so long who comes into sight may still be taken for another
    return_cost: float = 3.0   # he is new where everybody lost costs more (reunion.py)
    glimpse: float = 0.3     # who is seen for less time keeps no name of somebody else
    patience: float = 12.0    # he is waited for for so many times as long as he was seen
    seen: float = 0.15       # a keypoint above this confidence counts as seen
    max_step: float = 5.0    # time running on by more than this starts afresh
    confirm: float = 0.4     # who is less sure than this is given out when seen a second time
    appearance: float = 2.0  # how much clothes count against place
    filter: FilterOptions = FilterOptions()


class Tracker:
    """Keeps names and velocities of people from image to image. Stamps are in seconds."""

    def __init__(self, options=None, ids=None):
        """Start with nobody.

        Args:
            options: :class:`TrackerOptions`. ids: :class:`~.ids.IdSource`, where names are from.
        """
        self.options = options or TrackerOptions()
        self._ids = ids or IdSource()
        self._tracks = []          # those with filters first, in the order of the bank
        self._bank = FilterBank(self.options.filter)
        self._stamp = self._before = self._size = None

    def reset(self):
        """Forget everybody. Names given before are not given again."""
        self._tracks, self._stamp, self._before = [], None, None
        self._bank = FilterBank(self.options.filter)

    def turn(self, rotation, translation):
        """Express where people are in another frame: x_new = R x_old + t, (3, 3) and (3,) m."""
        self._bank.turn(rotation, translation)
        for track in self._tracks:
            if track.sight is not None:
                track.sight.turn(rotation, translation)

    def expected_boxes(self, stamp):
        """(T, 4) px: where the people seen lately should be at ``stamp``."""
        boxes = [t.box_at(stamp) for t in self._tracks
                 if 0 <= stamp - t.seen <= self.options.look_gap]
        return np.array(boxes, dtype=float).reshape(-1, 4)

    def missing(self, stamp, within):
        """Whether somebody was not seen in the last image who was ``within`` seconds ago."""
        return any(t.seen != self._stamp and 0 <= stamp - t.seen <= within for t in self._tracks)

    def update(self, observation, stamp):
        """Take the people of one image.

        Args:
            observation: :class:`~.observation.Observation`.
            stamp: time of the image, s. Time that stands still or goes back (a looped bag), or
                that leaps by more than ``max_step``, starts afresh.

        Returns:
            list of :class:`~lifting_ros.person.Person`: those seen, then those predicted.
        """
        if self._stamp is not None and not 0 < stamp - self._stamp <= self.options.max_step:
            self.reset()
        last, self._before, self._stamp = self._stamp, self._stamp, stamp
        self._forget(stamp)
        tracks, o = self._tracks, observation
        self._size = o.image_size
        seen = o.keypoint_confidence > self.options.seen
        before = np.array([t.person.keypoints for t in tracks])
        fresh = [row for row, t in enumerate(tracks[:len(self._bank)]) if t.lifted == last]
        if fresh:
            self._bank.predict(fresh, stamp - last)
            for row in fresh:
                tracks[row].at = stamp
        stature = bone_stature(o.joints)
        pairs = self._associate(o, stamp, fresh, stature, before, seen)
        taken = {column for _, column in pairs}
        known = o.lifted()
        known = known.tolist()
        self._measure(o, [p for p in pairs if known[p[1]] and p[0] < len(self._bank)], stamp,
                      fresh)
        new = {Track(self._ids, stamp): c for c in range(len(o)) if c not in taken}
        now = {tracks[row]: column for row, column in pairs} | new
        without = [*tracks[len(self._bank):], *new]       # a filter
        tracks = tracks[:len(self._bank)]
        first = [t for t in without if t in now and known[now[t]]]
        if first:
            columns = [now[t] for t in first]
            self._bank.add(o.joints[columns], o.covariance[columns])
            for track in first:
                track.lifted = track.at = stamp
        self._see(now, o, stature, stamp, self._steps(pairs, before, o.keypoints, seen))
        self._tracks = [*tracks, *first, *(t for t in without if t not in first)]
        self._reunite(stamp)
        return self._people(people.Seen(o, seen), now, stamp)

    def _near(self, stamp):
        """For how long (s) people count as seen just now."""
        step = 0.0 if self._before is None else stamp - self._before
        return max(self.options.look_gap, 1.5 * step)

    def _forget(self, stamp):
        near, options = self._near(stamp), self.options
        for t in list(self._tracks):
            if not t.settled and stamp - t.seen > near and (
                    t.memory is None or t.seen - t.born >= options.glimpse):
                self._settle(t)
        claimed = self._claimed()
        soon = min(near, options.keep, options.keep_left, 0.4)

        def stays(t):
            if stamp - t.seen <= soon or t in claimed:
                return True
            if t.memory is not None and stamp - t.seen > near:
                return False
            # who was seen for an instant is not waited for as who was seen for long
            gone = t.leaving or t.outside(stamp, self._size)
            longest = options.keep_left if gone else options.keep
            life = t.seen - t.born if t.shown else 0.0
            return stamp - t.seen <= min(longest, 0.4 + options.patience * life)
        self._keep([stays(t) for t in self._tracks])

    def _keep(self, keep):
        if not all(keep):
            self._bank.keep(np.flatnonzero(keep[:len(self._bank)]))
            self._tracks = [t for t, k in zip(self._tracks, keep) if k]

    def _claimed(self):
        """Those lost whose names are borne by others for the time being."""
        return {t.memory for t in self._tracks if t.memory is not None}

    def _settle(self, track):
        memory = track.memory
        track.settle()
        if memory is not None:
            self._keep([t is not memory for t in self._tracks])

    def _reunite(self, stamp):
        """Who came into sight lately: is it somebody who was lost?"""
        options = self.options
        sights = reunion.Sight.of(self._bank, stamp) if len(self._bank) else ()
        for track, sight in zip(self._tracks, sights):
            if track.lifted == stamp and sight.replaces(track.sight):
                track.sight = sight
        for track in list(self._tracks):
            if not track.settled and stamp - track.born > options.decide:
                self._settle(track)
        here = self._tracks[:len(self._bank)]
        new = [t for t in here if not t.settled]
        old = [t for t in here if t.settled and stamp - t.seen > 0.15]
        for track in new:
            if track.memory not in old:
                track.memory = None
        if not new or not old:
            return
        cost = reunion.cost([t.sight for t in old], [t.sight for t in new])
        cost += association.stature_cost(
            np.array([t.stature for t in old]), np.array([t.statures for t in old]),
            np.array([t.stature for t in new]))
        if options.appearance:
            cost += options.appearance * reunion.clothes_cost(_looks(old), _looks(new))
        for a, lost in enumerate(old):
            for b, track in enumerate(new):
                if track.born < lost.seen:     # they were seen at once
                    cost[a, b] = np.nan
                elif track.memory is lost:
                    cost[a, b] -= 1.0
        pairs = {b: a for a, b in association.match(cost, options.return_cost)}
        for b, track in enumerate(new):
            track.memory = old[pairs[b]] if b in pairs else None

    def _associate(self, o, stamp, fresh, stature, before, seen):
        """Pairs (row of a track, column of a person of ``o``); evaluation/identity.py has
        another one, by boxes.
        """
        tracks = self._tracks
        if not tracks or not len(o):
            return []
        image = self._image_cost(o, stamp, before, seen)
        # people who stand apart, and were all seen in the last image, need no more
        pairs = association.plain(image) if len(fresh) == len(tracks) else None
        return self._weigh(o, stamp, fresh, stature, image) if pairs is None else pairs

    def _image_cost(self, o, stamp, before, seen):
        boxes = np.array([t.box_at(stamp) for t in self._tracks])
        moved = boxes[:, :2] - np.array([t.box[:2] for t in self._tracks])
        sure = np.array([t.person.keypoint_confidence for t in self._tracks]) > self.options.seen
        return association.image_cost(boxes, before + moved[:, None], sure, o.box, o.keypoints,
                                      seen)

    def _weigh(self, o, stamp, fresh, stature, image):
        """Pairs by all that is known: image, place, stature and clothes."""
        tracks = self._tracks
        away = np.array([stamp - t.seen for t in tracks])
        place = np.full((len(tracks), len(o)), np.nan)
        n = len(self._bank)
        if n:
            gap = np.array([stamp - t.at for t in tracks[:n]])
            place[:n] = association.place_cost(self._bank, fresh, gap, o.joints, o.covariance)
        cost = association.combine(image, place, away, self.options.max_cost)
        # who is lost, and whoever comes into sight, wait for _reunite
        claimed, lost = self._claimed(), away > self._near(stamp)
        lost[n:] = False
        cost[lost[:, None] & np.isfinite(place)] = np.nan
        cost[[t in claimed for t in tracks]] = np.nan
        # who was not seen for an image may be hidden, and somebody else come out there
        step = stamp - (self._before if self._before is not None else stamp)
        limit = np.where(away > 1.5 * step, self.options.lost_cost, self.options.max_cost)
        limit[n:] = self.options.max_cost
        cost = cost + association.stature_cost(
            np.array([t.stature for t in tracks]), np.array([t.statures for t in tracks]),
            stature)
        if o.appearance is not None and self.options.appearance:
            cost = cost + self.options.appearance * association.appearance_cost(
                _looks(tracks), o.appearance)
        return association.match(cost, limit)

    def _measure(self, o, pairs, stamp, fresh):
        """Give the filters of matched people their measurements."""
        if not pairs:
            return
        rows, columns = (list(x) for x in zip(*pairs, strict=True))
        tracks = [self._tracks[r] for r in rows]
        since = np.array([stamp - t.lifted for t in tracks])
        back = [(r, stamp - t.at) for r, t in zip(rows, tracks) if r not in fresh]
        if back:
            self._bank.resume(*(np.array(x) for x in zip(*back)))
        self._bank.update(np.array(rows), o.joints[columns], o.covariance[columns], since)
        for track in tracks:
            track.lifted = track.at = stamp

    def _people(self, sight, now, stamp):
        """Everybody who is given out: those of ``now`` (track -> column of ``sight``), then those
        lost.
        """
        options, n = self.options, len(self._bank)
        states = [None] * len(self._tracks)
        if n:
            tracks = self._tracks[:n]
            states[:n] = people.states(self._bank, [t.lifted for t in tracks],
                                       [t.at for t in tracks], stamp, options.show_gap)
        claimed = self._claimed()
        here, lost = [], []
        for track, state in zip(self._tracks, states, strict=True):
            column = now.get(track)
            if column is not None:
                track.person = sight.person(track, column, stamp, state)
                if (track.shown or track.person.confidence >= options.confirm
                        or track.born < stamp):
                    track.shown = True
                    here.append(track.person)
            elif (state is not None and track.shown and track not in claimed
                    and stamp - track.seen <= options.show_gap):
                lost.append(people.predicted(track, state, stamp, options.show_gap))
        return here + lost

    def _steps(self, pairs, before, keypoints, seen):
        """How far the people of ``pairs`` have come in the image, track -> (x, y) px."""
        if not pairs:
            return {}
        rows, columns = zip(*pairs, strict=True)
        steps = image_steps(before.take(rows, 0), keypoints.take(columns, 0),
                            seen.take(columns, 0))
        return dict(zip((self._tracks[row] for row in rows), steps.tolist(), strict=True))

    @staticmethod
    def _see(now, o, stature, stamp, steps):
        """Tell the tracks of ``now`` (track -> column) what was seen of them; steps: as of
        :meth:`_steps`.
        """
        boxes, stature = o.box.tolist(), stature.tolist()
        for track, column in now.items():
            track.follow(boxes[column], steps.get(track), stamp, o.image_size)
            track.learn(stature[column],
                        None if o.appearance is None else o.appearance[column])
            track.seen = stamp


def _looks(tracks):
    """(T, 6) as of tracking.appearance, NaN where not known."""
    unknown = np.full(NUM_LOOKS, np.nan)
    return np.array([unknown if t.appearance is None else t.appearance for t in tracks])
