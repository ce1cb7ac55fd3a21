"""The lift inside the network: equal to the closed form, and differentiable."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from lifting_ros.lifting.closed_form import ClosedForm
from lifting_ros.network.elimination import eliminate, inverse
from lifting_ros.network.lift import Lift
from lifting_ros.network.predict import bowl, cavity, predict
from lifting_ros.network.rays import cells_of, rays_of, soft_peaks
from lifting_ros.network.turns import rotation, upright_turn
from lifting_ros.prior import PosePrior
from lifting_ros.skeleton import INDEX

DIMS, HEADINGS = 6, 16
SIGMA = 0.02


@pytest.fixture(scope='module')
def prior():
    rng = np.random.default_rng(3)
    whole = PosePrior.load()
    # few dimensions, all of them used by both
    return PosePrior(whole.mean[:4], whole.basis[:4, :DIMS], whole.psi[:4] + 1e-4,
                     np.array([0.4, 0.3, 0.2, 0.1]), whole.stature, 0.02), rng


@pytest.fixture(scope='module')
def people(prior):
    """40 people in front of a camera: rays, confidence, joints in statures."""
    prior, rng = prior
    poses, _ = prior.sample(40, rng)
    angle = rng.uniform(0, 2 * np.pi, 40)
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    turned = np.stack((c * poses[..., 0] - s * poses[..., 1],
                       s * poses[..., 0] + c * poses[..., 1], poses[..., 2]), -1)
    joints = turned + rng.uniform([1.5, -0.4, -0.3], [3.0, 0.4, 0.3], (40, 1, 3))
    rays = joints / np.linalg.norm(joints, axis=-1, keepdims=True)
    confidence = (rng.random((40, 17)) < 0.85).astype(float)
    return rays, confidence, joints


def _lift(prior):
    lift = Lift(prior.modes, DIMS, HEADINGS).double()
    lift.set_prior(prior.mean, prior.basis, prior.psi + prior.skeleton_noise ** 2, prior.weight)
    angle = torch.arange(HEADINGS, dtype=torch.float64) * (2 * np.pi / HEADINGS)
    lift.turns = torch.stack((angle.cos(), angle.sin()), 1)     # those it ships are float32
    lift.pitches = torch.tensor([[1.0, 0.0], [np.cos(0.52), -np.sin(0.52)]]).double()
    return lift


def test_twin_of_the_closed_form(prior, people):
    prior, _ = prior
    rays, confidence, _ = people
    reference = ClosedForm(prior, headings=HEADINGS, coarse=None, keep=prior.modes * HEADINGS)
    distance = np.full(len(rays), 2.0)
    theirs = reference.search(rays, confidence, np.full((len(rays), 17), SIGMA / 2), 1, distance)
    lift = _lift(prior)
    with torch.no_grad():
        noise = lift.variance + SIGMA ** 2
        upright = torch.eye(3).double().expand(len(rays), 3, 3)
        r, w = torch.from_numpy(rays), torch.from_numpy(confidence)
        frames = lift.frames(torch.arange(HEADINGS).expand(len(rays), -1), upright)
        best = lift.search(r, w, noise, frames).argmin(1)
        mode, turn = best % prior.modes, best // prior.modes
        frame = rotation(lift.turns[turn], 2)
        joints, variance = lift.solve_one(r, w, noise, mode, frame)
    # the closed form takes its second pass at the distance it found: solve there, at ours
    again = reference.solve(rays, confidence, np.full((len(rays), 17), SIGMA / 2),
                            mode.numpy()[:, None], reference.angles[turn.numpy()][:, None],
                            distance)
    c, s = np.cos(again.heading), np.sin(again.heading)
    for i in range(len(rays)):
        turn_back = np.array([[c[i, 0], -s[i, 0], 0], [s[i, 0], c[i, 0], 0], [0, 0, 1]])
        k = again.mode[i, 0]
        pose = prior.mean[k] + np.tensordot(again.coefficients[i, 0], prior.basis[k], 1)
        expected = pose @ turn_back.T + again.translation[i, 0]
        assert np.abs(joints[i].numpy() - expected).max() < 1e-5
    same = (mode.numpy() == theirs.mode[:, 0]) & np.isclose(
        np.cos(reference.angles[turn.numpy()] - theirs.heading[:, 0]), 1)
    assert same.mean() >= 0.9      # the rest: ties that the second distance decides
    assert (variance > 0).all()


def test_float32_and_batch_of_one(prior, people):
    prior, _ = prior
    rays, confidence, _ = people
    double, single = _lift(prior), _lift(prior).float()
    r, w = torch.from_numpy(rays), torch.from_numpy(confidence)
    a, *_ = double.solve(r, w, SIGMA)
    b, *_ = single.solve(r.float(), w.float(), SIGMA)
    close = (a.float() - b).abs().amax((1, 2)) < 1e-2
    assert close.float().mean() > 0.95
    one, *_ = double.solve(r[7:8], w[7:8], SIGMA)
    torch.testing.assert_close(one[0], a[7])


def test_elimination_and_inverse_against_lapack():
    rng = torch.Generator().manual_seed(0)
    a = torch.randn(5, 9, 9, generator=rng, dtype=torch.float64)
    a = a @ a.transpose(1, 2) + 0.1 * torch.eye(9, dtype=torch.float64)
    torch.testing.assert_close(inverse(a), torch.linalg.inv(a))
    rest, rows, pivots = eliminate(a.permute(1, 2, 0), 6)
    p, q, r = a[:, :6, :6], a[:, :6, 6:], a[:, 6:, 6:]
    torch.testing.assert_close(rest.permute(2, 0, 1),
                               r - q.transpose(1, 2) @ torch.linalg.solve(p, q))
    torch.testing.assert_close(pivots.log().sum(0), torch.logdet(p))
    assert [row.shape for row in rows] == [(1, 8 - i, 5) for i in range(6)]


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_rotation_against_scipy(axis):
    angle = torch.tensor(0.7).double()
    frame = rotation(torch.stack((angle.cos(), angle.sin())), axis).numpy()
    assert np.allclose(frame, Rotation.from_euler('xyz'[axis], -0.7).as_matrix())


@pytest.mark.parametrize('camera', [None, torch.tensor([[200.0, 90.0, 140.0]]).double()])
def test_cells_are_found_again_from_their_rays(camera):
    rng = torch.Generator().manual_seed(0)
    cells = 48 * torch.rand(3, 17, 2, generator=rng, dtype=torch.float64)
    rays, focal, middle = rays_of(cells, 192, camera)
    far = rays * (1 + torch.rand(3, 17, 1, generator=rng))
    torch.testing.assert_close(cells_of(far, far[..., :1], focal, middle, 4), cells)
    focal, centre = (192 / 2 / np.tan(0.48), [95.5] * 2) if camera is None else (200, [90, 140])
    px = 4 * cells + 1.5
    across = (torch.tensor(centre) - px) / focal       # y to the left, z up
    torch.testing.assert_close(rays[..., 1:] / rays[..., :1], across)


def test_frames_take_out_tilt_then_pitch_then_heading(prior):
    lift = _lift(prior[0])
    trunk = np.zeros((1, 17, 3))
    trunk[0, INDEX['neck'], 1:] = -np.sin(0.4), np.cos(0.4)
    upright = upright_turn(torch.from_numpy(trunk))
    frame = lift.frames(torch.tensor([[3 * HEADINGS + 5]]), upright)[0, 0].numpy()
    heading = 5 * 2 * np.pi / HEADINGS
    expected = (Rotation.from_euler('z', -heading) * Rotation.from_euler('y', 0.52)
                * Rotation.from_euler('x', -0.4)).as_matrix()
    assert np.allclose(frame, expected)


def test_a_camera_that_looks_down_is_allowed_for(prior, people):
    """Rays of people before a camera pitched by 30 degrees lift as well as before a level one."""
    prior, _ = prior
    rays, _, joints = people
    down = Rotation.from_euler('y', -np.radians(30)).as_matrix()     # world to such a camera
    seen = joints @ down.T + np.array([0.5, 0, 0])
    r = torch.from_numpy(seen / np.linalg.norm(seen, axis=2, keepdims=True))
    lift, w = _lift(prior), torch.ones(len(seen), 17).double()
    error = {}
    for name in ('both', 'level only'):
        with torch.no_grad():
            found = lift.solve(r, w, SIGMA)[0].numpy()
        error[name] = np.linalg.norm((found - found[:, :1]) - (seen - seen[:, :1]), axis=2).mean()
        lift.pitches = torch.tensor([[1.0, 0.0]] * 2).double()
    assert error['both'] < 0.8 * error['level only']


@pytest.fixture
def ready(prior, people):
    """A lift, and rays and confidences (tensors) of people for it."""
    return _lift(prior[0]), *(torch.from_numpy(x) for x in people[:2])


def test_near_search_keeps_and_finds_the_best(ready):
    lift, r, w = ready
    with torch.no_grad():
        noise = lift.variance + SIGMA ** 2
        turn, mode, frame = lift.find(r, w, noise)
        for near in (turn, turn // HEADINGS * HEADINGS + (turn + HEADINGS // 2) % HEADINGS):
            same, its_mode, its_frame = lift.find(r, w, noise, near)     # from back to front too
            assert torch.equal(same, turn) and torch.equal(its_mode, mode)
            torch.testing.assert_close(its_frame, frame)


def test_a_lift_that_goes_on_from_the_last(ready, people):
    (lift, r, w), joints = ready, people[2]
    with torch.no_grad():
        whole, _, found = lift.solve(r, w, SIGMA)
        again, _, same = lift.solve(r, w, SIGMA, found, search=False)
        near, _, other = lift.solve(r, w, SIGMA, found)
        wrong = r.clone()
        wrong[:, 13] = wrong[:, 16]          # a wrist on the other: the last pose says otherwise
        doubted, *_ = lift.solve(wrong, w, SIGMA, found, search=False)
        believed, *_ = lift.solve(wrong, w, SIGMA, found._replace(joints=lift.solve_one(
            wrong, w, lift.variance + SIGMA ** 2, found.mode, found.frame)[0]), search=False)
    assert torch.equal(same.turn, found.turn) and torch.equal(other.turn, found.turn)
    torch.testing.assert_close(again, near)
    size = (whole - whole[:, :1]).norm(dim=2).mean()
    assert (again - whole).norm(dim=2).mean() < 0.05 * size
    off = [(x - torch.from_numpy(joints))[w[:, 13] > 0, 13].norm(dim=1).mean()
           for x in (doubted, believed)]
    assert off[0] < off[1]


def _beliefs(rays, size=64, focal=123.0):
    cell = torch.from_numpy(np.stack((-rays[..., 1] / rays[..., 0], -rays[..., 2] / rays[..., 0]),
                                     -1)) * focal / 4 * 4 / 2 + size / 2
    x = torch.arange(size, dtype=torch.float64)
    gx = torch.exp(-(x - cell[..., 0, None]) ** 2 / 2)
    gy = torch.exp(-(x - cell[..., 1, None]) ** 2 / 2)
    return (gy[..., None] * gx[:, :, None]).float()


def test_gradient_flows_through_the_lift(prior, people):
    prior, _ = prior
    belief = _beliefs(people[0][:4]).requires_grad_(True)
    joints, drawn, _ = _lift(prior).float()(belief)
    assert torch.isfinite(joints).all() and torch.isfinite(drawn).all()
    # a wrist's place in the re-projection depends on what is believed of the elbow
    drawn[:, 13].flatten(1).logsumexp(1).sum().backward()
    assert torch.isfinite(belief.grad).all()
    assert (belief.grad[:, 12].abs().sum((1, 2)) > 0).all()


def test_a_picture_turned_on_its_side_is_lifted_alike(prior, people):
    prior, _ = prior
    lift = _lift(prior).float()
    with torch.no_grad():
        belief = _beliefs(people[0][:8])
        # trunk upright by itself: then both tilts are one and the same pose wins in both
        _, drawn, _ = lift(belief)
        _, turned, _ = lift(belief.rot90(1, (2, 3)))
        peaks, _ = soft_peaks(turned.rot90(-1, (2, 3)))
        straight, _ = soft_peaks(drawn)
    assert torch.linalg.vector_norm(peaks - straight, dim=2).median() < 2.0


def test_nothing_seen_gives_a_finite_pose(prior):
    prior, _ = prior
    joints, drawn, _ = _lift(prior).float()(torch.zeros(2, 17, 48, 48))
    assert torch.isfinite(joints).all() and torch.isfinite(drawn).all()


def test_cavity_is_the_lift_without_that_joint(ready):
    lift, r, w = ready
    with torch.no_grad():
        noise = lift.variance + SIGMA ** 2
        _, mode, frame = lift.find(r, w, noise)
        joints, whole = lift.solve_one(r, w, noise, mode, frame, True)
        q, spread, axes = cavity(joints, whole, r, w / noise[mode][:, None])
        for j in (0, 4, 13):
            left = w.clone()
            left[:, j] = 0
            other, its = lift.solve_one(r, left, noise, mode, frame, True)
            expected = (axes[:, j] @ other[:, j, :, None])[..., 0]
            torch.testing.assert_close(q[:, j], expected, atol=1e-6, rtol=1e-4)
            torch.testing.assert_close(spread[:, j], axes[:, j] @ its[:, j]
                                       @ axes[:, j].transpose(1, 2), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(axes @ axes.transpose(2, 3), torch.eye(2).double().expand(
        *axes.shape[:2], 2, 2))
    assert (axes @ r[..., None]).abs().max() < 1e-12


def test_prediction_lies_where_the_others_say(prior, people):
    """Of a joint whose map is moved the prediction stays; that of others follows it."""
    prior, rng = prior
    rays = people[0][:12]
    belief, joint = _beliefs(rays), INDEX['left_wrist']
    lift = _lift(prior).float()
    with torch.no_grad():
        _, place, spread, found = predict(lift, belief)
        moved = belief.clone()
        moved[:, joint] = belief[:, joint].roll((4, 3), (1, 2))
        _, after, _, _ = predict(lift, moved, None, found, False)
    off = (after - place).norm(dim=2).median(0).values
    assert off[joint] < 1.0 and off[INDEX['left_elbow']] > 0.02
    assert (torch.linalg.eigvalsh(spread) > 0).all()


def test_bowl_against_the_inverse():
    rng = torch.Generator().manual_seed(1)
    place = torch.tensor([[[5.3, 2.1]]])
    root = torch.randn(2, 2, generator=rng)
    covariance = (root @ root.T)[None, None]
    got = bowl(place, covariance, 8, 12)
    inverse_ = torch.linalg.inv(covariance[0, 0] + torch.eye(2))
    for y, x in ((0, 0), (2, 5), (7, 11), (3, 8)):
        off = torch.tensor([x, y]) - place[0, 0]
        assert got[0, 0, y, x].item() == pytest.approx(min(20, (off @ inverse_ @ off).item() / 2),
                                                       rel=1e-4)
