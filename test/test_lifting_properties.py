"""What must hold for any lift, whatever the weights: the real lifter on people of the demo clip,
whose poses no fit has seen. The scene is changed in a way whose effect is known.
"""

from pathlib import Path

import numpy as np
import pytest

from lifting_ros.camera import Camera
from lifting_ros.lifting import Lifter
from lifting_ros.person import ScaleSource, Source
from lifting_ros.skeleton import INDEX, JOINTS, LSP_JOINTS, MIRROR, ORDERS, convert

TRUTH = Path(__file__).resolve().parents[1] / 'resource' / 'demo' / 'truth.npz'
FEET = [INDEX['left_ankle'], INDEX['right_ankle']]
NOISE = np.diag([4.0, 4.0])


@pytest.fixture(scope='module')
def lifter():
    return Lifter.from_pretrained()


class Scene:
    """Ten people of the clip, exact keypoints of fourteen joints, before a pitched camera."""

    def __init__(self, frames=10):
        with np.load(TRUTH, allow_pickle=False) as data:
            pick = np.linspace(0, len(data['joints']) - 1, frames).astype(int)
            joints, up = data['joints'][pick].astype(float), data['up'].astype(float)
            self.stature = np.full(frames, float(data['stature']))
        self.truth, self.up = joints, up / np.linalg.norm(up)
        self.camera = Camera([[560, 0, 319.5], [0, 560, 239.5], [0, 0, 1]], 640, 480)
        # the floor is a hand's breadth under the lower ankle
        self.height = 0.08 - (joints[:, FEET] @ self.up).min(1)
        self.confidence = np.zeros((frames, 17))
        self.confidence[:, LSP_JOINTS] = 1
        self.covariance = np.tile(NOISE, (frames, 17, 1, 1))

    def keypoints(self, points=None, camera=None):
        return (camera or self.camera).project(self.truth if points is None else points)

    def lift(self, lifter, keypoints=None, **changed):
        given = {'keypoint_covariance': self.covariance, 'up': self.up} | changed
        confidence = given.pop('confidence', self.confidence)
        camera = given.pop('camera', self.camera)
        keypoints = self.keypoints() if keypoints is None else keypoints
        return lifter.lift(keypoints, confidence, camera, **given)


@pytest.fixture(scope='module')
def scene():
    return Scene()


@pytest.fixture(scope='module')
def plain(scene, lifter):
    """The scene lifted as it is."""
    return scene.lift(lifter)


def about(axis, angle):
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def relative(joints):
    return joints - joints[:, :1]


def error(a, b):
    """Joint errors (N, 17) m about the pelvis."""
    return np.linalg.norm(relative(a) - relative(b), axis=-1)


def test_the_scene_is_lifted_well(scene, plain):
    """Without this, the properties below could hold for nonsense."""
    assert error(plain.joints, scene.truth).mean() < 0.08
    root = np.linalg.norm(plain.joints[:, 0] - scene.truth[:, 0], axis=1)
    assert np.median(root / np.linalg.norm(scene.truth[:, 0], axis=1)) < 0.10
    seen = scene.confidence > 0
    off = np.linalg.norm(scene.camera.project(plain.joints) - scene.keypoints(), axis=-1)
    assert np.median(off[seen]) < 4
    assert (plain.source[~seen] == Source.LIFTED).all()


@pytest.mark.parametrize('angle', [-0.35, 0.2])
def test_turning_the_scene_about_the_vertical(scene, lifter, plain, angle):
    """Everybody goes round the camera: so does the result. Pixels are finer at the image's edge,
    so the same covariance in pixels says a little less there: hence the tolerance.
    """
    turn = about(scene.up, angle)
    got = scene.lift(lifter, scene.keypoints(scene.truth @ turn.T))
    off = np.linalg.norm(got.joints @ turn - plain.joints, axis=-1)
    sigma = np.sqrt(np.trace(plain.covariance, axis1=-2, axis2=-1))
    assert np.median(off) < 0.01 and (off / sigma).max() < 0.5
    back = turn.T @ got.covariance @ turn
    np.testing.assert_allclose(np.trace(back, axis1=-2, axis2=-1),
                               np.trace(plain.covariance, axis1=-2, axis2=-1), rtol=0.35)


