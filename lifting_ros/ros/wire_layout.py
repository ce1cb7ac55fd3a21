"""Where each number of a SkeletonArray is in its bytes, if ids and joints are as usual.

CDR, little-endian: a number begins at a multiple of its size, counted from the body's beginning.
"""

import functools
import struct

import numpy as np

from ..skeleton import JOINTS, NUM_JOINTS

ID = 5              # bytes of an id
LEAD = 4            # bytes before the body: how it is encoded
LITTLE = b'\x00\x01\x00\x00'
#: A person's numbers of eight bytes that are the body's, and all of them;
ROOT = 85
DOUBLES = ROOT + 24 * NUM_JOINTS
#: of four bytes, but for the region; of one byte.
SINGLES = 2 + 3 * NUM_JOINTS
BYTES = ID + 4 + NUM_JOINTS


class _Places:
    """Where the fields of one kind go: collects offsets, as CDR aligns them."""

    def __init__(self, start):
        self.at = start
        self.f8, self.f4, self.u4, self.u1, self.fixed = [], [], [], [], []

    def _next(self, size, count, into):
        self.at += -self.at % size
        into += range(self.at, self.at + size * count, size)
        self.at += size * count

    def double(self, count=1):
        self._next(8, count, self.f8)

    def single(self, count=1):
        self._next(4, count, self.f4)

    def word(self, count=1):
        self._next(4, count, self.u4)

    def byte(self, count=1):
        self._next(1, count, self.u1)

    def constant(self, data):
        """A number of four bytes, and what follows."""
        self.at += -self.at % 4
        self.fixed.append((self.at, data))
        self.at += len(data)

    def text(self, data):
        self.constant(struct.pack('<I', len(data) + 1) + data + b'\0')

    def skeleton(self):
        """Fields of a Skeleton, in the order of msg/Skeleton.msg."""
        self.constant(struct.pack('<I', ID + 1))
        self.byte(ID)                   # id
        self.at += 1
        self.single(2)                  # confidence, age
        self.byte(2)                    # matched, occluded
        self.word(4)                    # roi: x_offset, y_offset, height, width
        self.byte()                     # roi: do_rectify
        self.double(7 + 36 + 6 + 36)    # root, velocity
        self.byte()                     # scale_source
        self.constant(struct.pack('<I', NUM_JOINTS))
        for name in JOINTS:
            self.text(name.encode())
            self.byte()                 # source
            self.single()               # confidence
            self.double(24)             # position, covariance, velocity, velocity_covariance
            self.single(2)              # pixel_x, pixel_y


class Layout:
    """The bytes of messages of ``count`` people in a frame, and where the numbers are.

    The numbers are those of each person, in the order of the message: f8 (N, DOUBLES); f4
    (N, SINGLES); u4 (N, 4), region x, y, height, width; u1 (N, BYTES), id, matched, occluded,
    do_rectify, scale_source and the joints' sources.

    Args:
        frame: bytes of the frame's name.
        count: of people.
    """

    def __init__(self, frame, count):
        places = _Places(0)
        places.word(2)                                  # stamp
        places.text(frame)
        places.constant(struct.pack('<I', count))
        for _ in range(count):
            places.skeleton()
        places.single()                                 # processing_latency
        self.size = places.at
        self.bytes = np.zeros(-(-self.size // 8) * 8, np.uint8)
        fixed = []
        for at, data in places.fixed:
            self.bytes[at:at + len(data)] = np.frombuffer(data, np.uint8)
            fixed += range(at, at + len(data))
        self._f8, self._f4, self._u4 = (self.bytes.view(k) for k in ('<f8', '<f4', '<u4'))
        self.f8 = np.array(places.f8, int).reshape(count, DOUBLES) // 8
        self.latency = places.f4.pop() // 4
        self.f4 = np.array(places.f4, int).reshape(count, SINGLES) // 4
        self.u4 = np.array(places.u4[2:], int).reshape(count, 4) // 4
        self.u1 = np.array(places.u1, int).reshape(count, BYTES)
        self.fixed = np.array(fixed, int)
        self.constant = self.bytes[self.fixed].copy()

    def fill(self, stamp, latency, f8, f4, u4, u1):
        """Bytes of a message; it does not keep them.

        Args:
            stamp: of its header. latency: s.
            f8, f4, u4, u1: the numbers.
        """
        self._u4[0], self._u4[1] = stamp.sec & 0xFFFFFFFF, stamp.nanosec
        self._f8[self.f8], self._f4[self.f4], self._u4[self.u4] = f8, f4, u4
        self._f4[self.latency], self.bytes[self.u1] = latency, u1
        return LITTLE + self.bytes[:self.size].tobytes()

    def read(self, body):
        """Numbers f8, f4, u4, u1 of a body (bytes); None where it is laid out otherwise."""
        # what fills the end differs between writers
        if not 0 <= len(body) - self.size < 8:
            return None
        data = np.zeros(len(self.bytes) + 8, np.uint8)
        data[:len(body)] = np.frombuffer(body, np.uint8)
        if (data[self.fixed] != self.constant).any():
            return None
        return (data.view('<f8')[self.f8], data.view('<f4')[self.f4], data.view('<u4')[self.u4],
                data[self.u1])


#: :class:`Layout` of a frame and a count, kept.
layout_of = functools.lru_cache(maxsize=64)(Layout)
