"""Several cameras on the same people: their pictures' geometry, and what is measured on them."""

import zipfile

import cv2
import numpy as np
import pytest
from test_fusion import body, person, seen
from test_render import MOCAP, needs_body, needs_gl, needs_mocap

from lifting_ros.evaluation import rendered_rigs
from lifting_ros.training import rig
from lifting_ros.training.scene import View


def test_cameras_stand_about_the_person_and_look_at_him():
    rng, target = np.random.default_rng(0), np.array([0.3, -0.2, 0.9])
    views = rig.cameras(rng, target, rig.AZIMUTHS)
    away = np.array([v.position - target for v in views])
    flat = np.linalg.norm(away[:, :2], axis=1)
    assert ((flat > 2.4) & (flat < 5.6)).all() and (away[:, 2] > 0.1).all()
    around = np.degrees(np.arctan2(away[:, 1], away[:, 0]))
    apart = (around - around[0] - np.array(rig.AZIMUTHS) + 180) % 360 - 180
    assert np.abs(apart).max() < 14      # the target is not always in the middle of the picture
    for v in views:
        assert np.allclose(v.rotation @ v.rotation.T, np.eye(3)) and v.up[1] < -0.7
        pixel = v.project(v.to_optical(target))
        assert (np.abs(pixel - v.k[:2, 2]) < [61, 21]).all()


def folder(tmp_path, joints, stamps, rng):
    """A folder as of ``render views`` whose pictures carry their own number as grey value."""
    views = rig.cameras(rng, np.array([0, 0, 1.0]), rig.AZIMUTHS)
    names = [[f'{i}_{c}.png' for c in range(len(views))] for i in range(len(joints))]
    with zipfile.ZipFile(tmp_path / 'views.zip', 'w') as file:
        for i, row in enumerate(names):
            for name in row:
                ok, data = cv2.imencode('.png', np.full((480, 640, 3), i, np.uint8))
                file.writestr(name, data.tobytes())
    n = len(joints)
    np.savez(tmp_path / 'views.npz', azimuth=rig.AZIMUTHS, size=rig.SIZE, name=names,
             scene=np.arange(n) if stamps is None else np.zeros(n, int),
             stamp=np.zeros(n) if stamps is None else stamps, joints=joints,
             beside=np.full_like(joints, np.nan),
             visible=np.ones((n, len(views), 17), bool),
             K=[[v.k for v in views]] * n, rotation=[[v.rotation for v in views]] * n,
             position=[[v.position for v in views]] * n)
    return views


class Seeing:
    """A pipeline that knows the truth: errors as ``test_fusion.seen`` draws them."""

    def __init__(self, joints, views, rng, scale=None):
        self.joints, self.views, self.rng, self.scale = joints, views, rng, scale

    def __call__(self, image, camera, stamp=None, up=None):
        view = next(v for v in self.views if np.allclose(v.k, camera.K)
                    and np.allclose(v.up, up))
        true = self.joints[int(image[0, 0, 0])]
        place, cov = seen(self.rng, true, view.position, self.scale)
        r = view.rotation
        p = person('other', view.to_optical(place), r @ cov @ r.T)
        p.keypoints = view.project(view.to_optical(true))
        beside = person('beside', view.to_optical(place + [2.0, 0, 0]), p.covariance)
        beside.keypoints = p.keypoints + 200.0
        return [beside, p]


def test_what_single_cameras_and_the_fusion_are_charged_with(tmp_path):
    rng = np.random.default_rng(1)
    joints = np.array([body(rng) for _ in range(30)])
    views = folder(tmp_path, joints, None, rng)
    table = rendered_rigs.stills(Seeing(joints, views, rng), rendered_rigs.Views(tmp_path))
    for name in rendered_rigs.RIGS:
        best, both = table[f'{name}: best single'], table[f'{name}: fused']
        assert best['all_find'] == both['all_find'] == 30
        # the errors that were drawn, by nobody's pipeline: some 5 % of 3 to 5 m
        assert 80 < best['joints_mm'] < 260 and 0.75 < best['nees'] < 1.3
        assert both['ratio'] < 0.5 and both['taken_for_one'] > 80


@pytest.mark.parametrize('scale', [0.0])
def test_a_camera_that_was_moved_is_reported(tmp_path, scale):
    rng = np.random.default_rng(2)
    first, drift = body(rng), rng.normal(scale=0.05, size=(60, 17, 3))
    joints = first + np.cumsum(drift * [1, 1, 0.2], 0) * 0.2
    stamps = np.arange(60) / 6
    views = folder(tmp_path, joints, stamps, rng)
    table = rendered_rigs.films(lambda: Seeing(joints, views, rng, scale),
                                rendered_rigs.Views(tmp_path))
    for count in (2, 3):
        name = f'{count} cameras, the last 5 cm off: '
        assert table[name + 'none'] == {'runs': 1, 'reported': 0, 'after_s': None,
                                        'latest_s': None, 'right_camera': 0}
        assert table[name + 'up']['reported'] == 1 and table[name + 'up']['after_s'] < 10


def test_a_folder_without_views_says_how_to_make_them(tmp_path):
    with pytest.raises(ValueError, match='lifting-ros render views'):
        rendered_rigs.Views(tmp_path)


@needs_gl
@needs_body
@needs_mocap
@pytest.mark.parametrize('seconds, moments, cameras', [(0, 1, 5), (0.4, 2, 3)])
def test_rendered_views_show_one_person_from_all_sides(tmp_path, seconds, moments, cameras):
    from lifting_ros.training.render import Studio
    for name in ('a', 'b') if not seconds else ('a',):
        studio = Studio(MOCAP, None, np.random.default_rng(0), held_out=True, samples=0)
        rig.views(studio, tmp_path / name, 1, seed=4, seconds=seconds)
    assert seconds or all((tmp_path / 'a' / f).read_bytes() == (tmp_path / 'b' / f).read_bytes()
               for f in ('views.zip', 'views.npz'))
    views = rendered_rigs.Views(tmp_path / 'a')
    assert len(views.moments) == moments and len(views.azimuths) == cameras
    for moment in views.moments:
        assert moment.visible.any(0).sum() > 12     # what one does not see another does
        for c, m in enumerate(moment.mounts):
            image = views.image(moment.names[c])
            assert image.shape == (480, 640, 3) and image.std() > 5
            view = View(m.rotation, m.origin, m.camera.K, (640, 480))
            pixels = view.project(view.to_optical(moment.joints))
            assert np.allclose(pixels, m.camera.project((moment.joints - m.origin)
                                                        @ m.rotation.T), atol=1e-3)
            inside = ((pixels > -0.5) & (pixels < [639.5, 479.5])).all(1)
            assert not (moment.visible[c] & ~inside).any()
