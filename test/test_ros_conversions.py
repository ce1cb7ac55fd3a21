"""Messages <-> arrays, without a graph."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import array
import io
import types

import ros_support  # noqa: F401
import cv2
import numpy as np
import PIL.Image
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from lifting_ros.camera import Camera, CameraError
from lifting_ros.person import Person, ScaleSource, Source
from lifting_ros.ros import compat, conversions, depth, images, inputs, statistics

W, H = 16, 12


def picture(rng):
    """Smooth colours, which survive subsampling."""
    small = rng.integers(40, 215, (3, 4, 3), dtype=np.uint8)
    return cv2.resize(small, (W, H), interpolation=cv2.INTER_LINEAR)


def message(rows, encoding, pad=0, big=0):
    """Image message of (rows, bytes) uint8, each row padded."""
    rows = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    padded = np.concatenate((rows, np.full((len(rows), pad), 99, np.uint8)), axis=1)
    return Image(height=H, width=W, encoding=encoding, step=padded.shape[1], is_bigendian=big,
                 data=array.array('B', padded.tobytes()))


@pytest.mark.parametrize('pad', [0, 5])
@pytest.mark.parametrize('encoding, order', [('bgr8', [0, 1, 2]), ('rgb8', [2, 1, 0]),
                                             ('8UC3', [0, 1, 2])])
def test_three_channels_are_views(rng, encoding, order, pad):
    want = picture(rng)
    msg = message(want[..., order], encoding, pad)
    got = images.to_bgr(msg)
    assert np.array_equal(got, want) and got.dtype == np.uint8
    assert np.shares_memory(got, np.frombuffer(msg.data, np.uint8))


@pytest.mark.parametrize('encoding, order', [('bgra8', [0, 1, 2]), ('rgba8', [2, 1, 0]),
                                             ('8UC4', [0, 1, 2])])
def test_four_channels_are_views(rng, encoding, order):
    want = picture(rng)
    four = np.concatenate((want[..., order], np.full((H, W, 1), 7, np.uint8)), axis=-1)
    msg = message(four, encoding, 3)
    got = images.to_bgr(msg)
    assert np.array_equal(got, want)
    assert np.shares_memory(got, np.frombuffer(msg.data, np.uint8))


@pytest.mark.parametrize('big', [0, 1])
def test_grey(rng, big):
    grey = picture(rng)[..., 0]
    want = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(images.to_bgr(message(grey, 'mono8', 2)), want)
    deep = (grey.astype(np.uint16) << 8 | 0x31).astype('>u2' if big else '<u2')
    assert np.array_equal(images.to_bgr(message(deep, 'mono16', 4, big)), want)


@pytest.mark.parametrize('big', [0, 1])
@pytest.mark.parametrize('encoding, order', [('bgr16', [0, 1, 2]), ('rgb16', [2, 1, 0]),
                                             ('bgra16', [0, 1, 2, 0]), ('rgba16', [2, 1, 0, 0])])
def test_sixteen_bits_keep_the_upper_eight(rng, encoding, order, big):
    want = picture(rng)
    deep = (want[..., order].astype(np.uint16) << 8 | 0x42).astype('>u2' if big else '<u2')
    if encoding.startswith('bgra') or encoding.startswith('rgba'):
        assert images._VIEWS.get(encoding) is None  # taken by its eight-bit name
    assert np.array_equal(images.to_bgr(message(deep, encoding, 0, big)), want)


def bayer(image, pattern):
    """Mosaic of a BGR image: ``pattern`` names the pixels (0,0), (0,1), (1,0), (1,1)."""
    out = np.zeros(image.shape[:2], np.uint8)
    for i, colour in enumerate(pattern):
        y, x = divmod(i, 2)
        out[y::2, x::2] = image[y::2, x::2, 'bgr'.index(colour)]
    return out


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('bits', [8, 16])
def test_bayer_patterns(pattern, bits):
    want = np.full((H, W, 3), (30, 120, 220), np.uint8)
    mosaic = bayer(want, pattern)
    if bits == 16:
        mosaic = (mosaic.astype('<u2') << 8)
    got = images.to_bgr(message(mosaic, f'bayer_{pattern}{bits}', 2))
    assert np.abs(got[2:-2, 2:-2].astype(int) - want[2:-2, 2:-2]).max() <= 1


def yuv(image):
    """Y (H, W), U, V (H/2, W/2) of a BGR image, BT.601 as cameras have it."""
    planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).ravel()
    n = H * W
    return (planes[:n].reshape(H, W), planes[n:n + n // 4].reshape(H // 2, W // 2),
            planes[n + n // 4:].reshape(H // 2, W // 2))


@pytest.mark.parametrize('encoding', ['yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv12', 'nv21'])
def test_yuv(rng, encoding):
    want = picture(rng)
    y, u, v = yuv(want)
    if encoding.startswith('nv'):
        pair = (u, v) if encoding == 'nv12' else (v, u)
        rows = np.concatenate((y, np.stack(pair, axis=-1).reshape(H // 2, W)))
    else:
        u2, v2 = (np.repeat(c, 2, axis=0) for c in (u, v))
        chroma = np.stack((u2, v2), axis=-1).reshape(H, W)
        pair = (chroma, y) if encoding in ('yuv422', 'uyvy') else (y, chroma)
        rows = np.stack(pair, axis=-1).reshape(H, 2 * W)
    msg = message(rows, encoding)
    got = images.to_bgr(msg).astype(int)
    assert got.shape == (H, W, 3)
    assert np.abs(got - want).mean() < 8


@pytest.mark.parametrize('change, word', [
    ({'encoding': 'infrared'}, 'unknown encoding'), ({'encoding': '16UC1'}, 'depth image'),
    ({'width': 0}, 'no pixels'), ({'height': 0}, 'no pixels'), ({'step': 3}, 'step is 3'),
    ({'data': array.array('B', b'12')}, 'cut off'), ({'height': 2**31}, 'cut off'),
    ({'width': 2**30, 'step': 2**32 - 1}, 'cut off'),
    ({'encoding': 'nv12', 'width': 15, 'step': 16}, 'even'),
])
def test_bad_images_are_named(rng, change, word):
    msg = message(picture(rng), 'bgr8')
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(images.ImageError, match=word):
        images.to_bgr(msg)


def test_the_last_row_may_lack_its_padding(rng):
    want = picture(rng)
    msg = message(want, 'bgr8', 8)
    msg.data = msg.data[:-8]
    assert np.array_equal(images.to_bgr(msg), want)


def test_fill_and_back(rng):
    want = picture(rng)
    assert np.array_equal(images.to_bgr(images.fill(Image(), want[:, ::-1])), want[:, ::-1])


@pytest.mark.skipif(compat.cv_bridge is None, reason='cv_bridge is not installed')
@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'bgra8', 'rgba8', *images.BRIDGED])
def test_equal_to_cv_bridge(rng, encoding, monkeypatch):
    rows = rng.integers(0, 255, (H, W * images._BYTES[encoding]), dtype=np.uint8)
    msg = message(rows, encoding)
    want = compat.cv_bridge.CvBridge().imgmsg_to_cv2(msg, 'bgr8')
    assert np.array_equal(images.to_bgr(msg), want)
    monkeypatch.setattr(compat, 'cv_bridge', None)
    assert np.array_equal(images.to_bgr(msg), want)


def test_cv_bridge_is_asked_where_it_is(rng, monkeypatch):
    asked = []
    bridge = types.SimpleNamespace(imgmsg_to_cv2=lambda m, e: asked.append((m.encoding, e)))
    monkeypatch.setattr(compat, 'cv_bridge', types.SimpleNamespace(CvBridge=lambda: bridge))
    images.to_bgr(message(picture(rng)[..., 0], 'mono8'))
    images.to_bgr(message(picture(rng), 'bgr8'))  # a view is better than the best copy
    assert asked == [('mono8', 'bgr8')]


@pytest.mark.skipif(compat.tf_transformations is None, reason='tf_transformations not installed')
def test_equal_to_tf_transformations(rng, monkeypatch):
    from scipy.spatial.transform import Rotation

    for r in Rotation.random(20, random_state=1):
        m = np.eye(4)
        m[:3, :3] = r.as_matrix()
        theirs = compat.quaternion_from_matrix(m)
        with monkeypatch.context() as patch:
            patch.setattr(compat, 'tf_transformations', None)
            ours = compat.quaternion_from_matrix(m)
        assert np.allclose(ours, theirs) or np.allclose(ours, -theirs)


def camera_info(**more):
    info = CameraInfo(width=640, height=480, distortion_model='plumb_bob',
                      d=[0.1, -0.2, 0.0, 0.0, 0.0],
                      k=np.array([500.0, 0, 320, 0, 510, 240, 0, 0, 1]))
    for name, value in more.items():
        setattr(info, name, value)
    return info


def test_camera_info_and_back():
    camera = conversions.to_camera(camera_info(), 640, 480)
    assert np.array_equal(camera.K, [[500, 0, 320], [0, 510, 240], [0, 0, 1]])
    again = conversions.to_camera(conversions.fill_camera_info(CameraInfo(), camera), 640, 480)
    assert np.array_equal(again.K, camera.K) and np.array_equal(again.D, camera.D)


def test_region_of_interest_and_binning():
    info = camera_info(d=[])
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 60, 400, 200
    info.binning_x = info.binning_y = 2
    full = conversions.to_camera(camera_info(d=[]), 640, 480)
    part = conversions.to_camera(info, 200, 100)
    point = np.array([0.2, -0.1, 3.0])
    # a pixel p of the full image is at (p - offset + 0.5) / 2 - 0.5 of the binned part
    want = (full.project(point) - [100, 60] + 0.5) / 2 - 0.5
    assert np.allclose(part.project(point), want)


@pytest.mark.parametrize('info, word', [
    (camera_info(k=np.zeros(9)), 'all zero'), (camera_info(width=320), '320x480'),
    (camera_info(distortion_model='wide'), 'wide'),
    (camera_info(k=np.array([np.nan] + [1.0] * 8)), 'finite'),
    (camera_info(d=[0.1, 0.2]), 'coefficients'),
])
def test_calibrations_that_cannot_be_used(info, word):
    with pytest.raises(CameraError, match=word):
        conversions.to_camera(info, 640, 480)


def person(rng, name='abcde', **more):
    root = rng.normal(size=(17, 3, 3)) * 0.05
    covariance = root @ root.swapaxes(1, 2)
    p = Person(id=name, confidence=0.8, box=np.array([-4.0, 3.2, 300.0, 8.9]))
    p.keypoints, p.keypoint_confidence = rng.uniform(0, 12, (17, 2)), rng.uniform(0.1, 1, 17)
    p.joints, p.covariance = rng.normal(size=(17, 3)), covariance
    p.velocity, p.velocity_covariance = rng.normal(size=(17, 3)), covariance
    p.source = rng.integers(1, 4, 17).astype(np.uint8)
    p.scale_source, p.age, p.occluded = ScaleSource.GROUND, 2.5, True
    for key, value in more.items():
        setattr(p, key, value)
    return p


def test_person_there_and_back(rng):
    p = person(rng)
    p.keypoint_confidence[3] = 0.0
    msg = conversions.to_skeleton(p, W, H)
    back = conversions.to_person(msg)
    assert np.array_equal(back.joints, p.joints) and np.array_equal(back.covariance, p.covariance)
    assert np.allclose(back.keypoint_confidence, p.keypoint_confidence)
    seen = p.keypoint_confidence > 0
    assert np.allclose(back.keypoints[seen], p.keypoints[seen])
    assert np.isnan(back.keypoints[3]).all()
    assert np.array_equal(back.source, p.source) and back.scale_source == p.scale_source
    assert (back.id, back.matched, back.occluded, back.age) == ('abcde', True, True, 2.5)
    roi = msg.roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (0, 3, W, 7)
    twist = msg.velocity.twist.linear
    assert np.allclose([twist.x, twist.y, twist.z], p.velocity[0])


def test_predicted_person_without_positions(rng):
    p = Person(id='abcde', confidence=0.1, box=np.full(4, np.nan), matched=False)
    msg = conversions.to_skeleton(p, W, H)
    assert not msg.matched and np.isnan(msg.joints[0].position.x)
    assert np.isnan(msg.joints[0].covariance).all() and msg.joints[0].source == Source.UNKNOWN


def test_one_spoiled_person_is_left_out(rng):
    lost = []
    people = [person(rng, 'aaaaa'), person(rng, 'bbbbb', joints='nothing'), person(rng, 'ccccc')]
    out = conversions.to_array(people, Header(), W, H, lambda p, e: lost.append(p.id))
    assert [s.id for s in out.skeletons] == ['aaaaa', 'ccccc'] and lost == ['bbbbb']


def test_drops_are_counted_from_numbers():
    c = statistics.FrameCounter()
    for number in (5, 6, 9, 10, 20, 1, 2, 4):  # 1: another publisher
        c.add(0.0, number)
    assert (c.received, c.dropped) == (8, 2 + 9 + 1)


def test_drops_are_estimated_from_stamps():
    c = statistics.FrameCounter()
    for frame in (0, 1, 2, 5, 6, 10):
        c.add(100 + frame / 30 + 0.001 * (frame % 2), None)
    assert (c.received, c.dropped) == (6, 2 + 3)
    c.add(50.0, None)  # time goes back
    assert c.dropped == 5


def test_percentiles_and_status():
    t = statistics.Times()
    assert np.isnan(t.percentiles(50)[0])
    for ms in range(101):
        t.add(ms / 1e3)
    assert np.allclose(t.percentiles(50, 99), (50, 99))
    s = statistics.status('a: b', 'h', DiagnosticStatus.WARN, 'why', {'x': 1.23456, 'n': 3})
    assert [(v.key, v.value) for v in s.values] == [('x', '1.235'), ('n', '3')]


def test_without_tf_packages_there_is_no_broadcaster(monkeypatch):
    monkeypatch.setattr(compat, 'tf2_ros', None)
    monkeypatch.setattr(compat, 'TFMessage', None)
    assert compat.transform_broadcaster(None) is None
    real = types.SimpleNamespace(TransformBroadcaster=lambda node: ('real', node),
                                 StaticTransformBroadcaster=lambda node: ('static', node))
    monkeypatch.setattr(compat, 'tf2_ros', real)
    assert compat.transform_broadcaster(7) == ('real', 7)
    assert compat.transform_broadcaster(7, static=True) == ('static', 7)


def test_seconds_keep_a_millisecond():
    from builtin_interfaces.msg import Time

    assert abs(conversions.seconds(Time(sec=1_800_000_000, nanosec=123_000_000))
               - 1_800_000_000.123) < 1e-6


def test_camera_is_scaled_for_the_source():
    assert Camera.from_fov(640, 480).scaled(320, 240).focal == pytest.approx(
        Camera.from_fov(320, 240).focal)


# ------------------------------------------------------------------- compressed and depth images
@pytest.mark.parametrize('suffix, form', [('.png', 'bgr8; png compressed bgr8'),
                                          ('.png', 'png'), ('.jpg', 'rgb8; jpeg compressed bgr8')])
def test_compressed_pictures(rng, suffix, form):
    want = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48),
                      interpolation=cv2.INTER_CUBIC)
    data = cv2.imencode(suffix, want)[1].tobytes()
    got = inputs.picture(CompressedImage(format=form, data=data))
    assert got.shape == want.shape and got.dtype == np.uint8
    assert np.abs(got.astype(int) - want).max() <= (0 if suffix == '.png' else 60)
    assert np.abs(got.astype(int) - want).mean() < 4


def test_a_compressed_picture_is_not_turned_by_its_exif_data(rng):
    pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees: the calibration knows nothing of that
    out = io.BytesIO()
    PIL.Image.fromarray(pixels).save(out, 'JPEG', exif=exif, quality=95)
    assert inputs.picture(CompressedImage(format='jpeg', data=out.getvalue())).shape == (40, 60, 3)


def test_grey_and_sixteen_bit_pngs_are_pictures_too(rng):
    for pixels in (rng.integers(0, 256, (9, 7), np.uint8),
                   rng.integers(0, 65536, (9, 7), np.uint16)):
        data = cv2.imencode('.png', pixels)[1].tobytes()
        got = inputs.picture(CompressedImage(format='png', data=data))
        want = pixels if pixels.dtype == np.uint8 else pixels >> 8
        assert got.shape == (9, 7, 3)
        assert np.abs(got.astype(int) - want[..., None]).max() <= 1


@pytest.mark.parametrize('big', [0, 1])
@pytest.mark.parametrize('pad', [0, 6])
@pytest.mark.parametrize('encoding, kind', [('32FC1', 'f4'), ('16UC1', 'u2'), ('mono16', 'u2')])
def test_depth_images(rng, encoding, kind, pad, big):
    want = (1000 * rng.uniform(0.4, 8, (5, 4))).astype(kind)
    rows = [row.astype(('>' if big else '<') + kind).tobytes() + bytes(pad) for row in want]
    msg = Image(encoding=encoding, height=5, width=4, is_bigendian=big,
                step=4 * want.itemsize + pad)
    msg.data = array.array('B', b''.join(rows))
    got = depth.to_depth(msg)
    assert got.dtype == want.dtype and np.array_equal(got, want)
    assert got.dtype.isnative


@pytest.mark.parametrize('change, word', [
    ({'encoding': 'bgr8'}, 'no depth'), ({'step': 3}, 'step'), ({'width': 0}, 'no pixels'),
    ({'height': 2**31}, 'cut off'), ({'data': array.array('B', bytes(5))}, 'cut off')])
def test_bad_depth_images_are_named(change, word):
    msg = Image(encoding='16UC1', height=2, width=3, step=6)
    msg.data = array.array('B', bytes(12))
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(images.ImageError, match=word):
        depth.to_depth(msg)
