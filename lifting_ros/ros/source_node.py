"""The node ``source``: a video, photo or camera as sensor_msgs/Image and CameraInfo."""

import pathlib
import sys
import time

import numpy as np
from ament_index_python.packages import get_package_share_directory
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from ..camera import Camera
from ..video import Frames
from . import qos, spin
from .conversions import fill_camera_info
from .images import fill

FRAME = 'camera_optical_frame'
#: name, default, description
PARAMETERS = (
    ('source', '', 'Video, GIF, photo, or number of a camera; empty: the clip of the project.'),
    ('truth', '', 'npz with K (3, 3) of the source, px; empty: a field of view of 55 degrees is '
     'assumed, but for the clip of the project.'),
    ('rate', 0.0, 'Frames per second; 0: those of the file, 10 for a photo.'),
    ('seconds', 0.0, 'How long to publish; 0: once through the file, 5 s of a photo, a camera '
     'without end. A file that is shorter starts again.'),
    ('longest_side', 640, 'Larger frames are shrunk to this many pixels; 0: as they are.'),
    ('wait_for', 1, 'Subscribers of the images to wait for before the first one, at most 240 s.'),
    ('stamps', '', 'npz to write at the end: stamp (N,) ns and frame (N,) of the images sent.'),
)


def clip():
    """Paths of the project's clip and of the npz with its truth.

    Raises:
        FileNotFoundError: it is neither installed nor in the checkout.
    """
    places = [pathlib.Path(__file__).resolve().parents[2] / 'resource' / 'demo']
    try:
        places.append(pathlib.Path(get_package_share_directory('lifting_ros')) / 'demo')
    except LookupError:
        pass
    for place in places:
        if (place / 'clip.mp4').is_file() and (place / 'truth.npz').is_file():
            return place / 'clip.mp4', place / 'truth.npz'
    raise FileNotFoundError('the demo clip is not there; looked in '
                            + ' and '.join(map(str, places)))


class SourceNode(Node):
    """Plays a source in real time. Stamps are the time of publishing."""

    def __init__(self):
        super().__init__('source')
        values = {name: self.declare_parameter(name, default, ParameterDescriptor(
            description=text)).value for name, default, text in PARAMETERS}
        if not values['source']:
            values['source'], values['truth'] = map(str, clip())
        self._frames = Frames(values['source'], values['longest_side'])
        f = self._frames
        self.camera = self._calibration(values['truth'])
        self._rate = values['rate'] or f.rate or 10.0
        seconds = values['seconds'] or {'photo': 5.0}.get(f.kind, 0.0)
        self._limit = round(seconds * self._rate) if seconds else None
        self._once = not seconds
        self._wait_for, self._stamps_file = values['wait_for'], values['stamps']
        self._images = self.create_publisher(Image, 'image', qos.RESULT)
        self._infos = self.create_publisher(CameraInfo, 'camera_info', qos.RESULT)
        self._info = fill_camera_info(CameraInfo(), self.camera)
        self._info.header.frame_id = FRAME
        self.finished, self.status, self._frame, self._sent = False, 0, 0, []
        self._started, self._next = time.monotonic(), None
        self._picture = f.read()
        self._timer = self.create_timer(0.05, self._wait)
        self.get_logger().info(f'{f.kind} {f.source}: {f.width}x{f.height} at '
                               f'{self._rate:.4g} Hz')

    def _calibration(self, truth):
        f = self._frames
        if truth:
            with np.load(truth, allow_pickle=False) as data:
                w, h = (round(f.width / f.scale), round(f.height / f.scale))
                return Camera(data['K'], w, h).scaled(f.width, f.height)
        self.get_logger().info('no calibration: a field of view of 55 degrees is assumed')
        return Camera.from_fov(f.width, f.height)

    def _wait(self):
        """Publish calibrations until the subscribers are there, then start."""
        self._info.header.stamp = self.get_clock().now().to_msg()
        self._infos.publish(self._info)
        waited = time.monotonic() - self._started
        if self._images.get_subscription_count() < self._wait_for and waited < 240:
            return
        if self._next is None:  # discovery is not at the same time on both sides
            self._next = time.monotonic() + 0.7
        if time.monotonic() >= self._next:
            self.destroy_timer(self._timer)
            self._next = time.monotonic()
            self._timer = self.create_timer(0.5 / self._rate, self._tick)

    def _tick(self):
        """Publish the frames that are due; sleep to the moment, not to the timer's grid."""
        due = self._next - time.monotonic()
        if due > 0.5 / self._rate:
            return
        time.sleep(max(0.0, due))
        if self._picture is None or len(self._sent) == self._limit:
            self._end()
            return
        self._publish()
        self._next = max(self._next + 1 / self._rate, time.monotonic() - 0.5)
        self._picture = self._frames.read()
        self._frame += 1
        if self._picture is None and not self._once:
            self._frames.rewind()
            self._picture, self._frame = self._frames.read(), 0

    def _publish(self):
        msg = fill(Image(), self._picture)
        msg.header.frame_id = FRAME
        stamp = self.get_clock().now()
        msg.header.stamp = self._info.header.stamp = stamp.to_msg()
        self._infos.publish(self._info)
        self._images.publish(msg)
        self._sent.append((stamp.nanoseconds, self._frame))

    def _end(self):
        self.destroy_timer(self._timer)
        self.get_logger().info(f'{len(self._sent)} images published')
        self.finished = True

    def close(self):
        """Write the stamps, let go of the source."""
        if self._stamps_file:
            sent = np.array(self._sent, dtype=np.int64).reshape(-1, 2)
            pathlib.Path(self._stamps_file).parent.mkdir(parents=True, exist_ok=True)
            np.savez(self._stamps_file, stamp=sent[:, 0], frame=sent[:, 1])
        self._frames.close()


def main(args=None):
    """Run the node; returns the exit status."""
    return spin.run(SourceNode, args)


if __name__ == '__main__':
    sys.exit(main())
