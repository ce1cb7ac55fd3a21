"""The demo: three processes and what they write; the figures by themselves."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import json
import os
import re
import subprocess
import sys

import ros_support
from conftest import ROOT
import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from lifting_ros.person import Person
from lifting_ros.ros import bag
from lifting_ros.ros.conversions import to_array
from lifting_ros.ros.images import to_bgr
from lifting_ros.ros.recording import Recording, compare, report, summarise, table
from lifting_ros.view import axes


def film(path, frames=12, rate=10, size=(160, 120)):
    """Write a video whose frames are told apart by their brightness."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), rate, size)
    for n in range(frames):
        writer.write(np.full((size[1], size[0], 3), 10 + 20 * n, np.uint8))
    writer.release()
    return path


def person(joints, name='abcde', middle=(50.0, 50.0)):
    """Person with joints (17, 3) m about a pixel."""
    p = Person(id=name, confidence=0.9, box=np.array([*middle, *middle]) + [-9, -9, 9, 9])
    p.joints, p.covariance = joints, np.tile(np.eye(3) * 1e-4, (17, 1, 1))
    p.keypoints = np.tile(middle, (17, 1))
    p.keypoint_confidence = np.ones(17)
    return p


def add(recording, stamp, people, latency_ms):
    header = Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9))
    msg = to_array(people, header, 100, 100)
    msg.processing_latency = 0.001 * latency_ms
    recording.add_skeletons(msg, stamp + int(1e6 * latency_ms))


def recorded(rng):
    """Run of 10 images 0.1 s apart of which the third was dropped; the truth, and what errs."""
    truth = {'joints': rng.normal(size=(10, 17, 3)) + [0, 0, 4],
             'keypoints': np.full((10, 17, 2), 50.0), 'size': np.array([100, 100])}
    stamps = 10**18 + 10**8 * np.arange(10)
    sent = {'stamp': stamps, 'frame': np.arange(10)}
    recording = Recording()
    for n, stamp in enumerate(stamps.tolist()):
        if n == 2:
            continue
        error = np.zeros((17, 3))
        error[1:, 0] = 0.017       # 17 mm at 16 of 17 joints, the pelvis at the origin
        joints = truth['joints'][n] + error + [0, 0, 0.25]
        people = [person(truth['joints'][n] + 9, 'other', (90.0, 90.0)), person(joints)]
        add(recording, stamp, [] if n == 5 else people, 10 + n)
    return recording, sent, truth


def test_figures_are_right(rng):
    recording, sent, truth = recorded(rng)
    s = {**summarise(recording, sent), **compare(recording, sent, truth)}
    assert (s['frames_in'], s['frames_out'], s['frames_dropped']) == (10, 9, 1)
    assert s['rate_hz'] == pytest.approx(8 / 0.9, abs=0.01)
    assert s['latency_ms']['p50'] == pytest.approx(15.0, abs=0.01)
    assert s['processing_ms']['p99'] == pytest.approx(18.92, abs=0.05)
    assert s['waiting_ms']['p50'] == pytest.approx(0.0, abs=0.01)
    assert s['people_max'] == 2 and s['people_mean'] == pytest.approx(16 / 9, abs=1e-3)
    assert s['joint_error_mm'] == pytest.approx(16.0, abs=0.1)
    assert s['root_error_m'] == pytest.approx(0.25, abs=1e-3)
    assert s['frames_with_skeleton'] == pytest.approx(8 / 9, abs=1e-3)
    assert s['latency_drift_ms'] is None and s['stamps_out_of_order'] == 0
    text = '\n'.join(table(s))
    assert '16.0 mm' in text and '88.9 %' in text


def test_drift_is_last_less_first():
    recording = Recording()
    for n in range(300):
        stamp = 10**18 + 10**8 * n
        add(recording, stamp, [], 10 if n < 150 else 14)
        recording.received[stamp] += 10_000 * n  # waiting grows by 0.01 ms a frame
    s = summarise(recording)
    assert s['latency_drift_ms'] == pytest.approx(6.0, abs=0.1)
    assert s['waiting_drift_ms'] == pytest.approx(2.0, abs=0.1)


