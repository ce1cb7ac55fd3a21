"""Messages of which only numbers change: serialized once, then patched where the numbers are.

What a message with hundreds of fields costs in Python is making and serializing it. Here a
message is made with a mark in each place that changes, serialized once, and its bytes kept. rclpy
publishes bytes as they are.
"""

import random
import struct

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

# a mark is a quiet NaN that carries its number where a float32 keeps it too. Numbers begin
# somewhere else in each message, and a float64 has what no field beside it has in its other half:
# what fills the gaps between fields is left from other messages, and must not pass for a mark.
_SHIFT, _NUMBER, _OTHER = 29, (1 << 22) - 1, 0x15A5A5A5
_SEC, _NANOSEC = 0x5EC05EC1, 0x3A5A5A5A
_LEAD = 4    # bytes before the body: how it is encoded


class Marks:
    """Gives out marks for the fields of a message."""

    def __init__(self):
        """Begin to count."""
        self.numbers, self.texts, self._first = 0, [], random.getrandbits(22)

    def number(self):
        """Mark for a float32 or float64."""
        number = self._first + self.numbers & _NUMBER
        self.numbers += 1
        return struct.unpack('<d', struct.pack('<Q', 0x7FF8 << 48 | number << _SHIFT | _OTHER))[0]

    def of(self, bits):
        """Which mark has the bits (N,) that carry its number, from 0 on; and whether one has."""
        number = (bits.astype(np.int64) - self._first) & _NUMBER
        return number, number < self.numbers

    def array(self, *shape):
        """Nested lists of marks."""
        if not shape:
            return self.number()
        return [self.array(*shape[1:]) for _ in range(shape[0])]

    def text(self, length):
        """Mark for a text of a length in bytes, at least 4."""
        self.texts.append(f'\x01{len(self.texts):0{length - 1}d}')
        return self.texts[-1]

    @staticmethod
    def stamp():
        """Mark for a stamp."""
        return Time(sec=_SEC, nanosec=_NANOSEC)

    def header(self, frame):
        """Header with a marked stamp."""
        return Header(stamp=self.stamp(), frame_id=frame)


