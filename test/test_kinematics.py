"""The human model of REP-155: angles from joints, joints from angles, and the URDF's text."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from conftest import ROOT
from scipy.spatial.transform import Rotation

from lifting_ros import human_model, kinematics
from lifting_ros.body_frame import quaternion
from lifting_ros.human_model import ANGLES, DIMENSIONS, LINK_OF_JOINT, LINKS
from lifting_ros.skeleton import HEAD_TOP, INDEX, JOINTS, MIRROR, NECK, PELVIS, SPINE

#: The names of REP-155, written out.
REP_LINKS = {'body', 'waist', 'torso', 'r_head', 'y_head', 'p_head', 'head'} | {
    s + n for s in ('l_', 'r_') for n in ('y_shoulder', 'p_shoulder', 'shoulder', 'elbow',
                                          'wrist', 'y_hip', 'p_hip', 'hip', 'knee', 'ankle')}
REP_MOVING = {'waist', 'r_head', 'y_head', 'p_head'} | {
    s + n for s in ('l_', 'r_') for n in ('y_shoulder', 'p_shoulder', 'r_shoulder', 'elbow',
                                          'y_hip', 'p_hip', 'r_hip', 'knee')}
AVERAGE = np.array([0.51, 0.07, 0.12, 0.1, 0.01, 0.18, -0.05, 0.28, 0.25, 0.0, 0.11, 0.0, 0.43,
                    0.42])


def read_urdf(text):
    """Joints of a URDF: name -> (kind, parent, child, xyz, axis or None, limits or None)."""
    out = {}
    for j in ET.fromstring(text).iter('joint'):
        axis, limit = j.find('axis'), j.find('limit')
        assert [float(v) for v in j.find('origin').get('rpy').split()] == [0, 0, 0]
        out[j.get('name')] = (
            j.get('type'), j.find('parent').get('link'), j.find('child').get('link'),
            np.array([float(v) for v in j.find('origin').get('xyz').split()]),
            None if axis is None else np.array([float(v) for v in axis.get('xyz').split()]),
            None if limit is None else (float(limit.get('lower')), float(limit.get('upper'))))
    return out


def follow(text, root, angles, rotation=None, position=(0, 0, 0)):
    """Forward kinematics over a URDF by itself: link -> position (3,), rotation (3, 3)."""
    joints = read_urdf(text)
    there = {root: (np.array(position, float), np.eye(3) if rotation is None else rotation)}
    while len(there) < len(joints) + 1:
        before = len(there)
        for name, (_, parent, child, xyz, axis, _) in joints.items():
            if parent in there and child not in there:
                p, r = there[parent]
                turn = np.eye(3) if axis is None else Rotation.from_rotvec(
                    axis * angles[name]).as_matrix()
                there[child] = (p + r @ xyz, r @ turn)
        assert len(there) > before, 'links that hang nowhere'
    return there


def people(rng, n=50, bent=0.4):
    """Postures of people as the model can take them: joints (n, 17, 3), angles, dimensions."""
    dims = AVERAGE * rng.uniform(0.85, 1.15, (n, len(DIMENSIONS)))
    low = {'elbow': bent, 'knee': -2.2, 'p_shoulder': 0.5, 'head': -0.6}
    high = {'elbow': 2.4, 'knee': -bent, 'p_shoulder': 2.6, 'head': 0.6}

    def bounds(table, default):
        return np.array([next((v for k, v in table.items() if a.endswith(k)), default)
                         for a in ANGLES])
    angles = rng.uniform(bounds(low, -1.0), bounds(high, 1.0), (n, len(ANGLES)))
    angles[:, ANGLES.index('waist')] = 0
    rotation, position = Rotation.random(n, rng).as_matrix(), rng.normal(size=(n, 3)) + [0, 0, 4]
    joints = np.full((n, 17, 3), np.nan)
    for i in range(n):
        named = {f'{a}_x': v for a, v in zip(ANGLES, angles[i])}
        there = follow(human_model.urdf('x', dims[i]), 'body_x', named, rotation[i], position[i])
        for j, link in LINK_OF_JOINT.items():
            joints[i, j] = there[f'{link}_x'][0]
        p, r = there['p_head_x']
        joints[i, HEAD_TOP] = p + r @ [0, 0, 3 * dims[i, 1]]
        joints[i, SPINE] = (joints[i, PELVIS] + joints[i, NECK]) / 2
    return joints, angles, dims


@pytest.fixture(scope='module')
def clip():
    """True joints (315, 17, 3) of the demo clip."""
    with np.load(ROOT / 'resource' / 'demo' / 'truth.npz', allow_pickle=False) as data:
        return data['joints'].astype(float)


def test_names_are_those_of_the_rep():
    assert {'body', *(link.name for link in LINKS)} == REP_LINKS
    assert set(ANGLES) == REP_MOVING and len(ANGLES) == 20
    fixed = {link.joint for link in LINKS if link.axis is None}
    assert fixed == {'torso', 'head', 'l_wrist', 'r_wrist', 'l_ankle', 'r_ankle'}


def test_urdf_is_one_tree_and_says_the_dimensions():
    text = human_model.urdf('ab12c', AVERAGE)
    joints = read_urdf(text)
    links = [e.get('name') for e in ET.fromstring(text).findall('link')]
    assert sorted(links) == sorted(f'{n}_ab12c' for n in REP_LINKS)
    children = [j[2] for j in joints.values()]
    assert len(set(children)) == len(children) == len(links) - 1
    assert set(links) - set(children) == {'body_ab12c'}
    assert {n for n, j in joints.items() if j[0] == 'revolute'} == {f'{n}_ab12c'
                                                                   for n in REP_MOVING}
    assert joints['l_elbow_ab12c'][3].tolist() == [0, 0, -0.28]
    assert joints['r_y_shoulder_ab12c'][3].tolist() == [0.01, -0.18, -0.05]
    # what is drawn of a limb ends where the next begins
    thigh = next(e for e in ET.fromstring(text).findall('link')
                 if e.get('name') == 'l_hip_ab12c').find('visual')
    rpy = [float(v) for v in thigh.find('origin').get('rpy').split()]
    middle = np.array([float(v) for v in thigh.find('origin').get('xyz').split()])
    half = float(thigh.find('geometry/cylinder').get('length')) / 2
    axis = Rotation.from_euler('xyz', rpy).as_matrix()[:, 2]
    assert np.allclose(middle + half * axis, [0, 0, -0.43], atol=1e-5)


def test_angles_are_found_again(rng):
    joints, angles, dims = people(rng)
    posture = kinematics.inverse(joints, dims)
    off = np.abs((posture.angles - angles + np.pi) % (2 * np.pi) - np.pi)
    # the assumed hinge of a straight limb pulls a little at a bent one
    assert np.median(off) < 0.02 and off.max() < 0.2
    modelled = list(kinematics.MODELLED)
    assert np.nanmax(posture.residual[:, modelled]) < 0.015
    assert np.nanmean(posture.residual[:, modelled]) < 0.002
    assert np.isnan(posture.residual[:, [HEAD_TOP, SPINE]]).all()


def test_dimensions_are_measured(rng):
    joints, _, dims = people(rng)
    got = kinematics.measure(joints)
    head = [DIMENSIONS.index(n) for n in ('neck', 'nose_x', 'nose_z')]
    rest = [i for i in range(len(DIMENSIONS)) if i not in head]
    assert np.allclose(got[:, rest], dims[:, rest], atol=1e-5)
    # a head that is bent says a little less of its neck
    assert np.abs(got[:, head] - dims[:, head]).max() < 0.03


def test_forward_and_residual_agree_with_the_urdf_by_itself(clip):
    joints = clip[::40]
    dims = np.round(kinematics.measure(clip).mean(0), 6)
    posture = kinematics.inverse(joints, np.tile(dims, (len(joints), 1)))
    ours, _ = kinematics.forward(posture)
    named = {i: {f'{a}_q': v for a, v in zip(ANGLES, posture.angles[i])}
             for i in range(len(joints))}
    text = human_model.urdf('q', dims)
    frames = kinematics.transforms(posture)
    origins, quaternions = frames[..., :3], frames[..., 3:]
    for i in range(len(joints)):
        there = follow(text, 'body_q', named[i], posture.rotation[i], posture.position[i])
        for k, link in enumerate(LINKS):
            assert np.allclose(there[f'{link.name}_q'][0], ours[i, k], atol=1e-6)
            parent = there[f'{link.parent}_q']
            assert np.allclose(parent[0] + parent[1] @ origins[i, k], ours[i, k], atol=1e-6)
            turned = parent[1].T @ there[f'{link.name}_q'][1]
            assert abs(abs(quaternion(turned) @ quaternions[i, k]) - 1) < 1e-9
        for j, link in LINK_OF_JOINT.items():
            away = np.linalg.norm(there[f'{link}_q'][0] - joints[i, j])
            assert away == pytest.approx(posture.residual[i, j], abs=1e-6), JOINTS[j]


def test_the_clip_s_person_fits_the_model(clip):
    dims = np.tile(kinematics.measure(clip).mean(0), (len(clip), 1))
    posture = kinematics.inverse(clip, dims)
    assert np.nanmean(posture.residual) < 0.010 and np.nanmax(posture.residual) < 0.045
    joints = read_urdf(human_model.urdf('q', dims[0]))
    for a, name in enumerate(ANGLES):
        low, high = joints[f'{name}_q'][5]
        assert low <= posture.angles[:, a].min() and posture.angles[:, a].max() <= high, name
    for knee in ('l_knee', 'r_knee'):
        assert posture.angles[:, ANGLES.index(knee)].max() < 0.05  # bent backwards, as knees are


def test_turned_moved_and_exchanged_people_have_the_same_angles(rng, clip):
    joints = clip[::60]
    dims = kinematics.measure(joints)
    want = kinematics.inverse(joints, dims)
    turn, shift = Rotation.random(rng=rng).as_matrix(), rng.normal(size=3)
    order = rng.permutation(len(joints))
    got = kinematics.inverse(joints[order] @ turn.T + shift, dims[order])
    assert np.allclose(got.angles, want.angles[order], atol=1e-6)
    assert np.allclose(got.residual, want.residual[order], atol=1e-9, equal_nan=True)
    assert np.allclose(got.rotation, turn @ want.rotation[order], atol=1e-9)
    alone = kinematics.inverse(joints[2:3], dims[2:3])
    assert np.allclose(alone.angles[0], want.angles[2], atol=1e-12)


def test_mirrored_people_exchange_left_and_right(clip):
    joints = clip[::60]
    mirrored = (joints * [-1, 1, 1])[:, list(MIRROR)]
    want, got = kinematics.inverse(joints), kinematics.inverse(mirrored)
    assert np.allclose(got.dimensions, want.dimensions, atol=1e-9)
    for a, name in enumerate(ANGLES):
        other = ANGLES.index({'l': 'r', 'r': 'l'}[name[0]] + name[1:]
                             if name[:2] in ('l_', 'r_') and not name.endswith('head') else name)
        # axes of yaw of the hips and of the head's roll and yaw are not mirrored by the REP
        sign = -1 if name.endswith('y_hip') or name in ('r_head', 'y_head') else 1
        assert np.allclose(sign * got.angles[:, other], want.angles[:, a], atol=1e-6), name


def test_straight_limbs_do_not_spin(rng):
    """Noise on straight arms and legs turns no hinge round, and over-stretches by little."""
    p = np.zeros((17, 3))
    for side, s in (('left', 1), ('right', -1)):
        p[INDEX[f'{side}_hip']] = [0, s * 0.11, 0]
        p[INDEX[f'{side}_knee']] = [0.005, s * 0.11, -0.43]
        p[INDEX[f'{side}_ankle']] = [0, s * 0.11, -0.85]
        p[INDEX[f'{side}_shoulder']] = [0, s * 0.18, 0.46]
        p[INDEX[f'{side}_elbow']] = [-0.005, s * 0.3, 0.2]
        p[INDEX[f'{side}_wrist']] = [0, s * 0.4, -0.02]
    p[NECK], p[INDEX['nose']], p[HEAD_TOP] = [0, 0, 0.51], [0.12, 0, 0.68], [0.02, 0, 0.79]
    p[SPINE] = [0, 0, 0.255]
    noisy = p + 0.006 * rng.normal(size=(300, 17, 3))
    angles = kinematics.inverse(noisy, np.tile(AVERAGE, (300, 1))).angles
    for name in ('l_knee', 'r_knee', 'l_elbow', 'r_elbow'):
        assert np.abs(angles[:, ANGLES.index(name)]).max() < 0.35
    for name in ('l_y_hip', 'r_y_hip'):
        assert np.abs(angles[:, ANGLES.index(name)]).max() < np.pi / 2
        assert angles[:, ANGLES.index(name)].std() < 0.6
    steps = np.abs(angles[:, ANGLES.index('l_r_shoulder')] -
                   np.median(angles[:, ANGLES.index('l_r_shoulder')]))
    assert steps.max() < 2.0


def test_unknown_people_are_nan_and_touch_nobody(clip):
    joints = clip[:3].copy()
    joints[1, INDEX['left_wrist']] = np.nan
    dims = np.tile(kinematics.measure(clip[:1]), (3, 1))
    posture = kinematics.inverse(joints, dims)
    assert np.isnan(posture.angles[1]).all()
    assert np.allclose(posture.angles[[0, 2]], kinematics.inverse(clip[[0, 2]], dims[:2]).angles)
    assert kinematics.inverse(np.zeros((0, 17, 3)), np.zeros((0, 14))).angles.shape == (0, 20)


def test_axes_that_are_there_already_are_taken(clip):
    joints = clip[::50]
    mine = kinematics.inverse(joints)
    given = kinematics.inverse(joints, mine.dimensions, mine.rotation)
    assert np.array_equal(given.angles, mine.angles)
    assert np.array_equal(given.residual, mine.residual, equal_nan=True)
    turned = mine.rotation @ Rotation.from_rotvec([0, 0, 0.1]).as_matrix()
    other = kinematics.inverse(joints, mine.dimensions, turned)
    assert np.abs(other.angles - mine.angles).max() > 0.05


@pytest.mark.parametrize('lift', [0.0, np.pi, 1e-10, np.pi - 1e-10])
@pytest.mark.parametrize('roll', [0.0, 0.7, -1.2])
def test_an_arm_right_up_or_down_has_one_angle_about_it(lift, roll):
    """Where y and r of a shoulder turn about the same axis, they add up to what is seen."""
    named = dict.fromkeys([f'{a}_x' for a in ANGLES], 0.0)
    for side in 'lr':
        named.update({f'{side}_elbow_x': 0.9, f'{side}_r_shoulder_x': roll,
                      f'{side}_p_shoulder_x': lift, f'{side}_knee_x': -0.5})
    there = follow(human_model.urdf('x', AVERAGE), 'body_x', named)
    joints = np.zeros((1, 17, 3))
    for j, link in LINK_OF_JOINT.items():
        joints[0, j] = there[f'{link}_x'][0]
    joints[0, HEAD_TOP] = there['p_head_x'][0] + [0, 0, 0.21]
    # exactly along the trunk, rounding of the forward way apart
    for long in ('left_', 'right_'):
        shoulder, elbow = INDEX[long + 'shoulder'], INDEX[long + 'elbow']
        if lift in (0.0, np.pi):
            joints[0, elbow, :2] = joints[0, shoulder, :2]
    posture = kinematics.inverse(joints, AVERAGE[None], np.eye(3)[None])
    assert np.isfinite(posture.angles).all()
    back = kinematics.forward_joints(posture)[0]
    away = np.linalg.norm(back - joints[0, list(kinematics.MODELLED)], axis=-1)
    assert away.max() < 0.012
