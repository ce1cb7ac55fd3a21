"""Rendered people: retargeting, what is seen, crops and the demo's measures."""

import ctypes.util
import importlib.util
import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from lifting_ros.evaluation import demo
from lifting_ros.person import Person
from lifting_ros.skeleton import BONES, HIPS, INDEX, JOINTS, MIRROR, NECK, PELVIS, SPINE
from lifting_ros.training import captures as captures_
from lifting_ros.training import render, retarget, scene

ROOT = Path(__file__).resolve().parents[1]
MOCAP = ROOT.parent / 'shared' / 'data' / 'mocap'
needs_mocap = pytest.mark.skipif(not MOCAP.is_dir(), reason='../shared/data/mocap is absent')
needs_body = pytest.mark.skipif(importlib.util.find_spec('anny') is None,
                                reason='body model anny is not installed')


def _gl():
    if importlib.util.find_spec('moderngl') is None or not ctypes.util.find_library('EGL'):
        return False
    import moderngl
    try:
        moderngl.create_context(standalone=True, backend='egl', require=330).release()
    except Exception:
        return False
    return True


needs_gl = pytest.mark.skipif(not _gl(), reason='no moderngl or no OpenGL 3.3 on EGL')


@pytest.fixture(scope='module')
def captures():
    return captures_.Captures(MOCAP)


@pytest.fixture(scope='module')
def bodies():
    from lifting_ros.training.bodies import Bodies
    return Bodies()


@pytest.mark.parametrize('first', ['x', 'z'])
def test_frames_are_rotations_that_keep_the_first_direction(first):
    rng = np.random.default_rng(1)
    x, z = rng.normal(size=(2, 50, 3))
    r = retarget.frames(x, z, first)
    assert np.allclose(np.swapaxes(r, 1, 2) @ r, np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(r), 1)
    kept = r[..., 0] if first == 'x' else r[..., 2]
    assert np.allclose(kept, retarget.unit(x if first == 'x' else z))


def test_least_rotation_is_least_and_survives_opposites():
    rng = np.random.default_rng(2)
    for a, b in [*rng.normal(size=(20, 2, 3)), (np.eye(3)[0], -np.eye(3)[0])]:
        r = retarget.least_rotation(a, b)
        assert np.allclose(r @ retarget.unit(a), retarget.unit(b), atol=1e-6)
        angle = np.arccos(np.clip((np.trace(r) - 1) / 2, -1, 1))
        assert angle == pytest.approx(np.arccos(retarget.unit(a) @ retarget.unit(b)), abs=1e-3)


@needs_mocap
def test_captures_stand_on_the_floor_and_leave_held_out_subjects_out(captures):
    from lifting_ros.training.mocap import HELD_OUT_SUBJECTS
    rng = np.random.default_rng(3)
    kinds = set()
    for _ in range(60):
        c = captures.draw(rng)
        kinds.add(c.kind)
        assert {'pelvis', 'left_foot', 'head_base'} <= set(c.points)
        assert -0.5 < min(p[2] for p in c.points.values()) < 1.5
    assert {'sit', 'bend_lift', 'reach'} <= kinds
    assert not set(captures.subject[captures.allowed]) & set(HELD_OUT_SUBJECTS)
    inside = captures.between(int(captures.start[0]), 3.0 / captures.fps)
    assert all(np.allclose(p, captures.at(int(captures.start[0]) + 3).points[n])
               for n, p in inside.points.items())


@needs_mocap
@needs_body
def test_a_posed_body_has_the_captured_directions_and_its_own_lengths(bodies, captures):
    rng = np.random.default_rng(4)
    limbs = [('hip', 'knee'), ('knee', 'ankle'), ('shoulder', 'elbow'), ('elbow', 'wrist')]
    for _ in range(12):
        body, capture = bodies.sample(rng), captures.draw(rng)
        r = retarget.rotations(body, capture, retarget.Style.sample(rng))
        assert np.allclose(np.swapaxes(r, 1, 2) @ r, np.eye(3), atol=1e-6)
        v, heads = retarget.place(body, r, capture)
        joints = body.joints(v, heads)
        rest = body.joints(body.vertices, body.heads)
        for side in ('left', 'right'):
            for a, b in limbs:
                bone = joints[INDEX[f'{side}_{b}']] - joints[INDEX[f'{side}_{a}']]
                want = capture.points[f'{side}_{b}'] - capture.points[f'{side}_{a}']
                cos = retarget.unit(bone) @ retarget.unit(want)
                assert np.degrees(np.arccos(min(cos, 1))) < 8, (capture.kind, side, a)
                own = rest[INDEX[f'{side}_{b}']] - rest[INDEX[f'{side}_{a}']]
                assert np.linalg.norm(bone) == pytest.approx(np.linalg.norm(own), rel=0.02)
        assert np.allclose(joints[PELVIS], joints[list(HIPS)].mean(0))
        assert np.allclose(joints[SPINE], (joints[PELVIS] + joints[NECK]) / 2)
        assert v[:, 2].min() > -0.02


