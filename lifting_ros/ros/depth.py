"""Depth images beside the colour images: matched by stamp, never waited for (REP-118)."""

from collections import deque

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from ..camera import CameraError
from ..lifting import DepthImage
from . import qos
from .conversions import nanoseconds, to_camera
from .frames import NotThere, drain
from .images import ImageError

#: encoding -> type of a pixel: floats are metres, whole numbers millimetres
_TYPES = {'32FC1': np.dtype('f4'), '16UC1': np.dtype('u2'), 'mono16': np.dtype('u2')}


def to_depth(msg):
    """(H, W) float32 metres or uint16 millimetres of a depth image; a view where that can be.

    Raises:
        ImageError: no pixels, not a depth image, or cut off.
    """
    h, w, step = msg.height, msg.width, msg.step
    if h == 0 or w == 0:
        raise ImageError(f'the depth image has no pixels: {w}x{h}')
    if msg.encoding not in _TYPES:
        raise ImageError(f'{msg.encoding!r} is no depth: {", ".join(_TYPES)} are known')
    kind = _TYPES[msg.encoding].newbyteorder('>' if msg.is_bigendian else '<')
    if step < w * kind.itemsize:
        raise ImageError(f'step of the depth image is {step} bytes, a row of {w} pixels has '
                         f'{w * kind.itemsize}')
    data = np.frombuffer(msg.data, dtype=np.uint8)
    need = (h - 1) * step + w * kind.itemsize
    if data.size < need:
        raise ImageError(f'the depth image is cut off: {data.size} bytes of {need}')
    rows = np.ndarray((h, w), kind, buffer=data, strides=(step, kind.itemsize))
    return rows.astype(kind.newbyteorder('='), copy=False)


class Depth:
    """Keeps the last few depth images and finds the one that belongs to a colour image.

    Args:
        node: rclpy node.
        frames: :class:`~lifting_ros.ros.frames.Frames`, for a depth camera that is elsewhere.
    """

    def __init__(self, node, frames):
        self._node, self._frames = node, frames
        self._images, self._info, self._camera, self._key = deque(maxlen=5), None, None, None
        self.subscriptions, self.problem = [], None

    def listen(self, wanted):
        """Subscribe to `depth` and `depth_info`, or no more."""
        if wanted and not self.subscriptions:
            self.subscriptions = [
                ('depth', qos.subscription(self._node, Image, 'depth', self.take, qos.NEWEST)),
                ('depth_info', qos.subscription(self._node, CameraInfo, 'depth_info',
                                                self.take_info, qos.NEWEST))]
        elif not wanted:
            for _, subscription in self.subscriptions:
                self._node.destroy_subscription(subscription)
            self.subscriptions, self.problem = [], None
            self._images.clear()

    def take(self, msg):
        """Take a depth image; what is not used costs nothing."""
        self._images.append(msg)

    def take_info(self, msg):
        """Take the calibration of the depth camera."""
        self._info = msg

    def near(self, header, camera, tolerance):
        """The DepthImage of a colour image, or None; then ``problem`` says why.

        Args:
            header: of the colour image; camera: its Camera.
            tolerance: s, by which the stamps may differ.
        """
        for (_, subscription), callback in zip(self.subscriptions, (self.take, self.take_info)):
            drain(subscription, callback)
        stamp = nanoseconds(header.stamp)
        fitting = [m for m in self._images
                   if abs(nanoseconds(m.header.stamp) - stamp) <= 1e9 * tolerance]
        if not fitting:
            self.problem = (f'no depth: nothing on {self._node.resolve_topic_name("depth")} '
                            f'within {1e3 * tolerance:.0f} ms of the image')
            return None
        msg = min(fitting, key=lambda m: abs(nanoseconds(m.header.stamp) - stamp))
        try:
            image = to_depth(msg)
            rotation, translation = self._frames.lookup(
                header.frame_id, msg.header.frame_id or header.frame_id, stamp)
            found = DepthImage(image, self._camera_of(msg, header, camera), rotation, translation)
        except (ImageError, CameraError, NotThere, ValueError) as error:
            self.problem = f'depth is not used: {error}'
            return None
        self.problem = None
        return found

    def _camera_of(self, msg, header, camera):
        if self._info is None:
            same = msg.header.frame_id == header.frame_id
            if same and (msg.width, msg.height) == (camera.width, camera.height):
                return camera  # registered to the colour image
            raise CameraError('no message on '
                              f'{self._node.resolve_topic_name("depth_info")}, and the depth '
                              'image is not registered to the colour image')
        i = self._info
        key = str((msg.width, msg.height, i.width, i.height, i.distortion_model, tuple(i.k),
                   tuple(i.d), i.binning_x, i.binning_y, i.roi))
        if key != self._key:
            self._camera, self._key = to_camera(i, msg.width, msg.height), key
        return self._camera
