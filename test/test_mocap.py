"""Motion capture: readers against the converted arrays, and what fits are made of."""

from pathlib import Path

import numpy as np
import pytest

from lifting_ros.prior.fit import facing
from lifting_ros.prior.model import LENGTHS
from lifting_ros.skeleton import BONES, INDEX

DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'mocap'
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f'no motion capture at {DATA}')


@pytest.fixture(scope='module')
def poses():
    from lifting_ros.training.mocap import read
    return read(DATA)


@needs_data
@pytest.mark.parametrize('skeleton, motion, clip', [
    ('cmu_01.asf', 'cmu_01_08_climb.amc.gz', '01_08'),
    ('cmu_02.asf', 'cmu_02_01_walk.amc', '02_01'),
    ('hdm05_bk.asf', 'hdm05_bk_lieDownFloor_005_120.amc', 'HDM_bk_lieDownFloor_005_120')])
def test_asf_gives_the_converted_positions(skeleton, motion, clip):
    from lifting_ros.training.asf import read_amc, read_asf
    bones = read_asf(DATA / 'originals' / skeleton)
    got = read_amc(DATA / 'originals' / motion, bones, every=10)
    with np.load(DATA / 'asf_clips.npz', allow_pickle=False) as data:
        c = list(data['clip_name']).index(clip)
        want = data['positions'][data['clip_start'][c]:data['clip_start'][c + 1]]
        names = [str(n) for n in data['joint_names']]
    order = [[b.name for b in bones].index(n) for n in names]
    n = min(len(got), len(want))
    assert abs(len(got) - len(want)) <= 1
    np.testing.assert_allclose(got[:n, order], want[:n], atol=2e-4)


@needs_data
def test_bvh_bones_keep_their_length_and_units_agree():
    from lifting_ros.training.asf import UNIT
    from lifting_ros.training.bvh import read_bvh
    metres = read_bvh(DATA / 'originals' / 'cmu_131_01_metres.bvh', every=20)
    units = read_bvh(DATA / 'originals' / 'cmu_131_01.bvh', every=20)
    child = np.arange(1, len(metres.names))
    parent = np.array(metres.parents)[1:]
    length = np.linalg.norm(metres.positions[:, child] - metres.positions[:, parent], axis=-1)
    assert np.ptp(length, axis=0).max() < 1e-6
    assert metres.rate == pytest.approx(120, abs=0.1)
    # who dances is upright: the head is over the hips, the feet under them
    at = {n: metres.positions[:, i] for i, n in enumerate(metres.names)}
    assert (at['Head'][:, 1] > at['LeftHip'][:, 1] + 0.3).mean() > 0.95
    assert (at['LeftAnkle'][:, 1] < at['LeftHip'][:, 1]).mean() > 0.95
    n = min(len(metres.positions), len(units.positions))
    a = metres.positions[:n] - metres.positions[:n, :1]
    b = (units.positions[:n] - units.positions[:n, :1]) * UNIT
    order = [units.names.index(x) for x in metres.names if x in units.names]
    same = [i for i, x in enumerate(metres.names) if x in units.names]
    assert np.median(np.abs(a[:, same] - b[:, order])) < 0.01


@needs_data
def test_glb_rig_stands_and_dances():
    from lifting_ros.training.glb import read_glb
    motion = read_glb(DATA / 'originals' / 'mesh2motion_human_ymca.glb', rate=15)
    at = {n: motion.positions[:, i] for i, n in enumerate(motion.names)}
    thigh = np.linalg.norm(at['DEF-thigh.L'] - at['DEF-shin.L'], axis=1)
    assert np.ptp(thigh) < 1e-3 and 0.3 < thigh.mean() < 0.6
    assert (at['DEF-head'][:, 1] > at['DEF-hips'][:, 1]).all()
    assert np.ptp(at['DEF-hand.L'][:, 1]) > 0.3     # the arms of a Y, an M, a C and an A
    assert all(p < i for i, p in enumerate(motion.parents))


@needs_data
def test_readers_refuse_what_is_not_theirs(tmp_path):
    from lifting_ros.training.asf import read_amc, read_asf
    from lifting_ros.training.bvh import read_bvh
    from lifting_ros.training.glb import read_glb
    other = tmp_path / 'x'
    other.write_text('nothing of the kind, in a file\n' * 3)
    for reader in (read_asf, read_bvh, read_glb):
        with pytest.raises(ValueError, match='no '):
            reader(other)
    amc = tmp_path / 'x.amc'
    amc.write_text(':DEGREES\n1\nroot 0 0 0 0 0 0\ntail 3\n')
    with pytest.raises(ValueError, match='tail'):
        read_amc(amc, read_asf(DATA / 'originals' / 'cmu_01.asf'))


