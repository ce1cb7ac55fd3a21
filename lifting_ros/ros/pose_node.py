"""The node ``pose``: images in, people out; between them one call of the pipeline."""

import sys
import time
import traceback

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import MarkerArray

from ..camera import Camera, CameraError
from ..drawing import draw_people
from ..msg import SkeletonArray, SkeletonModel
from ..pipeline import Pipeline
from . import parameters, qos, spin, statistics
from .conversions import seconds, to_array, to_camera, to_model
from .images import ImageError, fill, to_bgr
from .markers import Markers
from .transforms import Transforms


def load_pipeline(values):
    """Return the pipeline that the parameters ask for.

    Raises:
        RuntimeError: weights missing or damaged, CUDA asked for and not there.
    """
    if values['threads']:
        import torch

        torch.set_num_threads(values['threads'])
    pipeline = Pipeline.from_pretrained(values['device'], values['weights'] or None,
                                        **parameters.pipeline_options(values))
    # the first call of everything is slow: better before the first image than at it
    blank, camera = np.zeros((480, 640, 3), np.uint8), Camera.from_fov(640, 480)
    pipeline(blank, camera, 0.0)
    keypoints, confidence = pipeline.keypoints(blank, [[200, 100, 400, 400]])
    pipeline.lifter.lift(keypoints, np.maximum(confidence, 0.1), camera)
    pipeline.reset()
    return pipeline