def test_a_run_without_answers_is_reported(tmp_path, capsys):
    report(Recording(), tmp_path, {'stamps': '', 'truth': '', 'video': True, 'title': 'x'})
    s = json.loads((tmp_path / 'summary.json').read_text())
    assert s['frames_out'] == 0 and s['latency_ms']['p50'] is None
    assert 'frames out' in capsys.readouterr().out


def test_the_page_of_a_run_has_its_people(rng, tmp_path):
    recording, sent, truth = recorded(rng)
    picture = cv2.imencode('.jpg', np.full((120, 160, 3), 90, np.uint8))[1]
    recording.pictures = {stamp: picture for stamp in list(recording.people)[:4]}
    report(recording, tmp_path, {'stamps': '', 'truth': '', 'video': False, 'view': True,
                                 'title': 'a </script> title'})
    text = (tmp_path / 'view.html').read_text()
    data = json.loads(text.split('type="application/json">')[1].split('</script>')[0])
    assert data['title'] == 'a </script> title' and len(data['frames']) == 9
    assert [len(f['people']) for f in data['frames']].count(0) == 1
    assert sum('image' in f for f in data['frames']) == 4
    assert [f['t'] for f in data['frames']][:3] == [0.0, 0.1, 0.3]
    assert json.loads((tmp_path / 'summary.json').read_text())['files'] == ['view.html']


def test_source_plays_a_file_and_says_what_it_sent(graph, tmp_path):
    images, infos = [], []
    graph.node.create_subscription(Image, 'image', images.append, 100)
    graph.node.create_subscription(CameraInfo, 'camera_info', infos.append, 100)
    np.savez(tmp_path / 'truth.npz', K=np.array([[200.0, 0, 79.5], [0, 200, 59.5], [0, 0, 1]]))
    process = graph.start(
        '-m', 'lifting_ros.ros.source_node', '--ros-args', '-p',
        f'source:={film(tmp_path / "film.mp4")}', '-p', 'rate:=20.0', '-p', 'seconds:=1.0',
        '-p', 'longest_side:=80', '-p', f'truth:={tmp_path}/truth.npz',
        '-p', f'stamps:={tmp_path}/stamps.npz')
    graph.spin_until(lambda: process.poll() is not None)
    assert process.returncode == 0, process.log.read_text()
    graph.spin_until(lambda: len(images) >= 20 and infos[-1].header.stamp
                     == images[-1].header.stamp)  # the last may still be on their way
    sent = np.load(tmp_path / 'stamps.npz')
    assert sent['frame'].tolist() == [*range(12), *range(8)]  # it started again
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in images]
    assert stamps == sent['stamp'].tolist()
    assert np.diff(stamps).min() > 0
    assert {(m.width, m.height, m.encoding) for m in images} == {(80, 60, 'bgr8')}
    for m, frame in zip(images, sent['frame']):
        assert abs(to_bgr(m).mean() - (10 + 20 * frame)) < 8
    # the pixel in the middle stays there when the picture is halved
    assert np.allclose(infos[-1].k, [100, 0, 39.5, 0, 100, 29.5, 0, 0, 1])
    assert infos[-1].header.stamp == images[-1].header.stamp


@pytest.mark.parametrize('source, word', [('/no/such/file.mp4', 'no such file'),
                                          (__file__, 'cannot be opened')])
def test_source_that_cannot_be_read_is_one_clear_line(graph, source, word):
    process = graph.start('-m', 'lifting_ros.ros.source_node', '--ros-args', '-p',
                          f'source:={source}')
    assert process.wait(ros_support.LIMIT) == 1
    text = process.log.read_text()
    assert word in text and 'Traceback' not in text


