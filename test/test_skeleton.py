"""The joints: tree, mirror, and the way from other orders."""

import numpy as np
import pytest

from lifting_ros import skeleton as sk


def test_tree_starts_at_the_pelvis_and_reaches_every_joint():
    for joint in range(sk.NUM_JOINTS):
        steps = 0
        while sk.PARENTS[joint] >= 0:
            joint, steps = sk.PARENTS[joint], steps + 1
            assert steps < sk.NUM_JOINTS
        assert joint == sk.PELVIS
    assert len(sk.BONES) == sk.NUM_JOINTS - 1


def test_mirror_is_its_own_inverse_and_maps_the_tree_to_itself():
    assert [sk.MIRROR[sk.MIRROR[j]] for j in range(17)] == list(range(17))
    for child, parent in sk.BONES:
        assert sk.PARENTS[sk.MIRROR[child]] == sk.MIRROR[parent]
    assert sk.JOINTS[sk.MIRROR[sk.INDEX['left_wrist']]] == 'right_wrist'


def test_groups_hold_every_joint_once():
    assert sorted(j for g in sk.GROUPS.values() for j in g) == list(range(17))


@pytest.mark.parametrize('order', [o for o in sk.ORDERS if o != 'lifting_ros'])
def test_convert_puts_every_joint_where_its_name_says(order, rng):
    names = sk.ORDERS[order]
    points, seen = rng.normal(size=(3, len(names), 2)), np.full((3, len(names)), 0.5)
    out, conf = sk.convert(points, seen, order)
    for j, name in enumerate(sk.JOINTS):
        if name in names and not (order == 'mpii' and name == 'neck'):
            np.testing.assert_array_equal(out[:, j], points[:, names.index(name)])
            assert (conf[:, j] == 0.5).all()
    if order == 'mpii':  # its neck is the upper neck, its thorax is our neck
        np.testing.assert_array_equal(out[:, sk.NECK], points[:, names.index('thorax')])


@pytest.mark.parametrize('order, lacking', [('coco', ['head_top']), ('lsp', ['nose']),
                                            ('mpii', ['nose']), ('body_25', ['head_top']),
                                            ('halpe_26', []), ('blazepose_33', ['head_top'])])
def test_joints_that_an_order_lacks_are_unknown(order, lacking, rng):
    n = len(sk.ORDERS[order])
    out, conf = sk.convert(rng.normal(size=(n, 2)), np.ones(n), order)
    unknown = [sk.JOINTS[j] for j in range(17) if conf[j] == 0]
    assert unknown == lacking
    assert np.isnan(out[conf == 0]).all() and np.isfinite(out[conf > 0]).all()


def test_middles_are_made_only_of_known_parts():
    points, seen = np.arange(34.0).reshape(17, 2), np.ones(17)
    names = sk.ORDERS['coco']
    out, conf = sk.convert(points, seen, 'coco')
    hips = points[[names.index('left_hip'), names.index('right_hip')]].mean(axis=0)
    np.testing.assert_allclose(out[sk.PELVIS], hips)
    np.testing.assert_allclose(out[sk.SPINE], (out[sk.PELVIS] + out[sk.NECK]) / 2)
    seen[names.index('left_hip')] = 0
    out, conf = sk.convert(points, seen, 'coco')
    assert np.isnan(out[[sk.PELVIS, sk.SPINE]]).all() and conf[sk.PELVIS] == 0
    assert np.isfinite(out[sk.NECK]).all()


@pytest.mark.parametrize('points, seen, order', [
    (np.zeros((17, 2)), np.ones(17), 'kinect'),
    (np.zeros((16, 2)), np.ones(16), 'coco'),
    (np.zeros((17, 2)), np.ones(16), 'coco'),
])
def test_convert_refuses_what_does_not_fit(points, seen, order):
    with pytest.raises(ValueError):
        sk.convert(points, seen, order)
