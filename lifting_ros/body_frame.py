"""The person's own axes at the pelvis, and how sure they are.

x forward out of the body, y to its left, z from the pelvis to the neck (REP-155).
"""

import numpy as np

from .skeleton import HIPS, NECK, PELVIS, SHOULDERS

#: The joints that say where the body faces.
_USED = (PELVIS, NECK, *HIPS, *SHOULDERS)

_NEXT, _LAST = [1, 2, 0], [2, 0, 1]


def body_rotation(joints):
    """Axes of the body.

    z runs from the pelvis to the neck; y is the direction from right to left, of hips and
    shoulders together, at right angles to z.

    Args:
        joints: (..., 17, 3) m, any right-handed frame; NaN where unknown.

    Returns:
        (..., 3, 3): columns are the axes x, y, z in that frame; NaN where they are undefined.
    """
    joints = np.asarray(joints, dtype=np.float64)
    z = joints[..., NECK, :] - joints[..., PELVIS, :]
    left = (joints[..., HIPS[1], :] - joints[..., HIPS[0], :]
            + joints[..., SHOULDERS[1], :] - joints[..., SHOULDERS[0], :])
    with np.errstate(invalid='ignore', divide='ignore'):
        z = z / np.sqrt((z * z).sum(-1, keepdims=True))
        y = left - (left * z).sum(-1, keepdims=True) * z
        y = y / np.sqrt((y * y).sum(-1, keepdims=True))
    out = np.empty(y.shape + (3,))
    out[..., 1], out[..., 2] = y, z
    # y x z; numpy's own cross takes longer than all the rest
    out[..., 0] = y[..., _NEXT] * z[..., _LAST] - y[..., _LAST] * z[..., _NEXT]
    return out


def quaternion(rotation):
    """Unit quaternion x y z w (ROS's order) of a (3, 3) rotation; NaN for NaN."""
    r = np.asarray(rotation, dtype=np.float64)
    if not np.isfinite(r).all():
        return np.full(4, np.nan)
    # 4 q q^T, from which the row with the largest diagonal is the best conditioned
    xx, yy, zz = np.diag(r)
    q = np.array([
        [1 + xx - yy - zz, r[1, 0] + r[0, 1], r[2, 0] + r[0, 2], r[2, 1] - r[1, 2]],
        [r[1, 0] + r[0, 1], 1 - xx + yy - zz, r[2, 1] + r[1, 2], r[0, 2] - r[2, 0]],
        [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], 1 - xx - yy + zz, r[1, 0] - r[0, 1]],
        [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], 1 + xx + yy + zz]])
    row = q[np.argmax(np.diag(q))]
    return row / np.linalg.norm(row)


def body_state(joints, covariance, velocity, velocity_covariance):
    """Pose and twist of the body at the pelvis, to first order.

    The joints' errors are taken as independent of each other: what they share (distance, size)
    shifts the body and hardly turns it.

    Args:
        joints: (17, 3) m; velocity: (17, 3) m/s; covariances: (17, 3, 3). NaN where unknown.

    Returns:
        rotation (3, 3); pose covariance (6, 6): position m^2, then rotation about the fixed axes
        rad^2; twist (6,): m/s, rad/s along the fixed axes; its covariance (6, 6). NaN where
        unknown.
    """
    joints = np.asarray(joints, dtype=np.float64)
    rotation = body_rotation(joints)
    step, n = 1e-5, len(_USED)
    moved = np.broadcast_to(joints, (2, n, 3) + joints.shape).copy()
    for i, j in enumerate(_USED):
        for axis in range(3):
            moved[0, i, axis, j, axis] += step
            moved[1, i, axis, j, axis] -= step
    turned = body_rotation(moved)                                       # (2, n, 3, 3, 3)
    change = (turned[0] - turned[1]) / (2 * step)
    w = np.einsum('niab,cb->niac', change, rotation)                    # dR R^T, antisymmetric
    spin = np.stack((w[..., 2, 1], w[..., 0, 2], w[..., 1, 0]), axis=-1)  # (n, 3, 3): d/d joint
    jacobian = np.zeros((n, 6, 3))
    jacobian[:, 3:] = spin.swapaxes(-1, -2)
    jacobian[0, :3] = np.eye(3)                                         # _USED[0] is the pelvis

    def spread(cov):
        return np.einsum('nai,nij,nbj->ab', jacobian, np.asarray(cov)[list(_USED)], jacobian)

    twist = np.einsum('nai,ni->a', jacobian, np.asarray(velocity)[list(_USED)])
    return rotation, spread(covariance), twist, spread(velocity_covariance)