@needs_data
def test_poses_are_people(poses):
    from lifting_ros.training.mocap import HELD_OUT_SUBJECTS, stature
    assert len(poses) == 29132 and set(HELD_OUT_SUBJECTS) < set(poses.subject)
    size = stature(poses.joints)
    assert 1.4 < size.min() and size.max() < 1.95
    walk = poses.kind == 'walk'
    up = poses.joints[walk, INDEX['neck'], 2] - poses.joints[walk, 0, 2]
    assert (up > 0.3).mean() > 0.99
    # who walks goes where he faces, whatever the source's axes are
    nose = poses.joints[walk, INDEX['nose']] - poses.joints[walk, INDEX['neck']]
    heading = facing(poses.joints[walk])
    assert (nose[:, 0] * np.cos(heading) + nose[:, 1] * np.sin(heading) > 0).mean() > 0.97


@needs_data
def test_sitting_keeps_bones_and_sits(poses):
    from lifting_ros.training.sitting import seat, upright
    rng = np.random.default_rng(0)
    standing = poses[rng.choice(np.flatnonzero(upright(poses)), 300)].joints
    sat = seat(standing, rng, squats=0)
    for a, b in (('left_hip', 'left_knee'), ('right_knee', 'right_ankle'),
                 ('neck', 'head_top'), ('left_elbow', 'left_wrist')):
        was, now = (np.linalg.norm(x[:, INDEX[a]] - x[:, INDEX[b]], axis=1)
                    for x in (standing, sat))
        np.testing.assert_allclose(now, was, atol=1e-9)
    pelvis = sat[:, 0, 2]
    assert pelvis.min() > 0.48 and pelvis.max() < 0.69
    heading = facing(standing)
    ahead = np.stack((np.cos(heading), np.sin(heading)), -1)
    knee = (sat[:, INDEX['left_knee'], :2] - sat[:, 0, :2])
    assert ((knee * ahead).sum(1) > 0.15).mean() > 0.97     # thighs point ahead
    ankle = sat[:, INDEX['left_ankle'], 2]
    assert np.median(np.abs(ankle - 0.08)) < 0.02           # feet on the floor, mostly
    assert (ankle > -0.35).all()


@needs_data
def test_reproportion_widens_hips_and_keeps_directions(poses):
    from lifting_ros.training.mocap import draw_balanced, reproportion, stature
    rng = np.random.default_rng(0)
    x = poses.joints[draw_balanced(poses, 400, rng)]
    y = reproportion(x, rng)
    hip = np.linalg.norm(y[:, 1] - y[:, 4], axis=1)
    assert 0.19 < np.median(hip) < 0.25 and hip.std() > 0.02
    for a, b in LENGTHS[:8]:
        u, v = (z[:, a] - z[:, b] for z in (x, y))
        cos = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        assert cos.min() > 0.99   # hips lie a little higher or lower by definition
    np.testing.assert_allclose(y[:, 0], (y[:, 1] + y[:, 4]) / 2, atol=1e-9)
    assert abs(np.median(stature(y) / stature(x)) - 1) < 0.03


@needs_data
def test_variety_keeps_bones(poses):
    from lifting_ros.training.mocap import draw_balanced
    from lifting_ros.training.variety import vary
    rng = np.random.default_rng(0)
    x = poses.joints[draw_balanced(poses, 300, rng)]
    y = vary(x, x[::-1], rng, share=1.0, lying=0.1)
    for a, b in BONES:
        if {a, b} & {INDEX['spine'], 0}:
            continue
        was, now = (np.linalg.norm(z[:, a] - z[:, b], axis=1) for z in (x, y))
        np.testing.assert_allclose(now, was, atol=1e-6)
    assert np.linalg.norm(y - (x - x[:, :1]), axis=-1).mean() > 0.1


@needs_data
def test_balance_and_split(poses):
    from lifting_ros.training.mocap import HELD_OUT_SUBJECTS, draw_balanced
    from lifting_ros.training.prior import split
    keep, held = split(poses, exclude_source=['hdm05'])
    assert not set(keep.subject) & set(HELD_OUT_SUBJECTS) and 'hdm05' not in keep.source
    assert len(keep) + len(held) == len(poses)
    drawn = poses.kind[draw_balanced(poses, 20000, np.random.default_rng(0))]
    share = {k: (drawn == k).mean() for k in np.unique(poses.kind)}
    assert share['walk'] < 0.2 and min(share.values()) > 0.02
