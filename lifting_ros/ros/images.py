"""sensor_msgs/Image <-> arrays, without copying where the encoding allows it."""

import array

import cv2
import numpy as np

from . import compat

#: encoding -> bytes a pixel in a row, for the check of ``step``
_BYTES = {
    'bgr8': 3, 'rgb8': 3, '8UC3': 3, 'bgra8': 4, 'rgba8': 4, '8UC4': 4, 'mono8': 1, '8UC1': 1,
    'mono16': 2, 'bgr16': 6, 'rgb16': 6, 'bgra16': 8, 'rgba16': 8,
    'yuv422': 2, 'uyvy': 2, 'yuv422_yuy2': 2, 'yuyv': 2, 'nv12': 1, 'nv21': 1,
}
# Bayer patterns: ROS names the first two pixels of the first rows, OpenCV the second ones.
_BAYER = {'bayer_rggb': 'BG', 'bayer_bggr': 'RG', 'bayer_gbrg': 'GR', 'bayer_grbg': 'GB'}
_BYTES.update({f'{name}{bits}': bits // 8 for name in _BAYER for bits in (8, 16)})
_YUV = {'yuv422': cv2.COLOR_YUV2BGR_UYVY, 'uyvy': cv2.COLOR_YUV2BGR_UYVY,
        'yuv422_yuy2': cv2.COLOR_YUV2BGR_YUY2, 'yuyv': cv2.COLOR_YUV2BGR_YUY2,
        'nv12': cv2.COLOR_YUV2BGR_NV12, 'nv21': cv2.COLOR_YUV2BGR_NV21}
#: views of the message's own memory: the channels to take
_VIEWS = {'bgr8': slice(0, 3), '8UC3': slice(0, 3), 'bgra8': slice(0, 3), '8UC4': slice(0, 3),
          'rgb8': slice(None, None, -1), 'rgba8': slice(2, None, -1)}

#: left to cv_bridge where it is installed; equal, by test
BRIDGED = ('mono8', 'yuv422', 'yuv422_yuy2', *(f'{name}8' for name in _BAYER))

ENCODINGS = tuple(_BYTES)


class ImageError(ValueError):
    """An image message that cannot be used; the text says why."""


def to_bgr(msg):
    """The picture of an image message.

    bgr8, rgb8, bgra8 and rgba8 are views of the message's memory, not copies (rgb8 one with the
    channels in reverse). 16-bit images keep their upper eight bits.

    Args:
        msg: sensor_msgs/Image.

    Returns:
        (H, W, 3) uint8 BGR, read-only or not as the message is.

    Raises:
        ImageError: no pixels, an unknown encoding, a step shorter than a row, or data shorter
            than height and step say.
    """
    h, w, step, encoding = msg.height, msg.width, msg.step, msg.encoding
    if h == 0 or w == 0:
        raise ImageError(f'the image has no pixels: {w}x{h}')
    if encoding not in _BYTES:
        hint = ''
        if encoding in ('16UC1', '32FC1'):
            hint = ' (it is that of a depth image: remap the topic `image` to a colour image)'
        raise ImageError(f'unknown encoding {encoding!r}{hint}; known: {", ".join(ENCODINGS)}')
    row = w * _BYTES[encoding]
    if step < row:
        raise ImageError(f'step is {step} bytes, a row of {w} pixels in {encoding} has {row}')
    rows = h * 3 // 2 if encoding in ('nv12', 'nv21') else h
    data = np.frombuffer(msg.data, dtype=np.uint8)
    need = (rows - 1) * step + row  # the last row may lack its padding
    if data.size < need:
        raise ImageError(f'the data is cut off: {data.size} bytes; {w}x{h} {encoding} with step '
                         f'{step} needs {need}')
    if encoding in _VIEWS:
        n = _BYTES[encoding]
        pixels = np.ndarray((h, w, n), np.uint8, buffer=data, strides=(step, n, 1))
        return pixels[..., _VIEWS[encoding]]
    if compat.cv_bridge is not None and encoding in BRIDGED:
        return compat.cv_bridge.CvBridge().imgmsg_to_cv2(msg, 'bgr8')
    return _convert(msg, np.ndarray((rows, row), np.uint8, buffer=data, strides=(step, 1)))


def _convert(msg, rows):
    """BGR of the encodings that need arithmetic; ``rows`` is (rows, bytes) uint8."""
    encoding = msg.encoding
    if encoding in _YUV:
        if msg.width % 2 or (encoding in ('nv12', 'nv21') and msg.height % 2):
            raise ImageError(f'{encoding} needs an even size, the image is '
                             f'{msg.width}x{msg.height}')
        rows = np.ascontiguousarray(rows)
        if not encoding.startswith('nv'):
            rows = rows.reshape(msg.height, msg.width, 2)
        return cv2.cvtColor(rows, _YUV[encoding])
    if encoding.endswith('16'):
        upper = slice(0, None, 2) if msg.is_bigendian else slice(1, None, 2)
        rows, encoding = rows[:, upper], encoding[:-2] + '8'
    if encoding[:-1] in _BAYER:
        if msg.width < 2 or msg.height < 2:
            raise ImageError(f'a {encoding} image needs 2x2 pixels at least')
        code = getattr(cv2, f'COLOR_Bayer{_BAYER[encoding[:-1]]}2BGR')
        return cv2.cvtColor(np.ascontiguousarray(rows), code)
    if encoding in ('mono8', '8UC1'):
        return cv2.cvtColor(np.ascontiguousarray(rows), cv2.COLOR_GRAY2BGR)
    pixels = rows.reshape(msg.height, msg.width, _BYTES[encoding])
    return np.ascontiguousarray(pixels[..., _VIEWS[encoding]])


def fill(msg, image):
    """Put a picture into an image message as bgr8.

    Args:
        msg: sensor_msgs/Image; its header is left as it is.
        image: (H, W, 3) uint8 BGR.

    Returns:
        msg.
    """
    msg.height, msg.width = int(image.shape[0]), int(image.shape[1])
    msg.encoding, msg.is_bigendian, msg.step = 'bgr8', 0, 3 * msg.width
    msg.data = array.array('B', np.ascontiguousarray(image).tobytes())
    return msg
