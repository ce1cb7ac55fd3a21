"""Does a camera agree with the others on where people are? If not, its extrinsics are wrong.

Of each person seen by several cameras, the mean of the joints as one camera has it is compared
with what the others make of it. The difference has three parts: errors new after a second or so,
which time averages out; the errors of the distances, which stay, for the same stature fixes them;
and t, by which everybody is off who is seen by that camera. Where the first two explain the
difference, nothing is said of t. How large the first are is said by the cameras' covariances, and
by how much the difference has moved about: claims that are too small for this person are found
out, and too large ones do not hide what there is.

So two cameras find what moves people out of the plane of the two lines of sight, up or down: a
shift within that plane only moves the point where the lines meet, and distances are not known
well enough to tell. From three cameras on the lines no longer meet, and that shows too. A shift
along a camera's own line of sight changes next to nothing, and is not found.
"""

from dataclasses import dataclass

import numpy as np

from ..person import Source

#: chi-squared of 3 degrees of freedom: in 152 clips of 10 s from pictures, honest cameras came to
#: 8 at most (docs/reliability.md).
_LIMIT = 12.0
#: A mean over the joints is as sure as one over so many joints with independent errors would be.
_INDEPENDENT = 17.0
#: m, joints that two cameras see so much nearer or farther apart than the most count in full.
_USUAL = 0.01
#: Of the numbers that are summed up: the gap, its own covariance, its square, and the loadings.
_GAP, _OWN, _SQUARE, _LOADS = slice(0, 3), slice(3, 12), slice(12, 21), slice(21, None)
#: Whether a joint of a source is seen.
_SEEN = np.isin(np.arange(max(Source) + 1), (Source.OBSERVED, Source.DEPTH))
#: Joints that cameras must have in common.
_FEWEST = 6