class Template:
    """The bytes of a message with marks.

    Args:
        message: with what ``marks`` gave out in its fields; a mark may be in several.
        marks: :class:`Marks`.

    Raises:
        ValueError: no ROS message, a mark is not found, or the middleware encodes otherwise than
            in little-endian CDR.
    """

    def __init__(self, message, marks):
        if not hasattr(message, '_fields_and_field_types'):
            raise ValueError('no ROS message')
        data = serialize_message(message)
        if data[1] != 1:
            raise ValueError('not little-endian CDR')
        size = -(-(len(data) - _LEAD) // 8) * 8
        # the body begins at a multiple of eight bytes, as its numbers are aligned within it
        self._bytes = np.zeros(8 + size, np.uint8)
        self._end = 8 - _LEAD + len(data)
        self._bytes[8 - _LEAD:self._end] = np.frombuffer(data, np.uint8)
        self._f8, self._f4 = (self._bytes[8:].view(kind) for kind in ('<f8', '<f4'))
        self._u4, u8 = self._f4.view('<u4'), self._f8.view('<u8')
        number, double = marks.of(u8 >> _SHIFT)
        double &= (u8 >> 51 == 0xFFF) & (u8 & (1 << _SHIFT) - 1 == _OTHER)
        self._double = np.flatnonzero(double)
        self._double_of = number[self._double]
        number, single = marks.of(self._u4)
        single &= (self._u4 >> 22 == 0x1FF) & ~np.repeat(double, 2)
        self._single = np.flatnonzero(single)
        self._single_of = number[self._single]
        # the usual case, numbers side by side in the order of the marks, costs no look-up
        n = marks.numbers
        self._row = None
        for where, of, view in ((self._double, self._double_of, self._f8),
                                (self._single, self._single_of, self._f4)):
            if (len(where) == n == len(self._double) + len(self._single) > 0
                    and where[-1] - where[0] == n - 1 and np.array_equal(of, np.arange(n))):
                self._row = view[where[0]:where[0] + n]
        found = set(self._double_of.tolist()) | set(self._single_of.tolist())
        if found != set(range(marks.numbers)):
            raise ValueError('marks are missing in the serialized message')
        self._stamps = np.flatnonzero((self._u4[:-1] == _SEC) & (self._u4[1:] == _NANOSEC))
        self._both = np.stack((self._stamps, self._stamps + 1), 1)
        self._one = int(self._stamps[0]) if len(self._stamps) == 1 else None
        self._texts = []
        for text in marks.texts:
            at = data.find(text.encode())
            if at < 0 or data.find(text.encode(), at + 1) >= 0:
                raise ValueError('a text is not found, or found twice')
            self._texts.append((at + 8 - _LEAD, len(text)))

    @property
    def places(self):
        """Where the numbers are: (N,) of float64, (N,) of float32 and (N,) of stamps, in units
        of their size from eight bytes before the body on; with (N,) marks of the first two.
        """
        return (self._double + 1, self._double_of, self._single + 2, self._single_of,
                self._stamps + 2)

    @property
    def bytes(self):
        """The message as it is, from eight bytes before the body on: (8 n,) uint8, and where in
        that it begins and ends.
        """
        return self._bytes, 8 - _LEAD, self._end

    def fill(self, stamp, values, texts=()):
        """Return the bytes of the message.

        Args:
            stamp: for all marked stamps.
            values: (N,) in the order of the marks.
            texts: bytes in the order of the marks, each of the length that was marked.
        """
        if self._row is not None:
            self._row[:] = values
        else:
            self._f8[self._double] = values.take(self._double_of)
            if len(self._single):
                self._f4[self._single] = values.take(self._single_of)
        sec, nanosec = stamp.sec & 0xFFFFFFFF, stamp.nanosec
        if self._one is not None:
            self._u4[self._one], self._u4[self._one + 1] = sec, nanosec
        else:
            self._u4[self._both] = sec, nanosec
        for (at, length), text in zip(self._texts, texts):
            if len(text) != length:
                raise ValueError(f'the text must have {length} bytes: {text!r}')
            self._bytes.data[at:at + length] = text
        return self._bytes[8 - _LEAD:self._end].tobytes()


class Patched:
    """A message that is made for a frame and then patched, as long as the frame is the same.

    Args:
        make: called with a header, and a function that gives a nested list of numbers of a shape
            each time; returns the message. What is no ROS message is made anew each time.
    """

    def __init__(self, make):
        self._make, self._fast, self._frame, self._template = make, True, None, None

    def template(self, frame):
        """:class:`Template` for a frame; None where the message cannot be patched."""
        if self._fast and frame != self._frame:
            marks = Marks()
            message = self._make(marks.header(frame), marks.array)
            try:
                self._template = Template(message, marks)
                self._frame = frame
            except ValueError:
                self._fast = False
        return self._template if self._fast else None

    def message(self, header, values):
        """What to publish: bytes, or the message itself where it cannot be patched.

        Args:
            header: for the message.
            values: (N,) float64, in the order in which ``make`` asks for numbers.
        """
        template = self.template(header.frame_id)
        if template is not None:
            return template.fill(header.stamp, values)
        rest = iter(np.asarray(values, dtype=np.float64).tolist())

        def array(*shape):
            return [array(*shape[1:]) for _ in range(shape[0])] if shape else next(rest)
        return self._make(header, array)


class Sheaf:
    """Messages of one stamp, patched all at once: what one costs is mostly the calls.

    Args:
        items: of each message (:class:`Patched`, frame, first, count): its numbers are ``count``
            from ``first`` on of those that :meth:`messages` is given.

    Attributes:
        whole: all of them can be patched, :meth:`messages` gives bytes.
    """

    def __init__(self, items):
        self._items = items
        templates = [patched.template(frame) for patched, frame, _, _ in items]
        self.whole = bool(items) and all(t is not None for t in templates)
        if not self.whole:
            return
        sizes = [len(t.bytes[0]) for t in templates]
        starts = np.concatenate(([0], np.cumsum(sizes)))
        self._bytes = np.concatenate([t.bytes[0] for t in templates])
        self._cuts = [(int(start) + t.bytes[1], int(start) + t.bytes[2])
                      for start, t in zip(starts, templates)]
        self._f8, self._f4, self._u4 = (self._bytes.view(k) for k in ('<f8', '<f4', '<u4'))
        parts = [(d + at // 8, d_of + first, s + at // 4, s_of + first, t + at // 4)
                 for at, template, (_, _, first, _) in zip(starts, templates, items)
                 for d, d_of, s, s_of, t in (template.places,)]
        self._double, self._double_of, self._single, self._single_of, self._stamps = (
            np.concatenate(part).astype(np.intp) for part in zip(*parts))
        self._stamps = np.stack((self._stamps, self._stamps + 1), 1)

    def messages(self, stamp, values):
        """What to publish, a list in the order of the items: bytes, or messages.

        Args:
            stamp: of all of them. values: (N,) float64.
        """
        if not self.whole:
            return [patched.message(Header(stamp=stamp, frame_id=frame), values[at:at + count])
                    for patched, frame, at, count in self._items]
        self._f8[self._double] = values.take(self._double_of)
        self._f4[self._single] = values.take(self._single_of)
        self._u4[self._stamps] = stamp.sec & 0xFFFFFFFF, stamp.nanosec
        data = self._bytes.tobytes()
        return [data[a:b] for a, b in self._cuts]
