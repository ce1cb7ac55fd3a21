"""The node ``fuse``: people of several cameras, in one frame, once each."""

import sys
import time
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from ..fusion import Agreement, Fuser, View
from ..msg import SkeletonArray, SkeletonModel
from ..rigid import moved_arrays
from . import qos, spin, statistics, wire
from .conversions import to_model
from .frames import Frames, NotThere
from .markers import Markers

PARAMETERS = (
    ('topics', [], 'Topics of the cameras\' people (lifting_ros/SkeletonArray), any number.'),
    ('target_frame', 'map', 'Frame of TF in which people are fused and published.'),
    ('camera_frames', [], 'For topics that come in another frame than the camera\'s own: the '
     'camera\'s frame, in the order of topics; "" where the header has it.'),
    ('wait', 0.04, 'Seconds that the first camera of a round waits for the others.'),
    ('max_age', 0.3, 'Seconds by which a camera\'s image may be older than the newest one.'),
    ('alone', 0.5, 'Seconds without a message after which a camera is not waited for.'),
)


@dataclass
class _Camera:
    """What is known of one topic."""

    topic: str
    frame: str
    data: bytes = None          # the newest message
    stamp: int = 0              # ns, its stamp
    view: View = None           # of that message
    arrived: float = -1e9       # monotonic s
    fresh: bool = False
    problem: str = ''
    count: int = 0