class PoseNode(Node):
    """See docs/topics.md.

    Args:
        make_pipeline: called with the values of the parameters, returns the pipeline.
        **options: of rclpy's Node.
    """

    def __init__(self, make_pipeline=load_pipeline, **options):
        super().__init__('pose', **options)
        values = parameters.declare(self)
        self.pipeline = make_pipeline(values)
        self._take(values)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._markers = Markers()
        self._transforms = Transforms(self)
        self._info, self._camera, self._camera_problem = None, None, None
        self._camera_key, self._first_image, self._said = None, None, set()
        self._frames, self._bad, self._processed = statistics.FrameCounter(), 0, 0
        self._people, self._problem, self._last_stamp = 0, None, None
        self._latency, self._work, self._overhead = (statistics.Times() for _ in range(3))
        self._tick, self._tick_processed = time.monotonic(), 0

        self._skeletons = self.create_publisher(
            SkeletonArray, '~/skeletons', qos.RESULT,
            event_callbacks=qos.publisher_events(self, '~/skeletons'))
        self._marker_out = self.create_publisher(MarkerArray, '~/markers', qos.RESULT)
        self._annotated = self.create_publisher(Image, '~/image_annotated', qos.PICTURE)
        self._model = self.create_publisher(SkeletonModel, '~/skeleton_model', qos.LATCHED)
        self._model.publish(to_model())
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', qos.RESULT)
        self.create_timer(1.0, self._diagnose)
        # A callback of two arguments gets the middleware's number of the message, from which
        # drops are counted; Humble's rclpy does not know such callbacks.
        numbered = hasattr(Subscription, 'CallbackType')
        self.create_subscription(
            Image, 'image', self._on_image if numbered else lambda m: self._on_image(m, {}),
            qos.NEWEST, event_callbacks=qos.subscription_events(self, 'image'))
        self.create_subscription(CameraInfo, 'camera_info', self._on_camera_info, qos.NEWEST,
                                 event_callbacks=qos.subscription_events(self, 'camera_info'))
        self.get_logger().info(
            f'ready on {getattr(self.pipeline, "device", "?")}; images from '
            f'{self.resolve_topic_name("image")}, calibration from '
            f'{self.resolve_topic_name("camera_info")}')

    # ------------------------------------------------------------------------------ parameters
    def _take(self, values):
        self._values = values
        up = np.asarray(values['up'], dtype=np.float64)
        norm = np.linalg.norm(up)
        self._up = up / norm if norm > 1e-6 else None
        for name, value in parameters.pipeline_options(values).items():
            setattr(self.pipeline.options, name, value)

    def _on_parameters(self, changed):
        values = dict(self._values)
        for p in changed:
            if p.name in parameters.BY_NAME:
                wrong = parameters.BY_NAME[p.name].check(p.value)
                if wrong:
                    return SetParametersResult(successful=False, reason=wrong)
                values[p.name] = p.value
        self._take(values)
        return SetParametersResult(successful=True)

    # ---------------------------------------------------------------------------------- camera
    def _on_camera_info(self, msg):
        self._info = msg

    def _once(self, key, level, text):
        """Say something once; again only if something else was said in between."""
        if key not in self._said:
            self._said.add(key)
            getattr(self.get_logger(), level)(text)

    def _camera_for(self, width, height):
        """Return the camera for images of a size, or None, having said why."""
        if self._info is None:
            waited = time.monotonic() - self._first_image
            self._camera_problem = 'no camera_info'
            if waited >= self._values['camera_info_wait']:
                self._once('camera', 'error', 'no message on '
                           f'{self.resolve_topic_name("camera_info")}: people are published in '
                           'pixels only, positions are NaN. Remap `camera_info` to the topic of '
                           'the calibration that belongs to the images')
            return None
        i = self._info
        key = (width, height, i.width, i.height, i.distortion_model, tuple(i.k), tuple(i.d),
               i.binning_x, i.binning_y, i.roi.x_offset, i.roi.y_offset, i.roi.width,
               i.roi.height)
        if str(key) != self._camera_key:
            self._camera_key, self._camera = str(key), None
            try:
                self._camera = to_camera(i, width, height)
            except CameraError as error:
                self._camera_problem = str(error)
                self.get_logger().error(f'camera_info cannot be used, positions are NaN: {error}')
            else:
                self._camera_problem = None
                self.get_logger().info(f'calibration taken: {width}x{height}, focal length '
                                       f'{self._camera.focal:.0f} px')
        return self._camera

    # ----------------------------------------------------------------------------------- image
    def _on_image(self, msg, info):
        start = time.perf_counter()
        stamp = seconds(msg.header.stamp)
        self._frames.add(stamp, info.get('publication_sequence_number'))
        if self._first_image is None:
            self._first_image = time.monotonic()
        try:
            self._process(msg, stamp, start)
            self._problem = None
        except ImageError as error:
            self._reject(f'image: {error}')
        except Exception as error:  # noqa: BLE001 (whatever comes by topic, the node lives on)
            self._reject(f'{type(error).__name__}: {error}', traceback.format_exc())

    def _reject(self, problem, detail=None):
        self._bad += 1
        if problem != self._problem:
            self.get_logger().error(f'frame rejected: {detail or problem}')
        self._problem = problem

    def _process(self, msg, stamp, start):
        image = to_bgr(msg)
        camera = self._camera_for(msg.width, msg.height)
        before = time.perf_counter()
        people = self.pipeline(image, camera, stamp, self._up)
        after = time.perf_counter()
        out = to_array(people, msg.header, msg.width, msg.height, self._lost)
        out.processing_latency = time.perf_counter() - start
        self._skeletons.publish(out)
        self._processed += 1
        self._people = len(people)
        self._work.add(after - before)
        self._latency.add(1e-9 * self.get_clock().now().nanoseconds - stamp)
        self._last_stamp, last = stamp, self._last_stamp
        if last is not None and stamp <= last:
            self._once('stamps', 'warning', 'the stamps of the images do not increase: people '
                       'get new ids at each such image. Is the clock of the camera set?')
        self._extras(msg, image, people, out)
        self._overhead.add(time.perf_counter() - start - (after - before))

    def _lost(self, person, error):
        self.get_logger().error(f'person {person.id} left out: {type(error).__name__}: {error}',
                                throttle_duration_sec=5.0)

    def _extras(self, msg, image, people, out):
        """Publish what only some want, after the result is out."""
        if self._marker_out.get_subscription_count():
            self._marker_out.publish(self._markers.update(
                people, msg.header, self._values['marker_lifetime']))
        if self._annotated.get_subscription_count():
            picture = draw_people(np.ascontiguousarray(image), people)
            self._annotated.publish(fill(Image(header=msg.header), picture))
        told = True
        if self._values['view_frame']:
            told = self._transforms.view(msg.header, self._values['view_frame'], self._up)
        if self._values['publish_tf']:
            told = self._transforms.people(out) and told
        if not told:
            self._once('tf', 'error', 'transforms are asked for (publish_tf, view_frame), but '
                       'neither tf2_ros nor tf2_msgs is installed: there are none')

    # ----------------------------------------------------------------------------- diagnostics
    def _diagnose(self):
        now = time.monotonic()
        done = self._processed - self._tick_processed
        rate = done / max(now - self._tick, 1e-6)
        self._tick, self._tick_processed = now, self._processed
        self._diagnostics.publish(statistics.diagnostic_array(
            self.get_clock().now().to_msg(), self._status(rate, done)))
        if done == 0:
            for times in (self._latency, self._work, self._overhead):
                times.clear()

    def _status(self, rate, done):
        p50, p90, p99 = self._latency.percentiles(50, 90, 99)
        values = {
            'device': getattr(self.pipeline, 'device', '?'), 'rate (Hz)': rate,
            'frames processed': self._processed, 'frames dropped': self._frames.dropped,
            'frames rejected': self._bad, 'people': self._people,
            'latency p50 (ms)': p50, 'latency p90 (ms)': p90, 'latency p99 (ms)': p99,
            'pipeline p50 (ms)': self._work.percentiles(50)[0],
            'overhead p50 (ms)': self._overhead.percentiles(50)[0],
        }
        for part, ms in getattr(self.pipeline, 'timing', {}).items():
            values[f'{part} (ms)'] = float(ms)
        level, message = statistics.OK, 'running'
        if self._problem is not None:
            level, message = statistics.ERROR, self._problem
        elif done == 0:
            level = statistics.STALE if self._processed else statistics.WARN
            message = f'no images on {self.resolve_topic_name("image")}'
        elif self._camera_problem is not None:
            level, message = statistics.WARN, f'no positions: {self._camera_problem}'
        elif p50 < 0 or p50 > 10_000:
            level, message = statistics.WARN, 'the clock of the images is not this machine\'s'
        return statistics.status('pose: skeletons', 'lifting_ros', level, message, values)


def main(args=None):
    """Run the node; returns the exit status."""
    return spin.run(PoseNode, args)


if __name__ == '__main__':
    sys.exit(main())