@needs_mocap
@needs_body
def test_a_mirrored_capture_makes_a_mirrored_body(bodies, captures):
    body = bodies.make({})
    style = retarget.Style(curl=(0.3, 0.3))
    capture = captures.at(int(np.flatnonzero(captures.kind == 'reach')[7]))
    both = []
    for c in (capture, capture.mirrored()):
        v, heads = retarget.place(body, retarget.rotations(body, c, style), c)
        both.append(body.joints(v, heads))
    assert np.allclose(both[0] * [-1, 1, 1], both[1][list(MIRROR)], atol=5e-3)


def test_a_camera_looks_at_its_target_from_the_distance_asked_for():
    view = scene.look(np.array([1.0, 2.0, 0.9]), 0.7, 0.3, 4.0, 1.0, aim=(50, -20))
    p = view.to_optical(np.array([1.0, 2.0, 0.9]))
    assert np.linalg.norm(p) == pytest.approx(4.0)
    assert np.allclose(view.project(p), view.k[:2, 2] + [50, -20])
    assert np.allclose(view.up, [0, -np.cos(0.3), -np.sin(0.3)])
    assert np.allclose(view.rotation @ view.rotation.T, np.eye(3))


@needs_gl
def test_the_renderer_agrees_with_the_pinhole_camera():
    from lifting_ros.training.renderer import TEXTURE_SIZE, Light, Renderer
    white = np.full((1, TEXTURE_SIZE, TEXTURE_SIZE, 3), 255, np.uint8)
    renderer = Renderer(white, shadow=64)
    k = np.array([[300.0, 0, 101.0], [0, 320.0, 70.0], [0, 0, 1]])
    near = scene.box(np.array([0.1, 0.2, 3.0]), (0.4, 0.2, 0.02), np.ones(3), identity=2)
    far = scene.box(np.array([0.0, 0.0, 5.0]), (1.0, 1.0, 0.02), np.ones(3), identity=1)
    image, identity, depth = renderer.draw([far, near], k, 200, 150, Light())
    ys, xs = np.nonzero(identity == 2)
    low = k[:2, :2].diagonal() * [0.1 - 0.2, 0.2 - 0.1] / 2.99 + k[:2, 2]
    high = k[:2, :2].diagonal() * [0.1 + 0.2, 0.2 + 0.1] / 2.99 + k[:2, 2]
    assert np.allclose([xs.min() - 0.5, ys.min() - 0.5], low, atol=0.6)
    assert np.allclose([xs.max() + 0.5, ys.max() + 0.5], high, atol=0.6)
    assert np.allclose(depth[ys, xs], 2.99, atol=1e-3)
    assert np.allclose(depth[identity == 1], 4.99, atol=1e-3) and (identity == 1).any()
    assert image.shape == (150, 200, 3) and image[:5].max() == 0 and image[ys, xs].mean() > 60
    joints = np.tile([0.1, 0.2, 3.0], (17, 1))
    pixels = joints @ k.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    assert render.visible(joints, pixels, identity, depth, 2).all()
    assert not render.visible(joints, pixels, identity, depth, 1).any()      # another is before
    assert not render.visible(joints + [0, 0, 0.5], pixels, identity, depth, 2).any()   # behind
    assert not render.visible(joints, pixels + 500, identity, depth, 2).any()


