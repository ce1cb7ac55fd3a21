"""The node ``pose``: images in, people out; between them one call of the pipeline."""

import inspect
import sys
import time
import traceback

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

from ..lifting import level
from . import parameters, qos, spin
from .conversions import nanoseconds, seconds
from .depth import Depth
from .diagnostics import Diagnostics
from .frames import Frames, NotThere
from .gravity import Gravity
from .images import ImageError
from .inputs import TRANSPORTS, Calibration, picture
from .loading import load_pipeline
from .outputs import Answer, Delivery, Outputs
from .watch import Watch

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class PoseNode(LifecycleNode):
    """A managed node; see docs/topics.md.

    Args:
        make_pipeline: called with the values of the parameters when the node is configured;
            returns the pipeline.
        **options: of rclpy's Node.

    Raises:
        ValueError: a parameter is out of range.
    """

    def __init__(self, make_pipeline=load_pipeline, **options):
        super().__init__('pose', **options)
        self._make_pipeline, self.pipeline, self.finished = make_pipeline, None, False
        self.values = parameters.declare(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        # timers of the steady clock: that of the node may stand still (use_sim_time)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.diagnostics = Diagnostics(self)
        self.frames = Frames(self)
        self.gravity = Gravity(self, self.frames)
        self.depth = Depth(self, self.frames)
        self.watch = Watch(self, time.monotonic)
        self.calibration = Calibration(self.get_logger(), self.resolve_topic_name('camera_info'))
        self.outputs, self._inputs, self._said = None, [], set()
        self.delivery = Delivery(self.frames, self._publish)
        self._last_stamp, self._next_turn, self._active, self._changed = None, 0.0, False, False
        self.create_timer(1.0, self._diagnose, clock=self._steady)
        self._waiting = self.create_timer(0.004, self._flush, clock=self._steady)
        self._waiting.cancel()
        if self.values['autostart'] and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    # ------------------------------------------------------------------------------ life cycle
    def on_configure(self, state):
        """Load and warm up the weights, open the outputs.

        Returns:
            FAILURE where that cannot be done: the node stays unconfigured, says why in its log
            and on /diagnostics, and may be configured again.
        """
        self.diagnostics.reason = None
        try:
            self.pipeline = self._make_pipeline(self.values)
            self._known = inspect.signature(type(self.pipeline).__call__).parameters
            self.outputs = Outputs(self, lambda: self.values)
        except Exception as error:  # noqa: BLE001 (rclpy would swallow it without a word)
            self._release()
            known = isinstance(error, (RuntimeError, ValueError, OSError, ImportError))
            self.diagnostics.reason = str(error) if known else f'{type(error).__name__}: {error}'
            self.get_logger().fatal('cannot start: ' + (self.diagnostics.reason if known else
                                                        traceback.format_exc()))
            return FAILURE
        self._apply()
        self.get_logger().info(f'configured; the network runs on {self._device()}')
        return SUCCESS

    def on_activate(self, state):
        """Subscribe. People get new ids: what happened meanwhile is not known.

        Returns:
            FAILURE where that cannot be done (an impossible qos_overrides, say): the node stays
            inactive and says why.
        """
        getattr(self.pipeline, 'reset', lambda: None)()
        self.diagnostics.problem = self.diagnostics.reason = None
        self.diagnostics.frames.restart()
        self._last_stamp, self._next_turn = None, 0.0
        try:
            image = self._open_inputs()
        except Exception as error:  # noqa: BLE001 (rclpy would swallow it without a word)
            self._close_inputs()
            self.diagnostics.reason = str(error)
            self.get_logger().error(f'cannot be activated: {traceback.format_exc()}')
            return FAILURE
        self.get_logger().info(f'active; images from {image}, calibration from '
                               f'{self.resolve_topic_name("camera_info")}')
        return super().on_activate(state)

    def _open_inputs(self):
        """Subscribe to all that is wanted; return the full name of the images' topic."""
        kind, suffix = TRANSPORTS[self.values['image_transport']]
        # A callback of two arguments gets the middleware's number of the message, from which
        # drops are counted; Humble's rclpy does not know such callbacks.
        numbered = hasattr(Subscription, 'CallbackType')
        on_image = self._on_image if numbered else lambda m: self._on_image(m, {})
        image = self.resolve_topic_name('image') + suffix
        self._inputs = [
            ('image', qos.subscription(self, kind, image if suffix else 'image', on_image,
                                       qos.NEWEST)),
            ('camera_info', qos.subscription(self, CameraInfo, 'camera_info',
                                             self.calibration.take, qos.NEWEST))]
        self._active = True
        self._apply()
        return image

    def on_deactivate(self, state):
        """Unsubscribe; publish what waits, take away what is on display."""
        self._close_inputs()
        return super().on_deactivate(state)

    def on_cleanup(self, state):
        """Let go of everything that was made by configuring."""
        self._release()
        return SUCCESS

    def on_shutdown(self, state):
        """Let go of everything and end the process."""
        self._close_inputs()
        self._release()
        self.finished = True
        return SUCCESS

    def _close_inputs(self):
        self._active = False
        for _, subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        self.gravity.listen(False)
        self.depth.listen(False)
        self.delivery.flush(all_of_them=True)
        self.frames.close()
        if self.outputs is not None:
            self.outputs.clear()

    def _release(self):
        if self.outputs is not None:
            self.outputs.close()
        self.pipeline = self.outputs = None

    # ------------------------------------------------------------------------------ parameters
    def _on_parameters(self, changed):
        values = dict(self.values)
        for p in changed:
            if p.name in parameters.BY_NAME:
                wrong = parameters.BY_NAME[p.name].check(p.value)
                if wrong:
                    return SetParametersResult(successful=False, reason=wrong)
                values[p.name] = p.value
        # taken up at the next image: subscribing declares parameters, which calls this again
        self.values, self._changed = values, True
        return SetParametersResult(successful=True)

    def _apply(self):
        """Hand the values of the parameters to whom they concern."""
        self._changed = False
        if self.pipeline is not None:
            for name, value in parameters.pipeline_options(self.values).items():
                setattr(self.pipeline.options, name, value)
        if self._active:
            self.gravity.listen(self.values['imu'])
            self.depth.listen(self.values['depth'])
            if self.values['target_frame'] or self.values['gravity_frame']:
                self.frames.listen()

    # ----------------------------------------------------------------------------------- image
    def _on_image(self, msg, info):
        start, counts = time.perf_counter(), self.diagnostics
        if self._changed:
            self._apply()
        counts.frames.add(seconds(msg.header.stamp), info.get('publication_sequence_number'))
        if self.values['max_rate']:
            now = time.monotonic()
            if now < self._next_turn:
                counts.skipped += 1
                return
            period = 1 / self.values['max_rate']
            self._next_turn = max(self._next_turn + period, now + 0.5 * period)
        try:
            self._process(msg, start)
            counts.problem = None
        except ImageError as error:
            self._reject(f'image: {error}')
        except Exception as error:  # noqa: BLE001 (whatever comes by topic, the node lives on)
            self._reject(f'{type(error).__name__}: {error}', traceback.format_exc())

    def _reject(self, problem, detail=None):
        self.diagnostics.rejected += 1
        if problem != self.diagnostics.problem:
            self.get_logger().error(f'frame rejected: {detail or problem}')
        self.diagnostics.problem = problem

    def _process(self, msg, start):
        image, header, values = picture(msg), msg.header, self.values
        height, width = image.shape[:2]
        stamp = seconds(header.stamp)
        camera = self.calibration.camera(width, height, values['camera_info_wait'])
        up = self.gravity.up(header.frame_id, nanoseconds(header.stamp), values)
        more = self._beside(header, camera)
        before = time.perf_counter()
        people = self.pipeline(image, camera, stamp, up, **more)
        work = time.perf_counter() - before
        self.diagnostics.work.add(work)
        if self._last_stamp is not None and stamp <= self._last_stamp:
            self._once('stamps', 'warning', 'the stamps of the images do not increase: people '
                       'get new ids at each such image. Is the clock of the camera set?')
        self._last_stamp = stamp
        up = up if up is not None else getattr(self.pipeline, 'up', None)
        self.delivery.give(Answer(people, header, image, camera, up, start, header.frame_id),
                           values['target_frame'], values['tf_timeout'])
        if len(self.delivery):
            self._waiting.reset()
        self.diagnostics.overhead.add(time.perf_counter() - start - work)

    def _beside(self, header, camera):
        """Arguments of the pipeline that are there for this image, and that it knows."""
        values, more = self.values, {}
        if values['depth'] and camera is not None:
            more['depth'] = self.depth.near(header, camera, values['depth_tolerance'])
        if values['camera_height']:
            more['camera_height'] = values['camera_height']
        if values['target_frame']:  # people are followed in it, if its place is known by now
            try:
                more['pose'] = self.frames.lookup(values['target_frame'], header.frame_id,
                                                  nanoseconds(header.stamp))
            except NotThere:
                pass
        return {name: value for name, value in more.items() if name in self._known}

    def _flush(self):
        self.delivery.flush()
        if not len(self.delivery):
            self._waiting.cancel()

    def _publish(self, answer):
        self.outputs.publish(answer)
        counts = self.diagnostics
        counts.processed += 1
        counts.people = len(answer.people)
        counts.latency.add(1e-9 * self.get_clock().now().nanoseconds
                           - seconds(answer.header.stamp))

    def _once(self, key, level, text):
        if key not in self._said:
            self._said.add(key)
            getattr(self.get_logger(), level)(text)

    # ----------------------------------------------------------------------------- diagnostics
    def _device(self):
        return str(getattr(self.pipeline, 'device', 'none'))

    def _up(self):
        """What is known of gravity, in words."""
        up = getattr(self.pipeline, 'up', None)
        if up is None:
            return 'not known'
        down, roll = level.angles(up)
        source = 'how people stand' if self.gravity.source == 'estimated' else self.gravity.source
        return f'{source}: the camera looks {round(down)} deg down, rolled by {round(roll)} deg'

    def _notes(self):
        """What is worth a warning while the node runs."""
        notes = []
        if self.calibration.problem is not None:
            notes.append(f'no positions: {self.calibration.problem}')
        estimator = getattr(self.pipeline, 'estimator', None)
        notes += [self.delivery.problem if self.values['target_frame'] else None,
                  self.gravity.problem, self.depth.problem, getattr(estimator, 'problem', None)]
        return (*filter(None, notes), *self.watch.problems)

    def _diagnose(self):
        state = self._state_machine.current_state[1]
        if self._changed:
            self._apply()
        if self._active:
            self.watch.look(self._inputs + self.depth.subscriptions, self.outputs.publishers)
        self.diagnostics.publish(state, self._device(), getattr(self.pipeline, 'timing', {}),
                                 self._notes() if self._active else (),
                                 {'gravity': self._up()}
                                 | ({} if self.outputs is None else self.outputs.status()))


def main(args=None):
    """Run the node; returns the exit status."""
    return spin.run(PoseNode, args)


if __name__ == '__main__':
    sys.exit(main())