@dataclass(frozen=True)
class AgreementOptions:
    """Seconds and metres."""

    every: float = 0.2       # looked at so often
    memory: float = 15.0     # what is older than this counts for little
    renewed: float = 1.0     # errors of a pose are new after so long
    bias: float = 0.006      # m, what one camera's means are off, however long one looks
    claims: float = 8.0      # s, what covariances claim counts as what was seen in so long
    likely: float = 0.1      # m, extrinsics are off by so much, where they are
    least: float = 0.02      # m, smaller offsets are not complained about
    after: float = 3.0       # s of common sight before anything is said


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is known of one camera against the others.

    Args:
        camera, others: names. offset: (3,) m, by how much its people are off theirs, as far as
            that can be seen. covariance: (3, 3) m^2. seconds: of common sight. surprise: squared
            Mahalanobis distance of the difference, about 3 for honest cameras. agree: False
            where the difference is beyond the covariances.
    """

    camera: str
    others: tuple
    offset: np.ndarray
    covariance: np.ndarray
    seconds: float
    surprise: float
    agree: bool

    @property
    def text(self):
        """In a sentence."""
        x, y, z = 100 * self.offset
        far = 100 * np.linalg.norm(self.offset)
        return (f'{self.camera} sees people {far:.0f} cm off where {", ".join(self.others)} '
                f'do{"es" * (len(self.others) == 1)} ({x:+.0f}, {y:+.0f}, {z:+.0f} cm): check '
                'the extrinsic calibration')


class _Sum:
    """Weighted sums of one person before one camera: what :func:`_differences` gives."""

    def __init__(self):
        self.weight, self.stamp, self.values, self.cameras = 0.0, None, None, None

    def add(self, cameras, values, stamp, options):
        step = options.renewed if self.stamp is None else stamp - self.stamp
        fade = np.exp(-max(step, 0.0) / options.memory)
        share = min(step, options.renewed) / options.renewed
        if cameras != self.cameras:
            self.cameras, self.weight, self.values = cameras, 0.0, 0.0
        self.values = fade * self.values + share * values
        self.weight, self.stamp = fade * self.weight + share, stamp


class Agreement:
    """Collects over time how cameras agree."""

    def __init__(self, options=None):
        """Start knowing nothing."""
        self.options = options or AgreementOptions()
        self.reset()

    def reset(self):
        """Forget all."""
        self._sums, self._seconds, self._last = {}, {}, None

    def update(self, groups, stamp):
        """Take who was fused of what (``groups`` of a :class:`Fuser`) at ``stamp``, s."""
        o = self.options
        if self._last is not None and 0 <= stamp - self._last < o.every:
            return
        if self._last is not None and not 0 <= stamp - self._last < o.memory:
            self.reset()
        passed = 0.0 if self._last is None else min(stamp - self._last, o.renewed)
        self._last, seen = stamp, set()
        shared = {}     # number of cameras -> what they share
        for name, members in groups:
            members, common = _shared(members)
            if len(members) > 1:
                shared.setdefault(len(members), []).append((name, members, common))
        for people in shared.values():
            values = _differences(*_means([m for _, m, _ in people], [c for _, _, c in people]))
            for (name, members, _), rows in zip(people, values):
                cameras = tuple([s.camera for s, _ in members])
                for camera, row in zip(cameras, rows):
                    self._sums.setdefault(camera, {}).setdefault(name, _Sum()).add(
                        cameras, row, stamp, o)
                seen.update(cameras)
        for camera in seen:
            self._seconds[camera] = self._seconds.get(camera, 0.0) + passed
        for people in self._sums.values():
            for name in [k for k, v in people.items() if stamp - v.stamp > 2 * o.memory]:
                del people[name]

    def verdicts(self):
        """List of :class:`Verdict`, one a camera that shared people with others; the one that is
        most at odds comes first.
        """
        o, out = self.options, []
        for camera, people in self._sums.items():
            total, pulled, others = np.zeros((3, 3)), np.zeros(3), set()
            for person in people.values():
                w, v = person.weight, person.values
                gap, loads = v[_GAP] / w, v[_LOADS].reshape(-1, 3) / w
                # values are sums over the weight; one more / w is the average's
                moved = v[_SQUARE].reshape(3, 3) / w - gap[:, None] * gap
                own = (o.claims * v[_OWN].reshape(3, 3) / w + w * moved) / (o.claims + w)
                spread = own / w + loads.T @ loads
                known = np.linalg.inv(spread + 2 * o.bias ** 2 * np.eye(3))
                others.update(person.cameras)
                total += known
                pulled += known @ gap
            if not people:
                continue
            surprise = float(pulled @ np.linalg.solve(total, pulled))
            covariance = np.linalg.inv(total + np.eye(3) / o.likely ** 2)
            offset = covariance @ pulled
            seconds = self._seconds.get(camera, 0.0)
            out.append(Verdict(
                camera, tuple(sorted(others - {camera})), offset, covariance, seconds, surprise,
                not (surprise > _LIMIT and np.linalg.norm(offset) > o.least
                     and seconds >= o.after)))
        return sorted(out, key=lambda v: -v.surprise)


def _shared(members):
    """Of the members (sight, row) of a person those that can be compared, in the order of their
    cameras' names; (17,) bool, the joints that all of these see.

    The middle of what one camera sees is elsewhere than that of what another sees, be both right:
    a camera that sees little of the person is left out, for the sake of the others.
    """
    seen = [(_SEEN[s.people[i].source], s, i) for s, i in members if s.parts.scale[i] > 0]
    seen.sort(key=lambda one: -np.count_nonzero(one[0]))
    while len(seen) > 1:
        common = np.logical_and.reduce([good for good, _, _ in seen])
        if np.count_nonzero(common) >= _FEWEST:
            return sorted(((s, i) for _, s, i in seen), key=lambda m: m[0].camera), common
        seen.pop()
    return [], None


def _means(people, common):
    """Means of people's joints; those on which cameras disagree more than on most count less.

    Args:
        people: list of N times C members (sight, row). common: list of N (17,) bool.

    Returns:
        (N, C, 3) m; loading of each camera's scale (N, C, 3); own covariance (N, C, 3, 3).
    """
    n, c = len(people), len(people[0])
    joints, ray, own, scale = (np.array([[pick(s, i) for s, i in members] for members in people])
                               for pick in (lambda s, i: s.joints[i],
                                            lambda s, i: s.parts.ray[i],
                                            lambda s, i: s.parts.own[i],
                                            lambda s, i: s.parts.scale[i]))
    share = _share(joints, ray, np.array(common))[:, None, None]
    return ((share @ joints)[..., 0, :],
            np.sqrt(scale)[..., None] * (share @ ray)[..., 0, :],
            (share @ own.reshape(n, c, -1, 9)).reshape(n, c, 3, 3) / _INDEPENDENT)


def _share(joints, ray, common):
    """How much each joint counts in the mean, (N, 17), by Huber's weights: an arm that one camera
    has on the wrong side pulls no more than others.

    Of each two cameras' joints the distance across both lines of sight is looked at, which no
    stature changes.

    Args:
        joints, ray: (N, C, 17, 3) m. common: (N, 17) bool, who counts at all.
    """
    first, second = np.triu_indices(joints.shape[1], 1)
    across = np.cross(ray[:, first], ray[:, second])
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    apart = (across * (joints[:, first] - joints[:, second])).sum(-1)          # (N, pairs, 17)
    apart[~np.broadcast_to(common[:, None], apart.shape)] = np.nan
    off = np.abs(apart - np.nanmedian(apart, axis=-1, keepdims=True))
    usual = np.maximum(1.48 * np.nanmedian(off, axis=-1, keepdims=True), _USUAL)
    share = np.where(common, np.minimum(usual / np.maximum(off, 1e-9), 1).prod(1), 0)
    return share / share.sum(-1, keepdims=True)


def _differences(point, load, own):
    """The difference of each camera's mean to that which the others make: its parts.

    Args:
        point, load, own: as :func:`_means` gives them.

    Returns:
        (N, C, 21 + 3 C): of each camera the gap, its own covariance, the square of the gap, and
        the loading of every camera's scale in it.
    """
    n, c = point.shape[:2]
    load = np.sqrt(c) * load    # covariance intersection of the scales
    weight = np.linalg.inv(own + load[..., :, None] * load[..., None, :])
    others = (1.0 - np.eye(c))[..., None, None]                       # (C, C, 1, 1)
    rest = others * weight[:, None]                                   # (N, C, C, 3, 3)
    gain = np.linalg.inv(rest.sum(2))[:, :, None] @ rest
    out = np.empty((n, c, _LOADS.start + 3 * c))
    gap = out[..., _GAP] = point - (gain @ point[:, None, :, :, None])[..., 0].sum(2)
    out[..., _OWN] = (own + (gain @ own[:, None] @ gain.swapaxes(-1, -2)).sum(2)).reshape(n, c, 9)
    out[..., _SQUARE] = (gap[..., :, None] * gap[..., None, :]).reshape(n, c, 9)
    loads = -(gain @ load[:, None, :, :, None])[..., 0]
    each = np.arange(c)
    loads[:, each, each] = load
    out[..., _LOADS] = loads.reshape(n, c, 3 * c)
    return out