@needs_mocap
@needs_body
@needs_gl
def test_crops_are_cameras_and_follow_from_the_seed(tmp_path):
    studio = render.Studio(MOCAP, None, np.random.default_rng(0))
    for name in ('a', 'b'):
        render.crops(studio, tmp_path / name, 3, seed=5, shard=2)
    with np.load(tmp_path / 'a' / 'rendered_00.npz', allow_pickle=False) as data:
        table = {k: data[k] for k in data.files}
    with np.load(tmp_path / 'b' / 'rendered_00.npz', allow_pickle=False) as again:
        assert all(np.array_equal(table[k], again[k]) for k in table)
    first, second = ((tmp_path / n / 'rendered_00.zip').read_bytes() for n in 'ab')
    assert first == second
    assert (tmp_path / 'a' / 'rendered_01.npz').is_file() and len(table['name']) == 2
    p = np.einsum('nij,nkj->nki', table['K'], table['joints'])
    assert np.allclose(p[..., :2] / p[..., 2:], table['keypoints'], atol=0.05)
    assert table['visible'].sum(1).min() >= 5
    seen = table['keypoints'][table['visible']]
    assert (seen > -1).all() and (seen < render.CROP).all()
    with zipfile.ZipFile(io.BytesIO(first)) as z:
        image = cv2.imdecode(np.frombuffer(z.read(str(table['name'][0])), np.uint8), 1)
    assert image.shape == (render.CROP, render.CROP, 3) and image.std() > 5


def _person(joints, sigma):
    covariance = np.tile(np.eye(3) * sigma**2, (len(JOINTS), 1, 1))
    return Person('abcde', 1.0, np.zeros(4), joints=joints, covariance=covariance)


def test_errors_of_the_demo_know_shifts_noise_and_coverage():
    rng = np.random.default_rng(6)
    truth = rng.normal(size=(17, 3)) + [0, 0, 4]
    person = _person(truth + [0.3, 0, 0.4], 1.0)
    relative, root, inside = demo.errors(person.joints, person.covariance, truth)
    assert relative == pytest.approx(0, abs=1e-12) and root == pytest.approx(0.5) and inside == 1
    cover = []
    for _ in range(200):
        person = _person(truth + 0.05 * rng.normal(size=truth.shape), 0.05)
        cover.append(demo.errors(person.joints, person.covariance, truth)[2])
    assert np.mean(cover) == pytest.approx(0.95, abs=0.012)


def test_the_demo_takes_the_nearest_person_and_nobody_far_off():
    keypoints = np.random.default_rng(7).uniform(100, 300, (17, 2))
    people = [Person('aaaaa', 1, np.zeros(4), keypoints=keypoints + d) for d in (60, 8, 300)]
    assert demo.nearest(people, keypoints, (640, 480))[0].id == 'aaaaa'
    assert demo.nearest(people, keypoints, (640, 480))[1] == pytest.approx(8 * 2**0.5)
    assert demo.nearest(people[2:], keypoints, (640, 480))[0] is None


@pytest.mark.parametrize('name', ['resource/demo/truth', 'test/data/person',
                                  'test/data/two_people'])
def test_shipped_truth_is_of_one_piece(name):
    with np.load(ROOT / f'{name}.npz', allow_pickle=False) as data:
        truth = {k: data[k] for k in data.files}
    joints, k = truth['joints'].astype(float), truth['K']
    pixels = joints @ k.T
    assert np.allclose(pixels[..., :2] / pixels[..., 2:], truth['keypoints'], atol=0.05)
    assert np.linalg.norm(truth['up']) == pytest.approx(1) and truth['up'][1] < -0.9
    lengths = np.stack([np.linalg.norm(joints[..., a, :] - joints[..., b, :], axis=-1)
                        for a, b in BONES], -1)
    assert (lengths > 0.03).all() and (lengths < 0.7).all()
    assert truth['visible'].shape == joints.shape[:-1] and truth['visible'].mean() > 0.6
    if name.endswith('truth'):
        video = cv2.VideoCapture(str(ROOT / 'resource/demo/clip.mp4'))
        assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == len(joints) >= 300
        # a person does not jump: under 0.25 m from frame to frame at 30 frames a second
        assert np.linalg.norm(np.diff(joints, axis=0), axis=-1).max() < 0.25
        assert (ROOT / 'resource/demo/clip.mp4').stat().st_size < 3e6
