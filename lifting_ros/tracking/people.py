"""What is given out: tracks, and what the filters say of them, as people."""

import numpy as np

from ..person import Person, ScaleSource, Source
from ..skeleton import NUM_JOINTS

_FIELDS = 'joints', 'covariance', 'velocity', 'velocity_covariance'


def states(bank, lifted, at, stamp, show_gap):
    """What filters say of people at ``stamp``.

    Args:
        bank: FilterBank of T people. lifted, at: (T,) stamps of their last measurements and of
        their filters' states. show_gap: for so long (s) after a measurement something is said.

    Returns:
        list of T: fields of a person (joints, covariance, velocity, velocity_covariance), or
        None of whom nothing is said any more.
    """
    gap = stamp - lifted
    # copies, as the filters go on
    parts = [np.array(bank.position), bank.bias + bank.own, np.array(bank.velocity),
             np.array(bank.velocity_covariance())]
    stale = np.flatnonzero((gap > 0) & (gap <= show_gap))
    if len(stale):
        ahead = stamp - at[stale]
        x, v, own = bank.carry(stale, ahead)
        grown = (own - bank.own[stale]) / np.maximum(ahead, 1e-3)[:, None, None, None] ** 2
        parts[0][stale], parts[2][stale] = x, v
        parts[1][stale] = bank.bias[stale] + own
        parts[3][stale] += grown
    return [dict(zip(_FIELDS, state, strict=True)) if g <= show_gap else None
            for g, *state in zip(gap, *parts, strict=True)]


def seen(track, o, i, stamp, state, least):
    """The person of a track that is seen in this image.

    Args:
        o: Observation; i: which of it. state: of :func:`states`, or None: as it was observed.
        least: a keypoint is seen above this confidence.
    """
    if state is None:
        state, source = {'joints': o.joints[i], 'covariance': o.covariance[i]}, o.source[i]
    elif track.lifted == stamp:
        source = o.source[i]
    else:                                    # seen, but not lifted in this image
        source = _predicted_source()
    hidden = (o.keypoint_confidence[i] <= least).sum()
    return Person(
        id=track.name, confidence=float(o.confidence[i]), box=o.box[i],
        keypoints=o.keypoints[i], keypoint_confidence=o.keypoint_confidence[i],
        keypoint_covariance=o.keypoint_covariance[i],
        source=source, scale_source=ScaleSource(int(o.scale_source[i])),
        log_likelihood=float(o.log_likelihood[i]),
        age=stamp - track.since, matched=True,
        occluded=bool(hidden >= NUM_JOINTS // 3), **state)


def predicted(track, state, stamp, show_gap):
    """The person as the filters' ``state`` carries it on, while it is not seen."""
    fade = 1 - (stamp - track.seen) / (2 * show_gap)
    return Person(
        id=track.name, confidence=track.person.confidence * fade, box=track.box_at(stamp),
        source=_predicted_source(), scale_source=track.person.scale_source,
        age=stamp - track.since, matched=False, occluded=True, **state)


def _predicted_source():
    return np.full(NUM_JOINTS, Source.PREDICTED, dtype=np.uint8)
