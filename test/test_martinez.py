"""The simple baseline, a peer of the lifter: its inputs, views, placing, file and training."""

import numpy as np
import pytest
import torch

from lifting_ros.camera import Camera
from lifting_ros.prior import PosePrior
from lifting_ros.skeleton import MIRROR
from lifting_ros.training import martinez as m


@pytest.fixture(scope='module')
def bodies():
    """(40, 17, 3) m, z up, of the prior."""
    poses, _ = PosePrior.load().sample(40, np.random.default_rng(0))
    return 1.7 * (poses - poses[:, :1])


def test_views_are_what_a_pitched_camera_sees(bodies):
    rng = np.random.default_rng(1)
    inputs, target = m.views(np.repeat(bodies, 50, 0), rng)
    assert inputs.shape == (2000, m.INPUTS) and np.isfinite(inputs).all()
    size = np.linalg.norm(np.repeat(bodies, 50, 0), axis=-1)
    # a rigid motion: lengths and hands are kept
    np.testing.assert_allclose(np.linalg.norm(target, axis=-1), size, atol=1e-5)
    a, b, c = (bodies[:, i] for i in (4, 8, 13))
    d, e, f = (target.reshape(40, 50, 17, 3)[:, 0, i].astype(float) for i in (4, 8, 13))
    np.testing.assert_allclose((np.cross(d, e) * f).sum(-1), (np.cross(a, b) * c).sum(-1),
                               atol=1e-4)
    # y is down: up in the world is mostly up in the picture, tilted by the camera's pitch
    down = np.linalg.lstsq(np.repeat(bodies, 50, 0).reshape(-1, 3), target.reshape(-1, 3),
                           rcond=None)[0][2]
    assert down[1] < -0.7 and abs(down[0]) < 0.05
    # spread and keypoints tell of the same person: apparent size times distance is the size
    seen = inputs[:, :51].reshape(-1, 17, 3)[..., 2] > 0
    assert 4 <= seen.sum(1).min() and seen.mean() < 0.95


def test_inputs_do_not_depend_on_where_and_how_large(bodies):
    rng = np.random.default_rng(2)
    xy, seen = rng.normal(0, 0.1, (5, 17, 2)), rng.random((5, 17)) < 0.8
    xy[~seen] = np.nan
    a, b = m.features(xy, seen), m.features(3 * xy + [0.2, -0.1], seen)
    np.testing.assert_allclose(a[:, :51], b[:, :51], atol=1e-4)
    np.testing.assert_allclose(b[:, 51:53], 3 * a[:, 51:53] + [0.2, -0.1], atol=1e-5)
    np.testing.assert_allclose(b[:, 53], a[:, 53] + np.log(3), atol=1e-4)


def test_people_are_placed_on_their_rays(bodies):
    rng = np.random.default_rng(3)
    place = np.stack((rng.normal(0, 0.5, 40), rng.normal(0, 0.3, 40), rng.uniform(2, 6, 40)), -1)
    points = bodies + place[:, None]
    xy = points[..., :2] / points[..., 2:]
    seen = rng.random((40, 17)) < 0.7
    xy[~seen] = np.nan
    np.testing.assert_allclose(m.translation(bodies, xy, seen), place, atol=1e-5)


def test_peer_is_symmetric_and_survives_its_file(bodies, tmp_path):
    from lifting_ros.prior.file import save_tensors
    torch.manual_seed(0)
    net = m.Martinez(width=64)
    path = tmp_path / 'peer.safetensors'
    save_tensors(path, {k: v.numpy() for k, v in net.state_dict().items()}, {'version': '1'})
    peer = m.Peer.load(path)
    camera = Camera([[600, 0, 319.5], [0, 600, 239.5], [0, 0, 1]], 640, 480)
    points = bodies[..., [0, 2, 1]] * [1, -1, 1] + [0, 0, 4.0]
    pixels, confidence = camera.project(points), np.ones((40, 17))
    confidence[:, 5] = 0
    got = peer.lift(pixels, confidence, camera)
    assert got.shape == (40, 17, 3) and np.isfinite(got).all()
    flipped = pixels[:, MIRROR] * [-1, 1] + [639, 0]
    other = peer.lift(flipped, confidence[:, MIRROR], camera)
    np.testing.assert_allclose(other[:, MIRROR] * [-1, 1, 1], got, atol=1e-4)
    # what is not seen plays no part
    pixels[:, 5] = 1e3
    np.testing.assert_allclose(peer.lift(pixels, confidence, camera), got, atol=1e-6)


def test_training_goes_on_where_it_was_broken_off(bodies, monkeypatch):
    """Ten steps in one go and in two parts give the same weights, and the error falls."""
    monkeypatch.setattr(m, 'training_poses', lambda poses, n, rng, variety: (bodies, None))
    kept = {}

    def save(tensors, step):
        kept[step] = {k: np.array(v) for k, v in tensors.items()}

    whole, _ = m.train(None, 10, width=32, batch=16)
    m.train(None, 10, width=32, batch=16, save=save, every=5)
    again, _ = m.train(None, 10, width=32, batch=16, resume=kept[5])
    other, _ = m.train(None, 10, seed=1, width=32, batch=16)
    for name, value in whole.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-5, atol=1e-7, err_msg=name)
    assert any(not np.allclose(other[k], v) for k, v in whole.items())
    _, late = m.train(None, 150, width=32, batch=64, dropout=0.0)
    _, early = m.train(None, 5, width=32, batch=64, dropout=0.0)
    assert late < 0.9 * early
