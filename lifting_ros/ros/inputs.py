"""What comes in: images raw or compressed, and the calibration that belongs to them."""

import time

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from ..camera import CameraError
from .conversions import to_camera
from .images import ImageError, to_bgr

#: image_transport -> (type, what is added to the topic, as image_transport does)
TRANSPORTS = {'raw': (Image, ''), 'compressed': (CompressedImage, '/compressed')}


def picture(msg):
    """(H, W, 3) uint8 BGR of an Image or a CompressedImage.

    Raises:
        ImageError: it cannot be used; the text says why.
    """
    if not isinstance(msg, CompressedImage):
        return to_bgr(msg)
    if 'compressedDepth' in msg.format:
        raise ImageError(f'format {msg.format!r} is that of a depth image: remap the topic '
                         '`image` to a colour image')
    data = np.frombuffer(msg.data, dtype=np.uint8)
    out = None
    if data.size:
        try:
            # not turned by its EXIF data: the calibration is of the picture as it is stored
            out = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error as error:
            raise ImageError(f'{data.size} bytes of format {msg.format!r}: {error.err}'
                             ) from error
    if out is None:
        raise ImageError(f'{data.size} bytes of format {msg.format!r} are no picture (JPEG and '
                         'PNG are known)')
    return out


class Calibration:
    """The newest CameraInfo and the camera made of it.

    Args:
        logger: of the node.
        topic: full name of the topic, for what is said.
    """

    def __init__(self, logger, topic):
        self._logger, self._topic = logger, topic
        self.problem, self._info, self._key, self._camera = None, None, None, None
        self._first, self._said = None, False

    def take(self, msg):
        """Take a CameraInfo."""
        self._info = msg

    def camera(self, width, height, patience):
        """Camera for images of a size, or None, having said why.

        Args:
            patience: seconds from the first call on in which the lack of a CameraInfo is not
                complained about.
        """
        if self._info is None:
            self._first = self._first or time.monotonic()
            self.problem = 'no camera_info'
            if time.monotonic() - self._first >= patience and not self._said:
                self._said = True
                self._logger.error(
                    f'no message on {self._topic}: people are published in pixels only, '
                    'positions are NaN. Remap `camera_info` to the topic of the calibration '
                    'that belongs to the images')
            return None
        i = self._info
        key = str((width, height, i.width, i.height, i.distortion_model, tuple(i.k), tuple(i.d),
                   i.binning_x, i.binning_y, i.roi.x_offset, i.roi.y_offset, i.roi.width,
                   i.roi.height))
        if key != self._key:
            self._key, self._camera = key, None
            try:
                self._camera = to_camera(i, width, height)
            except CameraError as error:
                self.problem = str(error)
                self._logger.error(f'camera_info cannot be used, positions are NaN: {error}')
            else:
                self.problem = None
                self._logger.info(f'calibration taken: {width}x{height}, focal length '
                                  f'{self._camera.focal:.0f} px')
        return self._camera