def test_whole_demo_on_a_short_film(tmp_path):
    path = film(tmp_path / 'a.mp4')
    for seconds in ('3', '30', '150'):  # always 30 images; slower for a machine that is too busy
        done = subprocess.run(
            [sys.executable, '-m', 'lifting_ros.ros.demo', '--source', str(path), '--seconds',
             seconds, '--rate', str(30 / float(seconds)), '--view', '--output',
             str(tmp_path / 'out')],
            capture_output=True, text=True, timeout=2 * ros_support.LONG, cwd=tmp_path,
            env={**os.environ, 'OMP_NUM_THREADS': '1',
                 'ROS_DOMAIN_ID': str(ros_support.new_domain())})
        summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
        if summary['frames_out']:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary['frames_in'] == 30 and summary['frames_out'] >= 1
    assert summary['frames_in'] == summary['frames_out'] + summary['frames_dropped']
    assert summary['stamps_out_of_order'] == 0
    for word in ('frames in', 'frames dropped', 'rate', 'latency p50', 'people'):
        assert word in done.stdout
    video = cv2.VideoCapture(str(tmp_path / 'out' / 'overlay.mp4'))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == summary['frames_out']
    assert cv2.imread(str(tmp_path / 'out' / 'still.png')).shape == (120, 280, 3)
    page = tmp_path / 'out' / 'view.html'
    assert str(page) in done.stdout and 'view.html' in summary['files']
    assert page.read_text().count('"image":') == summary['frames_out']
    rosbags = pytest.importorskip('rosbags.highlevel', reason='the extra [bags] is not there')
    with rosbags.AnyReader([tmp_path / 'out' / 'bag']) as reader:
        counts = {c.topic: (c.msgtype, c.msgcount) for c in reader.connections}
        assert counts['/pose/skeletons'] == ('lifting_ros/msg/SkeletonArray',
                                             summary['frames_out'])
        assert counts['/pose/skeleton_model'][1] == 1
        assert counts['/tf_static'] == ('tf2_msgs/msg/TFMessage', 1)
        layout = json.loads((ROOT / 'config' / 'pose.foxglove.json').read_text())
        shown = re.findall(r'"(/[a-z_/]+)"', json.dumps(layout['configById']))
        wanted = {t for t in shown if t.startswith(('/pose', '/image', '/camera', '/diag'))}
        assert wanted <= set(counts) | {'/pose/markers', '/diagnostics'} and wanted
        wanted = [c for c in reader.connections if c.topic == '/image/compressed']
        _, _, data = next(reader.messages(connections=wanted))
        jpeg = reader.deserialize(data, wanted[0].msgtype).data
        assert cv2.imdecode(np.asarray(jpeg), cv2.IMREAD_COLOR).shape == (120, 160, 3)


def test_demo_says_what_is_wrong(tmp_path):
    def demo(*args):
        return subprocess.run([sys.executable, '-m', 'lifting_ros.ros.demo', *args,
                               '--output', str(tmp_path / 'out')], capture_output=True,
                              text=True, timeout=ros_support.LONG,
                              env={**os.environ, 'ROS_DOMAIN_ID': str(ros_support.new_domain())})

    done = demo('--source', '/no/such.mp4')
    assert done.returncode == 2 and 'no such file' in done.stderr
    import torch

    if torch.cuda.is_available():
        pytest.skip('there is a CUDA device')
    done = demo('--source', str(film(tmp_path / 'a.mp4')), '--device', 'cuda')
    assert done.returncode == 1 and 'CUDA' in done.stderr and 'Traceback' not in done.stderr


def test_bag_carries_the_real_types(tmp_path):
    from rclpy.serialization import serialize_message

    b = bag.Bag(tmp_path / 'bag')
    header = Header(stamp=Time(sec=5), frame_id='eye')
    msg = to_array([person(np.ones((17, 3)))], header, 9, 9)
    b.write('/s', type(msg), serialize_message(msg), 7)
    up = np.array([0, -np.cos(0.2), -np.sin(0.2)])
    b.write_static('eye', 'people_view', axes(up).T, 3)
    b.close()
    rosbags = pytest.importorskip('rosbags.highlevel', reason='the extra [bags] is not there')
    with rosbags.AnyReader([tmp_path / 'bag']) as reader:
        connection, static = sorted(reader.connections, key=lambda c: c.topic)
        (_, stamp, data), = reader.messages(connections=[connection])
        (_, _, told), = reader.messages(connections=[static])
        (t,) = reader.deserialize(told, 'tf2_msgs/msg/TFMessage').transforms
        q = t.transform.rotation
        assert (t.header.frame_id, t.child_frame_id) == ('eye', 'people_view')
        assert np.allclose(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()[:, 2], up)
        back = reader.deserialize(data, connection.msgtype)
        assert stamp == 7 and back.header.frame_id == 'eye'
        assert back.skeletons[0].joints[3].name == msg.skeletons[0].joints[3].name
        assert np.allclose(back.skeletons[0].joints[3].covariance, 1e-4 * np.eye(3).ravel())