def test_turning_the_camera_with_gravity(scene, lifter, plain):
    """The camera is rolled and pitched under the people, gravity told: the people stay."""
    turn = about(np.array([0, 0, 1.0]), 0.6) @ about(np.array([1.0, 0, 0]), 0.15)
    got = scene.lift(lifter, scene.keypoints(scene.truth @ turn.T), up=turn @ scene.up)
    off = np.linalg.norm(got.joints @ turn - plain.joints, axis=-1)
    assert np.median(off) < 0.01 and off.max() < 0.08


def test_mirror_image(scene, lifter, plain):
    """Left and right exchanged: pose, place and covariance are the mirror image. The mixture is
    symmetric only as far as its fit is, the density exactly.
    """
    flip = np.array([-1.0, 1, 1])
    got = scene.lift(lifter, scene.keypoints(scene.truth[:, MIRROR] * flip),
                     up=scene.up * flip)
    back = got.joints[:, MIRROR] * flip
    sigma = np.sqrt(np.trace(plain.covariance, axis1=-2, axis2=-1))
    off = np.linalg.norm(back - plain.joints, axis=-1)
    assert np.median(off / sigma) < 0.4 and (off / sigma).mean() < 0.6
    wide = np.trace(got.covariance[:, MIRROR], axis1=-2, axis2=-1) / sigma ** 2
    assert 0.7 < np.median(wide) < 1.4
    # and neither image is lifted better than the other
    assert error(back, scene.truth).mean() == pytest.approx(
        error(plain.joints, scene.truth).mean(), abs=0.015)


@pytest.mark.parametrize('factor', [0.8, 1.1])
def test_scaling_the_scene_with_the_stature(scene, lifter, factor):
    """A smaller person nearer by makes the same picture; the stature tells them apart. People's
    statures in general are known too, and pull a little.
    """
    one = scene.lift(lifter, stature=scene.stature)
    other = scene.lift(lifter, stature=factor * scene.stature)
    ratio = (np.linalg.norm(other.joints[:, 0], axis=1)
             / np.linalg.norm(one.joints[:, 0], axis=1))
    np.testing.assert_allclose(ratio, factor, rtol=0.1)
    np.testing.assert_allclose(other.joints, ratio[:, None, None] * one.joints, atol=0.02)
    assert (other.scale_source == ScaleSource.STATURE).all()
    known = np.trace(one.covariance[:, 0], axis1=-2, axis2=-1)
    unknown = np.trace(scene.lift(lifter).covariance[:, 0], axis1=-2, axis2=-1)
    assert (known < unknown).all()


def test_scaling_the_scene_with_the_camera_height(scene, lifter):
    """The higher the same picture is taken from, the farther and larger the people are."""
    one = scene.lift(lifter, camera_height=scene.height)
    other = scene.lift(lifter, camera_height=0.9 * scene.height)
    assert (one.scale_source == ScaleSource.GROUND).all()
    ratio = (np.linalg.norm(other.joints[:, 0], axis=1)
             / np.linalg.norm(one.joints[:, 0], axis=1))
    assert ((ratio > 0.86) & (ratio < 0.98)).all()
    truth = np.linalg.norm(scene.truth[:, 0], axis=1)
    off = np.abs(np.linalg.norm(one.joints[:, 0], axis=1) - truth) / truth
    assert np.median(off) < 0.04


def test_scaling_the_scene_with_a_depth_image(scene, lifter):
    """A plane through each person's place, scaled: the person goes with it."""
    got = []
    for factor in (1.0, 1.1):
        one = Scene()
        places = []
        for i in range(4):
            image = np.full((480, 640), factor * (one.truth[i, :, 2].mean() - 0.06), np.float32)
            lifted = lifter.lift(one.keypoints()[i:i + 1], one.confidence[i:i + 1], one.camera,
                                 one.up, depth=image)
            assert lifted.scale_source[0] == ScaleSource.DEPTH
            places.append(lifted.joints[0, 0, 2])
        got.append(places)
    assert np.abs(np.array(got[0]) - scene.truth[:4, 0, 2]).max() < 0.15
    np.testing.assert_allclose(np.divide(got[1], got[0]), 1.1, atol=0.04)


