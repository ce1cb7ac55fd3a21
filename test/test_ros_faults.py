"""Whatever comes by topic, the node lives on and answers the next good image rightly."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import array
import copy
import math
import pathlib
import shutil

import cv2
import numpy as np
import pytest
import rclpy
import ros_support  # noqa: F401
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from test_ros_lifecycle import Managed
from test_ros_pose_node import H, W, Bench

from lifting_ros.msg import SkeletonArray
from lifting_ros.ros import images
from lifting_ros.ros.conversions import fill_camera_info
from lifting_ros.camera import Camera


class Faults(Bench):
    """A bench with depth and a question that is answered rightly or not at all."""

    def __init__(self, tmp_path, *arguments, **more):
        super().__init__(tmp_path, '--ros-args', *arguments, **more)
        self.depths = self.node.create_publisher(Image, 'depth', qos_profile_sensor_data)
        self.depth_infos = self.node.create_publisher(CameraInfo, 'depth_info',
                                                      qos_profile_sensor_data)

    def send(self, publisher, msg, times=3):
        for _ in range(times):  # best effort may lose one
            publisher.publish(msg)
            self.spin(0.03)

    def good(self, people=2, z=50.04):
        """Send a good image until it is answered; check the whole answer."""
        msg = self.image(people)
        answer = self.ask(msg)
        assert answer.header == msg.header
        assert [s.id for s in answer.skeletons] == [f'abc{n:02d}' for n in range(people)]
        for n, skeleton in enumerate(answer.skeletons):
            p = skeleton.joints[0].position
            if z is None:
                assert math.isnan(p.z)
            else:
                assert (p.x, p.y) == (self.sent % 256, n + 0.01) and math.isclose(p.z, z)
        self.answers.clear()
        return msg


@pytest.fixture(scope='module')
def bench(tmp_path_factory):
    """One node for all faults: what one leaves behind, the next would find."""
    b = Faults(tmp_path_factory.mktemp('faults'), '-p', 'depth:=true', '-p', 'imu:=true', '-p',
               'target_frame:=odom', '-p', 'tf_timeout:=0.01')
    b.info()
    yield b
    b.close()


def change(**values):
    """A bad image: attributes of a good one changed."""
    def spoil(bench):
        msg = bench.image()
        for name, value in values.items():
            setattr(msg, name, value)
        bench.send(bench.images, msg)
    return spoil


def stamped(sec, nanosec=0, frame='camera_optical', times=1):
    def spoil(bench):
        for _ in range(times):
            msg = bench.image()
            msg.header.stamp.sec, msg.header.stamp.nanosec = sec, nanosec
            msg.header.frame_id = frame
            bench.send(bench.images, msg)
    return spoil


def jump_back(bench):
    for sec in (5000, 5001, 5002, 5000, 5001, 4000):
        stamped(sec)(bench)


def calibration(**values):
    def spoil(bench):
        msg = fill_camera_info(CameraInfo(), Camera([[50, 0, 32], [0, 50, 24], [0, 0, 1]], W, H))
        for name, value in values.items():
            setattr(msg, name, value)
        bench.send(bench.infos, msg)
        bench.send(bench.images, bench.image())
        bench.info()
    return spoil


def changing(bench):
    for f in (40.0, 60.0, 50.0):
        bench.info(f)
        bench.good(z=f + 0.04)


def depth(kind='32FC1', value=2.0, size=(H, W), late=0.0, frame='camera_optical', cut=None,
          info=None, **values):
    """A depth image, good or not, and the colour image that it belongs to."""
    def spoil(bench):
        colour = bench.image()
        pixel = {'32FC1': np.float32}.get(kind, np.uint16)
        data = np.full(size, value, pixel) if np.isscalar(value) else value.astype(pixel)
        msg = Image(encoding=kind, height=size[0], width=size[1],
                    step=size[1] * data.itemsize, header=copy.deepcopy(colour.header))
        msg.data = array.array('B', data.tobytes()[:cut])
        msg.header.frame_id = frame
        msg.header.stamp.sec += int(late)
        for name, v in values.items():
            setattr(msg, name, v)
        if info is not None:
            bench.send(bench.depth_infos, info)
        bench.send(bench.depths, msg)
        colour.header.frame_id = 'camera_optical'
        bench.send(bench.images, colour)
    return spoil


def full(array9, **more):
    return dict(k=np.array(array9, float), **more)


NAN, INF = math.nan, math.inf
HOLES = np.where(np.arange(H * W).reshape(H, W) % 3, np.nan, 1.5)
KINDS = {
    **{f'{e} truncated': change(encoding=e, step=W * images._BYTES[e],
                                data=array.array('B', bytes(W * images._BYTES[e] * H // 2)))
       for e in images.ENCODINGS},
    **{f'{e} with a step too small': change(encoding=e, step=W * images._BYTES[e] - 1)
       for e in ('bgr8', 'mono8', 'mono16', 'yuv422', 'nv12', 'bayer_rggb8')},
    'step zero': change(step=0), 'step huge': change(step=2**32 - 1),
    'no data': change(data=array.array('B')),
    'no pixels': change(height=0, width=0), 'no columns': change(width=0),
    'huge': change(height=2**32 - 1, width=2**32 - 1, step=2**32 - 1),
    'huge height': change(height=2**31),
    'encoding unknown': change(encoding='infrared9'), 'encoding empty': change(encoding=''),
    'encoding endless': change(encoding='b' * 100_000),
    'depth as colour': change(encoding='32FC1'),
    'odd width of yuv': change(encoding='yuv422', width=W - 1, step=2 * W),
    'stamp zero': stamped(0), 'stamp in the past': stamped(1),
    'stamp far ahead': stamped(2**31 - 1),
    'stamp with too many nanoseconds': stamped(7, 2**32 - 1),
    'stamps equal': stamped(7, times=3),
    'stamps jump back': jump_back,
    'frame_id empty': stamped(8, frame=''), 'frame_id unknown': stamped(9, frame='no/such frame'),
    'frame_id endless': stamped(10, frame='f' * 70_000),
    'K zero': calibration(**full(np.zeros(9))),
    'K negative': calibration(**full([-50, 0, 32, 0, 50, 24, 0, 0, 1])),
    'K not a number': calibration(**full([NAN, 0, 32, 0, 50, 24, 0, 0, 1])),
    'K infinite': calibration(**full([50, 0, INF, 0, 50, 24, 0, 0, 1])),
    'D of a wrong length': calibration(d=[0.1, 0.2, 0.3]),
    'D not a number': calibration(d=[NAN] * 5), 'D absurd': calibration(d=[1e30] * 5),
    'distortion unknown': calibration(distortion_model='fish_tank', d=[0.1]),
    'calibration of another size': calibration(width=640, height=480),
    'calibration changing': changing,
    'depth not a number': depth(value=NAN), 'depth zero': depth(value=0.0),
    'depth infinite': depth(value=INF), 'depth with holes': depth(value=HOLES),
    'depth in millimetres': depth('16UC1', 2000), 'depth zero in millimetres': depth('16UC1', 0),
    'depth of another resolution': depth(size=(24, 32), info=fill_camera_info(
        CameraInfo(), Camera([[25, 0, 16], [0, 25, 12], [0, 0, 1]], 32, 24))),
    'depth of another resolution than its info': depth(size=(10, 10)),
    'depth 1 s late': depth(late=1), 'depth 1 s early': depth(late=-1),
    'depth of an unknown frame': depth(frame='moon'), 'depth truncated': depth(cut=100),
    'depth as nobody knows it': depth(encoding='64FC9'), 'depth without pixels': depth(width=0),
    'the pipeline fails': lambda bench: bench.send(bench.images, bench.image(red=13)),
    'one person is nonsense': lambda bench: bench.send(bench.images, bench.image(3, red=14)),
}


def test_there_are_enough_kinds():
    assert len(KINDS) >= 30


@pytest.mark.parametrize('kind', KINDS)
def test_the_node_lives_on_and_is_right_afterwards(bench, kind):
    KINDS[kind](bench)
    assert bench.process.poll() is None
    bench.good()


def test_depth_stops_and_colour_goes_on(bench):
    send = depth(info=fill_camera_info(CameraInfo(), Camera.from_fov(W, H)))
    bench.spin_until(lambda: 'depth (48, 64) float32' in bench.process.log.read_text(),
                     again=lambda: send(bench))
    bench.diagnostics.clear()
    bench.spin_until(lambda: bench.diagnostics or bench.good() is None)
    for _ in range(3):
        bench.good()
    bench.spin_until(lambda: any('no depth: nothing on /depth' in s.message
                                 for s in bench.diagnostics) or not bench.good())


def test_two_hundred_people(bench):
    bench.good(people=200)


def test_fifty_subscribers_come_and_go(bench):
    for _ in range(2):
        made = [bench.node.create_subscription(SkeletonArray, 'pose/skeletons', lambda m: None, 1,
                                               raw=True) for _ in range(50)]
        bench.good()
        for subscription in made:
            bench.node.destroy_subscription(subscription)
        bench.good()


def test_a_subscriber_that_never_reads_holds_nobody_up(bench):
    context = rclpy.Context()
    context.init(domain_id=bench.domain)
    node = rclpy.create_node('deaf', context=context)
    try:
        node.create_subscription(SkeletonArray, 'pose/skeletons', lambda m: None, 1)
        bench.spin_until(lambda: bench.node.count_subscribers('pose/skeletons') >= 2)
        for _ in range(30):
            bench.good()
    finally:
        node.destroy_node()
        context.try_shutdown()


def test_out_of_memory_means_a_smaller_batch_then_the_cpu_and_says_so(bench):
    def said(text):
        bench.spin_until(lambda: any(text in s.message for s in bench.diagnostics)
                         or not bench.good())

    msg = bench.image(people=4, red=15)   # room for three at once
    assert len(bench.ask(msg).skeletons) == 4
    said('at most 2 people at once')
    msg = bench.image(people=4, red=16)   # room for none
    assert len(bench.ask(msg).skeletons) == 4
    said('runs on the CPU now')
    assert bench.values()['device'] == 'cpu'


# -------------------------------------------------------------------- nodes of their own
def test_a_clock_that_stands_still(tmp_path):
    bench = Faults(tmp_path, '-p', 'use_sim_time:=true', '-p', 'camera_info_wait:=0.0')
    try:
        bench.good(z=None)  # and the calibration comes after the images
        bench.info()
        bench.good()
        bench.values()  # the diagnostics go on
    finally:
        bench.close()


def test_compressed_images_good_and_bad(tmp_path):
    bench = Faults(tmp_path, '-p', 'image_transport:=compressed', wait=False)
    try:
        bench.images = bench.node.create_publisher(CompressedImage, 'image/compressed',
                                                   qos_profile_sensor_data)
        bench.spin_until(lambda: bench.images.get_subscription_count()
                         and bench.infos.get_subscription_count())

        def png(msg):
            picture = np.frombuffer(msg.data, np.uint8).reshape(H, W, 3)
            data = cv2.imencode('.png', picture)[1].tobytes()
            return CompressedImage(header=msg.header, format='bgr8; png compressed bgr8',
                                   data=data)

        bench.wire = png
        bench.info()
        bench.good()
        whole = png(bench.image())
        noise = np.random.default_rng(5).integers(0, 256, 5000, np.uint8).tobytes()
        for data, form in ((b'', 'jpeg'), (noise, 'jpeg'), (bytes(whole.data)[:60], 'png'),
                           (b'\xff\xd8\xff\xe0', 'jpeg'), (bytes(whole.data), ''),
                           (bytes(whole.data), '16UC1; compressedDepth')):
            bench.send(bench.images, CompressedImage(header=whole.header, format=form,
                                                     data=data))
            bench.good()
        assert 'are no picture' in bench.process.log.read_text()
    finally:
        bench.close()


def test_a_source_that_is_killed_and_started_again(tmp_path):
    bench = Faults(tmp_path)
    frames = []
    bench.node.create_subscription(SkeletonArray, 'pose/skeletons', frames.append, 100)
    try:
        for _ in range(2):
            source = bench.start('-m', 'lifting_ros.ros.source_node', '--ros-args', '-p',
                                 'rate:=20.0', '-p', 'seconds:=600.0', '-p', 'longest_side:=64')
            frames.clear()
            bench.spin_until(lambda: len(frames) >= 10)
            stamps = [f.header.stamp.sec + 1e-9 * f.header.stamp.nanosec for f in frames]
            assert len(stamps) >= 10 and stamps == sorted(set(stamps))
            source.kill()
            source.wait()
            bench.spin(0.3)
        assert bench.process.poll() is None
        bench.info()
        bench.good()
    finally:
        bench.close()


def test_damaged_weights_then_good_ones_and_noise(tmp_path):
    """The real pipeline: unconfigured with the reason, then configured, then 200 people's worth
    of noise, then the clip.
    """
    weights = pathlib.Path(images.__file__).parents[1] / 'weights'
    good = next(weights.glob('network*.safetensors'), None) or next(
        p for p in weights.glob('*.safetensors') if 'prior' not in p.name)
    path = tmp_path / 'w.safetensors'
    path.write_bytes(good.read_bytes()[:100_000])
    bench = Managed(tmp_path, '--ros-args', '-p', f'weights:={path}', wait=False, FAKE_NOT='1')
    try:
        bench.status(str(path))
        assert bench.diagnostics[-1].level == DiagnosticStatus.ERROR
        assert bench.state() == 1
        shutil.copy(good, path)
        assert bench.change(1) and bench.change(3)  # configure, activate
        bench.spin_until(lambda: bench.images.get_subscription_count())
        rng = np.random.default_rng(3)
        noise = bench.image(pixels=(480, 640))
        noise.data = array.array('B', rng.integers(0, 256, 480 * 640 * 3, np.uint8).tobytes())
        assert bench.ask(noise).header == noise.header
        from lifting_ros.ros.source_node import clip
        picture = cv2.VideoCapture(str(clip()[0])).read()[1]
        counts = []
        while counts[-1:] != [1] and len(counts) < 20:  # answers to the noise may still come
            counts.append(len(bench.ask(images.fill(bench.image(), picture)).skeletons))
        assert counts[-1] == 1, counts
        assert 'Traceback' not in bench.process.log.read_text()
    finally:
        bench.close()
