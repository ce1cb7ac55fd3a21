"""The camera: rays and pixels are inverse, distortion is OpenCV's, bad input is refused."""

import cv2
import numpy as np
import pytest

from lifting_ros.camera import Camera, CameraError, crop_transform

K = [[520.0, 0, 331], [0, 515.0, 236], [0, 0, 1]]
MODELS = [
    ('plumb_bob', None), ('plumb_bob', [-0.3, 0.1, 0.001, -0.002, 0.01]),
    ('rational_polynomial', [0.1, 0.02, 0.001, 0, 0.01, 0.02, 0.01, 0.01]),
    ('equidistant', [0.01, 0.02, 0.001, 0.001]),
]


def points_in_view(rng, n=60):
    z = rng.uniform(0.8, 6, n)
    return np.stack((rng.uniform(-0.5, 0.5, n) * z, rng.uniform(-0.4, 0.4, n) * z, z), axis=-1)


@pytest.mark.parametrize('model, d', MODELS)
def test_rays_go_through_the_points_that_were_projected(model, d, rng):
    camera, points = Camera(K, 640, 480, d, model), points_in_view(rng)
    rays = camera.rays(camera.project(points))
    direction = points / np.linalg.norm(points, axis=1, keepdims=True)
    np.testing.assert_allclose(rays, direction, atol=1e-8)


def test_a_fisheye_sees_to_its_edge():
    lens = Camera([[300, 0, 640], [0, 300, 480], [0, 0, 1]], 1280, 960,
                  [-0.02, 0.003, -0.001, 0.0001], 'equidistant')
    off, turn = np.meshgrid(np.radians([0, 1, 30, 60, 75, 84]), np.linspace(0, 6, 9))
    rays = np.stack((np.sin(off) * np.cos(turn), np.sin(off) * np.sin(turn), np.cos(off)), -1)
    np.testing.assert_allclose(lens.rays(lens.project(rays)), rays, atol=1e-7)
    beyond = lens.rays([[640 + 300 * 2.0, 480]])  # behind the lens: not a pinhole's ray
    assert np.isnan(beyond).all()


@pytest.mark.parametrize('model, d', MODELS)
def test_projection_is_opencvs(model, d, rng):
    points, zero = points_in_view(rng), np.zeros(3)
    if model == 'equidistant':
        want = cv2.fisheye.projectPoints(points[:, None], zero[:, None], zero[:, None],
                                         np.array(K), np.array(d))[0][:, 0]
    else:
        want = cv2.projectPoints(points, zero, zero, np.array(K),
                                 None if d is None else np.array(d))[0][:, 0]
    np.testing.assert_allclose(Camera(K, 640, 480, d, model).project(points), want, atol=1e-6)


def test_unknown_stays_unknown_and_spoils_no_neighbour():
    camera = Camera(K, 640, 480, [-0.3, 0.1, 0, 0, 0])
    rays = camera.rays([[10.0, 20.0], [np.nan, 5.0]])
    assert np.isfinite(rays[0]).all() and np.isnan(rays[1]).all()
    pixels = camera.project([[0.1, 0.1, 1.0], [0.1, 0.1, -1.0], [0, 0, 0.0]])
    assert np.isfinite(pixels[0]).all() and np.isnan(pixels[1:]).all()


def test_a_resized_image_keeps_its_rays(rng):
    camera, points = Camera(K, 640, 480), points_in_view(rng)
    half = camera.scaled(320, 240)
    # pixel centres at integers: u' = (u + 0.5) / 2 - 0.5
    np.testing.assert_allclose(half.project(points), (camera.project(points) + 0.5) / 2 - 0.5)


def test_crops_are_square_about_the_middle():
    scale, offset = crop_transform([[100, 50, 200, 250]], 256)
    middle = scale * np.array([150, 150]) + offset[0]
    np.testing.assert_allclose(middle, 127.5)
    np.testing.assert_allclose(scale, 256 / 250)


@pytest.mark.parametrize('change, word', [
    (dict(K=np.zeros((3, 3))), 'not calibrated'),
    (dict(K=np.full((3, 3), np.nan)), 'finite'),
    (dict(K=[[-500, 0, 320], [0, 500, 240], [0, 0, 1]]), 'positive'),
    (dict(K=np.zeros(4)), '9'),
    (dict(D=[0.1, 0.2]), 'coefficients'),
    (dict(D=[0.1, 0.2, 0.3, np.inf, 0]), 'finite'),
    (dict(model='fisheye62'), 'unknown distortion model'),
    (dict(width=0), 'size'),
])
def test_a_bad_calibration_is_refused_with_the_reason(change, word):
    good = dict(K=K, width=640, height=480, D=None, model='plumb_bob')
    Camera(**good)
    with pytest.raises(CameraError, match=word):
        Camera(**{**good, **change})