class FuseNode(Node):
    """See docs/topics.md."""

    def __init__(self, **options):
        super().__init__('fuse', **options)
        self.values = v = {name: self._declare(name, default, text)
                           for name, default, text in PARAMETERS}
        if not v['topics'] or not v['target_frame']:
            raise ValueError('topics and target_frame must be given')
        if len(set(v['topics'])) != len(v['topics']):
            raise ValueError('a topic is named twice')
        frames = list(v['camera_frames']) + [''] * len(v['topics'])
        self._cameras = [_Camera(t, f) for t, f in zip(v['topics'], frames)]
        self._frames, self._fuser, self._agreement = Frames(self), Fuser(), Agreement()
        self._frames.listen()
        self._out = qos.publisher(self, SkeletonArray, '~/skeletons', qos.RESULT)
        self._marker_out = qos.publisher(self, MarkerArray, '~/markers', qos.RESULT)
        self._model = qos.publisher(self, SkeletonModel, '~/skeleton_model', qos.LATCHED)
        self._model.publish(to_model())
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', qos.RESULT)
        self._markers, self._due, self._last, self._zero = Markers(), None, None, 0
        self._work, self._people, self._published = statistics.Times(), 0, 0
        self._said = {}
        for camera in self._cameras:
            qos.subscription(self, SkeletonArray, camera.topic,
                             lambda data, camera=camera: self._take(camera, data), qos.NEWEST,
                             raw=True)
        self.create_timer(0.01, self._check)
        self.create_timer(1.0, self._diagnose)

    def _declare(self, name, default, text):
        descriptor = ParameterDescriptor(description=text, read_only=True)
        if default == []:
            given = self.declare_parameter(name, [''], descriptor)
            return [] if list(given.value) == [''] else list(given.value)
        return self.declare_parameter(name, default, descriptor).value

    def _take(self, camera, data):
        camera.data, camera.stamp = data, wire.stamp_of(data)
        camera.view, camera.fresh = None, True
        camera.arrived, camera.count = time.monotonic(), camera.count + 1
        if self._due is None:
            self._due = camera.arrived + self.values['wait']
        self._check()

    def _check(self):
        """Publish where every camera that works has something new, or the wait is over."""
        if self._due is None:
            return
        now = time.monotonic()
        late = [c for c in self._cameras if not c.fresh
                and now - c.arrived < self.values['alone']]
        if late and now < self._due:
            return
        if self._publish(now):
            self._due = None
            for camera in self._cameras:
                camera.fresh = False

    def _publish(self, now):
        """Fuse and publish; returns False where a transform may still come."""
        begun, views = time.perf_counter(), []
        heard = [c for c in self._cameras if c.data is not None
                 and now - c.arrived < max(self.values['alone'], self.values['max_age'])]
        newest = max((c.stamp for c in heard), default=0)
        for camera in heard:
            late = 1e-9 * (newest - camera.stamp)
            if late > self.values['max_age']:
                camera.problem = f'{late:.2f} s older than the newest camera'
                continue
            try:
                camera.view = camera.view or self._view(camera)
                camera.problem = ''
                views.append(camera.view)
            except NotThere as error:
                if error.later and now < self._due + 0.1:
                    return False
                camera.problem = str(error)
            except Exception as error:  # noqa: BLE001 (one camera's message ends nothing)
                camera.problem = f'its message cannot be used: {type(error).__name__}: {error}'
        if not views:
            return True
        # the newest image that could be used
        stamp = max(v.stamp for v in views)
        if self._last is not None and stamp <= self._last:
            if stamp > self._last - 10 ** 9:
                return True
            self._fuser.reset()     # time went back: a looped bag
            self._agreement.reset()
        self._last = stamp
        views = [View(v.camera, 1e-9 * (v.stamp - stamp), v.people, v.origin, v.arrays)
                 for v in views]
        # seconds relative to the first stamp: nanoseconds do not fit into a float
        self._zero = self._zero or stamp
        at = 1e-9 * (stamp - self._zero)
        for view in views:
            view.stamp += at
        people = self._fuser.update(views, at)
        self._agreement.update(self._fuser.groups, at)
        header = Header(frame_id=self.values['target_frame'])
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, 10 ** 9)
        self._out.publish(wire.write(people, header, 0, 0, self._lost,
                                     lambda: time.perf_counter() - begun))
        self._work.add(time.perf_counter() - begun)
        self._people, self._published = len(people), self._published + 1
        if self._marker_out.get_subscription_count():
            self._marker_out.publish(self._markers.render(people, header, 0.5))
        return True

    def _view(self, camera):
        """View of a camera's message in the target frame, stamped in ns."""
        header, people, arrays = wire.read_all(camera.data)
        frame, target = header.frame_id, self.values['target_frame']
        rotation, translation = self._frames.lookup(target, frame, camera.stamp)
        origin = translation
        if camera.frame:
            origin = self._frames.lookup(target, camera.frame, camera.stamp)[1]
        elif frame == target:
            origin = None       # the camera's own frame is not known
        return View(camera.topic, camera.stamp, people, origin,
                    moved_arrays(arrays, rotation, translation))

    def _lost(self, person, error):
        self.get_logger().error(f'person {person.id} left out: {error}',
                                throttle_duration_sec=5.0)

    def _diagnose(self):
        now, notes = time.monotonic(), []
        p50, p99 = self._work.percentiles(50, 99)
        values = {'people': self._people, 'rate (Hz)': self._published, 'fusing p50 (ms)': p50,
                  'fusing p99 (ms)': p99}
        for camera in self._cameras:
            silent = now - camera.arrived
            values[f'{camera.topic} (Hz)'] = camera.count
            camera.count = 0
            if silent > self.values['alone']:
                notes.append(f'no people on {camera.topic}' if camera.data is None else
                             f'{camera.topic} has been silent for {silent:.0f} s')
            elif camera.problem:
                notes.append(f'{camera.topic} is left out: {camera.problem}')
        for verdict in self._agreement.verdicts():
            values[f'{verdict.camera} off (m)'] = float(np.linalg.norm(verdict.offset))
            values[f'{verdict.camera} surprise'] = verdict.surprise
        # one camera that is off puts the others off too: the worst is named
        bad = [v for v in self._agreement.verdicts() if not v.agree][:1]
        notes = [v.text for v in bad] + notes
        for note in bad:
            if now - self._said.get(note.camera, -1e9) > 10:
                self._said[note.camera] = now
                self.get_logger().warning(note.text)
        self._published = 0
        level = statistics.WARN if notes else statistics.OK
        self._diagnostics.publish(statistics.diagnostic_array(
            self.get_clock().now().to_msg(), statistics.status(
                f'{self.get_name()}: fusion', 'lifting_ros', level, '; '.join(notes) or 'running',
                values)))

    def close(self):
        """End."""
        self._frames.close()


def main(args=None):
    """Run the node; returns the exit status."""
    return spin.run(FuseNode, args)


if __name__ == '__main__':
    sys.exit(main())
