"""What fixes the scale: depth images, the ground, and what they must not be fooled by."""

from pathlib import Path

import numpy as np
import pytest

from lifting_ros.camera import Camera
from lifting_ros.lifting import DepthImage, Lifter
from lifting_ros.lifting.depth import SURFACE
from lifting_ros.lifting.problem import exponential
from lifting_ros.person import ScaleSource, Source
from lifting_ros.skeleton import JOINTS

CAMERA = Camera([[300, 0, 159.5], [0, 300, 119.5], [0, 0, 1]], 320, 240)
OFFSET = np.array([SURFACE[n.removeprefix('left_').removeprefix('right_')][0] for n in JOINTS])


@pytest.fixture(scope='module')
def world():
    """A lifter, and scenes of captured people that it has not seen."""
    data = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'mocap'
    if not data.is_dir():
        pytest.skip(f'no motion capture at {data}')
    from lifting_ros.evaluation.scenes import scenes
    from lifting_ros.training.mocap import HELD_OUT_SUBJECTS, draw_balanced, read
    poses = read(data)
    poses = poses[np.isin(poses.subject, HELD_OUT_SUBJECTS) & (poses.kind == 'walk')]
    rng = np.random.default_rng(0)
    return Lifter.from_pretrained(), scenes(poses[draw_balanced(poses, 12, rng)].joints, rng)


def painted(joints, camera, rotation=None, translation=None, background=np.nan):
    """A depth image (H, W) of discs where the surface over each joint is."""
    rotation = np.eye(3) if rotation is None else rotation
    translation = np.zeros(3) if translation is None else translation
    far = np.linalg.norm(joints, axis=1, keepdims=True)
    surface = (joints * (far - OFFSET[:, None]) / far - translation) @ rotation
    pixels = camera.project(surface)
    y, x = np.mgrid[:camera.height, :camera.width]
    image = np.full((camera.height, camera.width), background)
    for j in np.argsort(-surface[:, 2]):
        near = (x - pixels[j, 0]) ** 2 + (y - pixels[j, 1]) ** 2
        image[near < (0.04 * camera.focal / surface[j, 2]) ** 2] = surface[j, 2]
    return image


def test_ranges_of_a_plane():
    image = np.full((240, 320), 3.0, dtype=np.float32)
    rays = CAMERA.rays(np.array([[160.0, 120], [40, 200], [300, 10]]))
    found, sigma = DepthImage(image, CAMERA).ranges(rays, np.full(3, 2.5))
    np.testing.assert_allclose(found, 3 / rays[:, 2], rtol=1e-6)
    assert (sigma > 0).all() and (sigma < 0.05).all()
    image[100:140, 140:180] = 0
    image[190:210, 30:50] = np.nan
    found, _ = DepthImage(image, CAMERA).ranges(rays, np.full(3, 2.5))
    assert np.isnan(found[:2]).all() and np.isfinite(found[2])


def test_millimetres_and_another_camera():
    small = Camera([[150, 0, 79.5], [0, 150, 59.5], [0, 0, 1]], 160, 120)
    rotation = exponential(np.array([[0.05, -0.1, 0.02]]))[0]
    translation = np.array([0.1, -0.05, 0.03])
    # a plane n.p = 3 of the colour camera, as the other camera sees it
    y, x = np.mgrid[:120, :160]
    rays = small.rays(np.stack((x, y), -1).astype(float))
    z = (3 - translation[2]) / (rays @ rotation.T)[..., 2] * rays[..., 2]
    image = np.rint(z * 1000).astype(np.uint16)
    look = CAMERA.rays(np.array([[160.0, 120], [100, 150]]))
    depth = DepthImage(image, small, rotation, translation)
    found, _ = depth.ranges(look, np.full(2, 2.0))
    np.testing.assert_allclose(found, 3 / look[:, 2], atol=0.02)


def test_wrong_depth_images_are_refused():
    with pytest.raises(ValueError, match='depth image'):
        DepthImage(np.zeros((240, 320, 3)), CAMERA)
    with pytest.raises(ValueError, match='320x240'):
        DepthImage(np.zeros((120, 160)), CAMERA)
    with pytest.raises(ValueError, match='rotation'):
        DepthImage(np.zeros((240, 320)), CAMERA, np.eye(2), np.zeros(3))


@pytest.mark.parametrize('elsewhere', [False, True])
def test_depth_fixes_the_distance(world, elsewhere):
    lifter, s = world
    camera, rotation, translation = s.camera, None, None
    if elsewhere:
        k = s.camera.K / 2
        k[2, 2] = 1
        camera = Camera(k, 320, 240)
        rotation = exponential(np.array([[0.02, -0.05, 0.03]]))[0]
        translation = np.array([0.05, 0.02, -0.03])
    error, before = [], []
    for i in range(len(s.joints)):
        image = painted(s.joints[i], camera, rotation, translation, 9.0).astype(np.float32)
        given = s.keypoints[i:i + 1], s.confidence[i:i + 1], s.camera, s.up[i:i + 1]
        out = lifter.lift(*given, depth=(image, camera, rotation, translation))
        assert out.scale_source[0] == ScaleSource.DEPTH
        assert (out.source[0] == Source.DEPTH).sum() > 6
        error.append(np.linalg.norm(out.joints[0, 0] - s.joints[i, 0]))
        before.append(np.linalg.norm(lifter.lift(*given).joints[0, 0] - s.joints[i, 0]))
    assert np.median(error) < 0.05 and np.median(error) < 0.7 * np.median(before)


@pytest.mark.parametrize('depth', [0.3, 19.0, 0.0, np.nan])
def test_depth_that_cannot_be_is_left_out(world, depth):
    """An occluder right before the camera, a wall far behind, nothing at all."""
    lifter, s = world
    image = np.full((480, 640), depth, dtype=np.float32)
    given = s.keypoints, s.confidence, s.camera, s.up
    with_it, without = lifter.lift(*given, depth=image), lifter.lift(*given)
    assert (with_it.scale_source == ScaleSource.PRIOR).all()
    assert (with_it.source != Source.DEPTH).all()
    np.testing.assert_allclose(with_it.joints, without.joints, atol=1e-6)


def test_ground_fixes_the_distance(world):
    lifter, s = world
    given = s.keypoints, s.confidence, s.camera, s.up
    out, before = lifter.lift(*given, camera_height=s.height), lifter.lift(*given)
    assert (out.scale_source == ScaleSource.GROUND).mean() > 0.9
    error, old = (np.linalg.norm(x.joints[:, 0] - s.joints[:, 0], axis=1) for x in (out, before))
    assert np.median(error) < 0.8 * np.median(old)
    unknown = lifter.lift(s.keypoints, s.confidence, s.camera, camera_height=s.height)
    assert (unknown.scale_source == ScaleSource.PRIOR).all()   # no gravity, no ground


def test_exchanged_legs_are_found(world):
    lifter, s = world
    swapped = s.keypoints.copy()
    for limb in ('hip', 'knee', 'ankle'):
        a, b = JOINTS.index(f'left_{limb}'), JOINTS.index(f'right_{limb}')
        swapped[:, [a, b]] = swapped[:, [b, a]]
    good = lifter.lift(s.keypoints, s.confidence, s.camera, s.up).joints
    found = lifter.lift(swapped, s.confidence, s.camera, s.up).joints
    same = np.abs(good - found).max((1, 2)) < 1e-6
    assert same.mean() > 0.6
