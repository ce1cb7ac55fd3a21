"""What the node counts: frames, drops, times; and the diagnostics made of it."""

from collections import deque

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

#: An RMW that does not number messages gives this.
_NO_NUMBER = 2**64 - 1


class FrameCounter:
    """Counts the frames that a publisher sent and this node never saw.

    Exact where the middleware numbers the messages; otherwise from gaps in the stamps, in units
    of the shortest step between two stamps seen lately.
    """

    def __init__(self):
        """Start before the first frame."""
        self.received, self.dropped = 0, 0
        self._number, self._stamp = None, None
        self._steps = deque(maxlen=50)

    def restart(self):
        """Frames that come while nobody listens are not dropped: go on from the next one."""
        self._number = self._stamp = None

    def add(self, stamp, number=None):
        """Take a frame.

        Args:
            stamp: of the image, s.
            number: the middleware's number of the message, or None. A number that is not
                above the last one is another publisher's: the count goes on from there.
        """
        self.received += 1
        step = None if self._stamp is None else stamp - self._stamp
        self._stamp = stamp
        if number is not None and number != _NO_NUMBER:
            if self._number is not None and number > self._number:
                self.dropped += number - self._number - 1
            self._number = number
        elif step is not None and 0 < step < 10:
            self._steps.append(step)
            self.dropped += max(0, round(step / min(self._steps)) - 1)


class Times:
    """The last few durations, in seconds, and their percentiles in milliseconds."""

    def __init__(self, size=300):
        """Keep the last ``size``."""
        self._values = deque(maxlen=size)

    def add(self, value):
        """Take a duration in seconds."""
        self._values.append(float(value))

    def percentiles(self, *which):
        """Percentiles in ms; NaN where there is nothing."""
        if not self._values:
            return tuple(float('nan') for _ in which)
        return tuple(1e3 * np.percentile(self._values, which))

    def clear(self):
        """Forget all."""
        self._values.clear()


def status(name, hardware, level, message, values):
    """DiagnosticStatus; ``values`` is a dict, its values are made strings."""
    def text(value):
        return f'{value:.4g}' if isinstance(value, float) else str(value)
    return DiagnosticStatus(name=name, hardware_id=hardware, level=level, message=message,
                            values=[KeyValue(key=k, value=text(v)) for k, v in values.items()])


def diagnostic_array(stamp, *statuses):
    """DiagnosticArray of statuses, stamped."""
    out = DiagnosticArray(status=list(statuses))
    out.header.stamp = stamp
    return out


OK, WARN, ERROR, STALE = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR,
                          DiagnosticStatus.STALE)