def test_permuting_people(scene, lifter):
    """With everything that is known of each of them."""
    rng = np.random.default_rng(3)
    n = len(scene.truth)
    order = rng.permutation(n)
    up = np.tile(scene.up, (n, 1))
    up[::3] = np.nan                          # gravity known for some only
    given = {'up': up, 'stature': np.where(np.arange(n) % 2, scene.stature, np.nan),
             'camera_height': np.where(np.arange(n) % 4 == 1, scene.height, np.nan),
             'keypoint_covariance': rng.uniform(1, 9, (n, 17, 1, 1)) * np.eye(2),
             'confidence': scene.confidence * rng.choice([0.4, 1.0], (n, 17))}
    one = scene.lift(lifter, **given)
    other = scene.lift(lifter, scene.keypoints()[order],
                       **{k: v[order] for k, v in given.items()})
    assert np.isfinite(one.joints).all()
    for name in ('joints', 'covariance', 'log_likelihood', 'source', 'scale_source'):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name)[order], atol=1e-6)


def test_image_size_and_intrinsics(scene, lifter, plain):
    """The same rays through another image: resized unevenly, cropped, and through a lens."""
    for camera in (scene.camera.scaled(1280, 720),
                   Camera(scene.camera.K - [[0, 0, 100], [0, 0, 50], [0, 0, 0]], 400, 400),
                   Camera(scene.camera.K, 640, 480, [-0.25, 0.08, 0.001, -0.001, 0.0])):
        pixels = scene.keypoints(camera=camera)
        stretch = np.diag([camera.K[0, 0] / 560, camera.K[1, 1] / 560])
        # half a pixel is added to every covariance as a floor
        told = np.tile(stretch @ (NOISE + np.eye(2) / 4) @ stretch - np.eye(2) / 4,
                       (len(pixels), 17, 1, 1))
        got = scene.lift(lifter, pixels, camera=camera, keypoint_covariance=told)
        off = np.linalg.norm(got.joints - plain.joints, axis=-1)
        assert np.median(off) < 5e-3, camera
        assert error(got.joints, scene.truth).mean() < 0.08


def test_one_persons_joints_never_change_anothers(scene, lifter):
    """Whatever becomes of the second person, the others have the same result to the bit's noise,
    with gravity known or not, statures, and people who are lifted twice for a wrong joint.
    """
    n = len(scene.truth)
    up = np.tile(scene.up, (n, 1))
    up[4:6] = np.nan
    others = np.arange(n) != 1
    base = scene.lift(lifter, up=up, stature=scene.stature)
    for spoil in ('gone', 'four left', 'legs', 'contradictory', 'nan', 'far'):
        pixels, confidence = scene.keypoints().copy(), scene.confidence.copy()
        if spoil == 'gone':
            confidence[1] = 0
        elif spoil == 'four left':
            confidence[1, list(LSP_JOINTS[4:])] = 0
        elif spoil == 'legs':
            confidence[1, [INDEX['left_knee'], INDEX['right_knee'], *FEET]] = 0
        elif spoil == 'contradictory':
            pixels[1, INDEX['left_wrist']] += 150
        elif spoil == 'nan':
            pixels[1] = np.nan
        else:
            pixels[1] += 1e5
        got = scene.lift(lifter, pixels, confidence=confidence, up=up, stature=scene.stature)
        for name in ('joints', 'covariance', 'log_likelihood'):
            np.testing.assert_allclose(getattr(got, name)[others], getattr(base, name)[others],
                                       atol=1e-6, err_msg=f'{spoil}: {name}')


def clear(lifted, scene):
    """A result is whole and sane, or it is nothing at all and says so."""
    for i in range(len(lifted)):
        joints, covariance = lifted.joints[i], lifted.covariance[i]
        if np.isnan(joints).any():
            assert np.isnan(joints).all() and np.isnan(covariance).all()
            assert (lifted.source[i] == Source.UNKNOWN).all()
            assert lifted.scale_source[i] == ScaleSource.NONE
        else:
            assert np.isfinite(covariance).all()
            assert (np.linalg.eigvalsh(covariance) > 0).all()
            assert 0.2 < np.linalg.norm(joints[0]) < 100
            tall = np.ptp(joints @ scene.up)
            assert tall < 2.6


