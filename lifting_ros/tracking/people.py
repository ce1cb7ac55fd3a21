"""What is given out: tracks, and what the filters say of them, as people."""

import numpy as np

from ..person import Person, ScaleSource, Source
from ..skeleton import NUM_JOINTS

_FIELDS = 'joints', 'covariance', 'velocity', 'velocity_covariance'


def states(bank, lifted, at, stamp, show_gap):
    """What filters say of people at ``stamp``.

    Args:
        bank: FilterBank of T people. lifted, at: lists of T stamps, of their last measurements
        and of their filters' states. show_gap: for so long (s) after a measurement something is
        said.

    Returns:
        list of T: fields of a person (joints, covariance, velocity, velocity_covariance), or
        None of whom nothing is said any more.
    """
    parts = bank.position, bank.covariance(), bank.velocity, bank.velocity_covariance()
    stale = [i for i, then in enumerate(lifted) if 0 < stamp - then <= show_gap]
    if stale:
        parts = [part.copy() for part in parts]
        ahead = stamp - np.array([at[i] for i in stale])
        x, v, own = bank.carry(stale, ahead)
        grown = (own - bank.own[stale]) / np.maximum(ahead, 1e-3)[:, None, None, None] ** 2
        parts[0][stale], parts[2][stale] = x, v
        parts[1][stale] = bank.bias[stale] + own
        parts[3][stale] += grown
    return [dict(zip(_FIELDS, state, strict=True)) if stamp - then <= show_gap else None
            for then, *state in zip(lifted, *parts, strict=True)]


class Seen:
    """Makes the people who are seen in an image.

    Args:
        o: Observation. seen: (N, 17) bool, its keypoints that are sure enough.
    """

    def __init__(self, o, seen):
        """Take of all of them what is cheaper of all than of each."""
        self._o = o
        hidden = NUM_JOINTS - seen.sum(1)
        self._each = list(zip(o.confidence.tolist(), map(ScaleSource, o.scale_source.tolist()),
                              o.log_likelihood.tolist(), (hidden >= NUM_JOINTS // 3).tolist(),
                              strict=True))

    def person(self, track, i, stamp, state):
        """The person of a track, ``i`` of the observation.

        Args:
            state: of :func:`states`, or None: as it was observed.
        """
        o = self._o
        if state is None:
            state, source = {'joints': o.joints[i], 'covariance': o.covariance[i]}, o.source[i]
        elif track.lifted == stamp:
            source = o.source[i]
        else:                                    # seen, but not lifted in this image
            source = _predicted_source()
        confidence, scale_source, likelihood, occluded = self._each[i]
        return Person(
            id=track.name, confidence=confidence, box=o.box[i],
            keypoints=o.keypoints[i], keypoint_confidence=o.keypoint_confidence[i],
            keypoint_covariance=o.keypoint_covariance[i],
            source=source, scale_source=scale_source, log_likelihood=likelihood,
            age=stamp - track.since, matched=True, occluded=occluded, **state)


def predicted(track, state, stamp, show_gap):
    """The person as the filters' ``state`` carries it on, while it is not seen."""
    fade = 1 - (stamp - track.seen) / (2 * show_gap)
    return Person(
        id=track.name, confidence=track.person.confidence * fade,
        box=np.array(track.box_at(stamp)), source=_predicted_source(),
        scale_source=track.person.scale_source, age=stamp - track.since, matched=False,
        occluded=True, **state)


def _predicted_source():
    return np.full(NUM_JOINTS, Source.PREDICTED, dtype=np.uint8)
