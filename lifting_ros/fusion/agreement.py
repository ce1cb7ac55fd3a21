"""Does a camera agree with the others on where people are? If not, its extrinsics are wrong.

Of each person seen by several cameras, the mean of the joints as one camera has it is compared
with what the others make of it. The difference has three parts: errors new after a second or so,
which time averages out; the errors of the distances, which stay, for the same stature fixes them;
and t, by which everybody is off who is seen by that camera. Where the first two explain the
difference, nothing is said of t.

So two cameras find what moves people out of the plane of the two lines of sight, up or down: a
shift within that plane only moves the point where the lines meet, and distances are not known
well enough to tell. From three cameras on the lines no longer meet, and that shows too. A shift
along a camera's own line of sight changes next to nothing, and is not found.
"""

from dataclasses import dataclass

import numpy as np

from ..person import Source

#: chi-squared of 3 degrees of freedom that honest cameras exceed once in a thousand.
_LIMIT = 16.3
#: A mean over the joints is as sure as one over so many joints with independent errors would be.
_INDEPENDENT = 12.0
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
    """Weighted sums of one person before one camera."""

    def __init__(self):
        self.weight, self.stamp, self.values = 0.0, None, None

    def add(self, values, stamp, options):
        step = options.renewed if self.stamp is None else stamp - self.stamp
        fade = np.exp(-max(step, 0.0) / options.memory)
        share = min(step, options.renewed) / options.renewed
        if self.values is None or set(values) != set(self.values):
            self.weight, self.values = 0.0, {k: 0.0 for k in values}
        self.values = {k: fade * self.values[k] + share * v for k, v in values.items()}
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
        for name, members in groups:
            means = _means(members)
            if len(means) < 2:
                continue
            for camera in means:
                values = _against(means, camera)
                self._sums.setdefault(camera, {}).setdefault(name, _Sum()).add(values, stamp, o)
                seen.add(camera)
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
                # values are sums over the weight: own / w is a mean, once more / w its average
                spread = v['own'] / w ** 2 + 2 * o.bias ** 2 * np.eye(3)
                for key, loading in v.items():
                    if key.startswith('scale '):
                        spread = spread + np.outer(loading, loading) / w ** 2
                        others.add(key[6:])
                known = np.linalg.inv(spread)
                total += known
                pulled += known @ v['gap'] / w
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


def _means(members):
    """Of each camera the mean of a person's joints, the same joints for all: camera -> _mean.

    The middle of what one camera sees is elsewhere than that of what another sees, be both right:
    a camera that sees little of the person is left out, for the sake of the others.
    """
    seen = [(_SEEN[s.people[i].source], s, i) for s, i in members if s.parts.scale[i] > 0]
    seen.sort(key=lambda one: -one[0].sum())
    while len(seen) > 1:
        common = np.logical_and.reduce([good for good, _, _ in seen])
        if common.sum() >= _FEWEST:
            return {s.camera: _mean(s, i, common) for _, s, i in seen}
        seen.pop()
    return {}


def _mean(sight, row, good):
    """Mean of joints: point (3,), loading of its scale (3,), own covariance (3, 3)."""
    return (sight.joints[row][good].mean(0),
            np.sqrt(sight.parts.scale[row]) * sight.parts.ray[row][good].mean(0),
            sight.parts.own[row][good].mean(0) / _INDEPENDENT)


def _against(means, camera):
    """The difference of one camera's mean to that which the others make: its parts."""
    bound = np.sqrt(len(means))  # covariance intersection of the scales
    point, load, own = means[camera]
    rest = {k: m for k, m in means.items() if k != camera}
    weights = {k: np.linalg.inv(n + np.outer(bound * d, bound * d)) for k, (_, d, n)
               in rest.items()}
    spread = np.linalg.inv(sum(weights.values()))
    out = {'gap': point, 'own': own, f'scale {camera}': bound * load}
    for k, (x, d, n) in rest.items():
        gain = spread @ weights[k]
        out['gap'] = out['gap'] - gain @ x
        out['own'] = out['own'] + gain @ n @ gain.T
        out[f'scale {k}'] = -bound * gain @ d
    return out