@pytest.mark.parametrize('given', [
    {'up': np.zeros(3)}, {'up': np.full(3, np.inf)}, {'up': np.array([0, 1.0, 0])},
    {'stature': np.inf}, {'stature': -1.7}, {'stature': 30.0}, {'stature': 0.0},
    {'camera_height': np.nan}, {'camera_height': -3.0}, {'camera_height': np.inf},
    {'camera_height': 1e6}, {'stature': 1.2, 'camera_height': 12.0},
    {'depth': np.zeros((480, 640), np.uint16)}, {'depth': np.full((480, 640), np.nan)},
    {'depth': np.full((480, 640), 0.5)}, {'depth': np.full((480, 640), 18.0), 'stature': 1.7},
    {'depth': np.random.default_rng(0).uniform(0.3, 9, (480, 640))},
    {'keypoint_covariance': np.full((10, 17, 2, 2), np.nan)},
    {'keypoint_covariance': np.zeros((10, 17, 2, 2))},
    {'keypoint_covariance': np.tile([[1.0, 5], [5, 1]], (10, 17, 1, 1))},
    {'keypoint_covariance': np.full((10, 17, 2, 2), 1e9) * np.eye(2)},
], ids=lambda v: ', '.join(f'{k} {np.ravel(x)[0]}' for k, x in v.items()))
def test_nonsense_beside_the_keypoints(scene, lifter, given):
    """What else is told is wrong or contradicts: keypoints decide, and nothing gets wild."""
    lifted = scene.lift(lifter, **given)
    clear(lifted, scene)
    if 'up' not in given or not np.isfinite(given['up']).all() or not np.any(given['up']):
        assert np.isfinite(lifted.joints).all(2).all(1).mean() > 0.7


def test_contradictory_keypoints(scene, lifter):
    """Parts of two people, limbs at random, all on a line: nothing, or something sane."""
    rng = np.random.default_rng(5)
    pixels = scene.keypoints().copy()
    pixels[0, [INDEX[n] for n in ('left_knee', 'left_ankle', 'left_wrist')]] += 200
    pixels[1, 8:] = pixels[2, 8:] + 90
    pixels[3] = rng.permutation(pixels[3])
    pixels[4, :, 0] = 300
    pixels[5] = pixels[5, :, ::-1]
    pixels[6] = 480 - pixels[6]               # upside down
    pixels[7, ::2] = [0, 0]
    for up in (scene.up, None):
        lifted = scene.lift(lifter, pixels, up=up)
        clear(lifted, scene)
        assert np.isfinite(lifted.joints[8:]).all()
        assert lifted.log_likelihood[8] > -2
        plausible = np.isfinite(lifted.log_likelihood[:8])
        assert (lifted.log_likelihood[:8][plausible] < lifted.log_likelihood[8]).mean() > 0.8


@pytest.mark.parametrize('order', [o for o in ORDERS if o != 'lifting_ros'])
def test_every_joint_order_is_lifted_alike(scene, lifter, order):
    """The same people told in another order of joints come out where they are."""
    names = list(ORDERS[order])
    if order == 'mpii':
        names[names.index('neck')], names[names.index('thorax')] = 'upper_neck', 'neck'
    pixels = scene.keypoints()
    theirs = np.full((len(pixels), len(names), 2), np.nan)
    for i, name in enumerate(names):
        if name in JOINTS:
            theirs[:, i] = pixels[:, INDEX[name]]
    confidence = np.isfinite(theirs).all(-1).astype(float)
    ours, seen = convert(theirs, confidence, order)
    lifted = scene.lift(lifter, ours, confidence=seen)
    assert error(lifted.joints, scene.truth).mean() < 0.1
    sides = relative(lifted.joints)[:, [INDEX['left_shoulder'], INDEX['left_hip']]]
    truth = relative(scene.truth)[:, [INDEX['left_shoulder'], INDEX['left_hip']]]
    assert ((sides * truth).sum(-1) > 0).mean() > 0.9     # left is left
