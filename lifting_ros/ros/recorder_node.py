"""The node ``recorder``: subscribes as a user's node would, and keeps what it sees."""

import pathlib
import sys

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from visualization_msgs.msg import MarkerArray

from ..msg import SkeletonArray, SkeletonModel
from ..view import axes
from . import bag, qos, spin
from .images import to_bgr
from .recording import Recording, read, report

#: Deep enough that this node loses nothing itself, but best effort as sensor data is.
_ALL = QoSProfile(depth=30, reliability=ReliabilityPolicy.BEST_EFFORT)
#: Frame in the bag with x ahead of the camera, y left, z up; config/pose.foxglove.json shows it.
VIEW_FRAME = 'people_view'
PARAMETERS = (
    ('output', 'output/demo', 'Folder of what is written.'),
    ('pose', '/pose', 'Name of the pose node, before its topics.'),
    ('stamps', '', 'npz that the source writes: stamp (N,) ns, frame (N,) of the images sent.'),
    ('truth', '', 'npz of the clip: joints (F, 17, 3) m, keypoints (F, 17, 2) px, up (3,).'),
    ('bag', True, 'Write an MCAP bag.'),
    ('video', True, 'Write the overlay video and the still.'),
    ('view', False, 'Write view.html, the people in 3D for a browser.'),
    ('title', '', 'What is played, for the table.'),
)


class RecorderNode(Node):
    """Takes images and skeletons; at its end writes a table, a summary, pictures and a bag."""

    def __init__(self):
        super().__init__('recorder')
        self._values = v = {
            name: self.declare_parameter(name, default, ParameterDescriptor(
                description=text)).value for name, default, text in PARAMETERS}
        self._output = pathlib.Path(v['output'])
        self._output.mkdir(parents=True, exist_ok=True)
        self._recording = Recording(keep_pictures=v['video'] or v['view'])
        self._bag = bag.Bag(self._output / 'bag') if v['bag'] and bag.available() else None
        if v['bag'] and self._bag is None:
            self.get_logger().warning('no bag is written: the package rosbags is not installed')
        pose = v['pose'].rstrip('/')
        if v['bag'] or v['video'] or v['view']:
            self._take(Image, 'image', _ALL, self._on_image)
        self._take(CameraInfo, 'camera_info', _ALL)
        self._take(SkeletonArray, f'{pose}/skeletons', 100, self._on_skeletons)
        self._take(SkeletonModel, f'{pose}/skeleton_model', qos.LATCHED)
        if v['bag']:
            self._take(MarkerArray, f'{pose}/markers', 100)
        self._take(DiagnosticArray, '/diagnostics', 100, self._on_diagnostics)

    def _take(self, kind, topic, profile, callback=None):
        name = self.resolve_topic_name(topic)

        def on_data(data):
            msg = None if callback is None else deserialize_message(data, kind)
            now = self.get_clock().now().nanoseconds  # as a user's callback has it: decoded
            if callback is not None:
                callback(msg, now)
            if kind is not Image:
                self._write(name, kind, data, now)

        self.create_subscription(kind, topic, on_data, profile, raw=True)

    def _write(self, topic, kind, data, now):
        if self._bag is not None:
            self._bag.write(topic, kind, data, now)

    def _on_image(self, msg, now):
        good, jpeg = cv2.imencode('.jpg', np.ascontiguousarray(to_bgr(msg)),
                                  [cv2.IMWRITE_JPEG_QUALITY, 88])
        if not good:
            return
        if self._bag is not None and not self._recording.images:
            # viewers turn about z: a frame with z up, as the node's view_frame has it
            truth = read(self._values['truth']) or {}
            self._bag.write_static(msg.header.frame_id, VIEW_FRAME, axes(truth.get('up')).T, now)
        self._recording.add_image(msg.header.stamp, jpeg)
        small = CompressedImage(header=msg.header, format='jpeg', data=jpeg.tobytes())
        self._write(self.resolve_topic_name('image') + '/compressed', CompressedImage,
                    serialize_message(small), now)

    def _on_skeletons(self, msg, now):
        self._recording.add_skeletons(msg, now)

    def _on_diagnostics(self, msg, now):
        for status in msg.status:
            if status.name.endswith(': skeletons'):
                self._recording.node = {v.key: v.value for v in status.values}

    def close(self):
        """Write everything."""
        if self._bag is not None:
            self._bag.close()
        report(self._recording, self._output, self._values)


def main(args=None):
    """Run the node; returns the exit status."""
    return spin.run(RecorderNode, args)


if __name__ == '__main__':
    sys.exit(main())
