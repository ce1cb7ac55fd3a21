"""The person's own axes at the pelvis, and how sure they are.

x forward out of the body, y to its left, z from the pelvis to the neck (REP-155).
"""

import numpy as np

from .matrices import dot
from .skeleton import HIPS, NECK, PELVIS, SHOULDERS

_NEXT, _LAST = np.array([1, 2, 0]), np.array([2, 0, 1])


def body_rotation(joints):
    """Axes of the body.

    z runs from the pelvis to the neck; y is the direction from right to left, of hips and
    shoulders together, at right angles to z.

    Args:
        joints: (..., 17, 3) m, any right-handed frame; NaN where unknown.

    Returns:
        (..., 3, 3): columns are the axes x, y, z in that frame; NaN where they are undefined.
    """
    return _axes(np.asarray(joints, dtype=np.float64))[0]


def _axes(joints):
    """Axes (..., 3, 3); lengths (...) m of the trunk and of what is across it; how far along the
    trunk (...) m the latter leans.
    """
    z = joints[..., NECK, :] - joints[..., PELVIS, :]
    left = (joints[..., HIPS[1], :] - joints[..., HIPS[0], :]
            + joints[..., SHOULDERS[1], :] - joints[..., SHOULDERS[0], :])
    with np.errstate(invalid='ignore', divide='ignore'):
        tall = np.sqrt(dot(z, z))[..., None]
        z /= tall
        lean = dot(left, z)[..., None]
        y = left - lean * z
        wide = np.sqrt(dot(y, y))[..., None]
        y /= wide
    out = np.empty(y.shape + (3,))
    out[..., 1], out[..., 2] = y, z
    # y x z; numpy's own cross takes longer than all the rest
    out[..., 0] = y[..., _NEXT] * z[..., _LAST] - y[..., _LAST] * z[..., _NEXT]
    return out, tall[..., 0], wide[..., 0], lean[..., 0]


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
        joints: (..., 17, 3) m; velocity: (..., 17, 3) m/s; covariances: (..., 17, 3, 3). NaN
            where unknown.

    Returns:
        rotation (..., 3, 3); pose covariance (..., 6, 6): position m^2, then rotation about the
        fixed axes rad^2; twist (..., 6): m/s, rad/s along the fixed axes; its covariance
        (..., 6, 6). NaN where unknown.
    """
    joints, velocity = (np.asarray(a, dtype=np.float64) for a in (joints, velocity))
    rotation, tall, wide, lean = _axes(joints)
    x, y, z = (rotation[..., i] for i in range(3))
    with np.errstate(invalid='ignore', divide='ignore'):
        about = x[..., None, :] / wide[..., None, None]
        # turn per metre by which the neck moves against the pelvis, and left against right
        swing = -z[..., :, None] * about
        sway = (y[..., :, None] * x[..., None, :] - x[..., :, None] * y[..., None, :]
                - lean[..., None, None] * swing) / tall[..., None, None]

    # of places and of velocities at once
    both = np.array((covariance, velocity_covariance), dtype=np.float64)
    root, neck = both[..., PELVIS, :, :], both[..., NECK, :, :]
    sides = (both[..., HIPS[0], :, :] + both[..., HIPS[1], :, :]
             + both[..., SHOULDERS[0], :, :] + both[..., SHOULDERS[1], :, :])
    spread = np.empty(root.shape[:-2] + (6, 6))
    spread[..., :3, :3] = root
    mixed = -(sway @ root)
    spread[..., 3:, :3], spread[..., :3, 3:] = mixed, np.swapaxes(mixed, -1, -2)
    spread[..., 3:, 3:] = (sway @ (root + neck) @ np.swapaxes(sway, -1, -2)
                           + swing @ sides @ np.swapaxes(swing, -1, -2))
    twist = np.empty(joints.shape[:-2] + (6,))
    twist[..., :3] = velocity[..., PELVIS, :]
    up = velocity[..., NECK, :] - velocity[..., PELVIS, :]
    left = (velocity[..., HIPS[1], :] - velocity[..., HIPS[0], :]
            + velocity[..., SHOULDERS[1], :] - velocity[..., SHOULDERS[0], :])
    twist[..., 3:] = (sway @ up[..., None] + swing @ left[..., None])[..., 0]
    return rotation, spread[0], twist, spread[1]
