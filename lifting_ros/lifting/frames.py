"""Frames with z up about a camera, and the directions across a viewing ray."""

import numpy as np

#: `up` of a level camera in its optical frame.
LEVEL = np.array([0.0, -1.0, 0.0])


def upright(up, forward):
    """Rotations from the optical frame to frames with z up and x along ``forward``'s level part.

    Args:
        up: (N, 3) unit vectors against gravity, optical frame.
        forward: (N, 3) directions in which the people are seen, optical frame.

    Returns:
        (N, 3, 3) R with v_up = R v_camera. Where somebody is looked at straight down or up, x
        is along the image's own up.
    """
    def level(v):
        return v - (v * up).sum(-1, keepdims=True) * up

    ahead = level(forward)
    length = np.sqrt((ahead ** 2).sum(-1, keepdims=True))
    steep = length < 1e-3
    if steep.any():
        # image up for somebody seen from above, or the camera's axis where that is vertical too
        other = level(np.broadcast_to(LEVEL, up.shape))
        none = np.linalg.norm(other, axis=-1, keepdims=True) < 1e-3
        other = np.where(none, level(np.broadcast_to([1.0, 0, 0], up.shape)), other)
        ahead = np.where(steep, other, ahead)
        length = np.linalg.norm(ahead, axis=-1, keepdims=True)
    ahead = ahead / length
    x, y, z = ahead.T
    u, v, w = up.T
    out = np.empty((len(ahead), 3, 3))
    out[:, 0], out[:, 2] = ahead, up
    # up x ahead
    out[:, 1, 0], out[:, 1, 1], out[:, 1, 2] = v * z - w * y, w * x - u * z, u * y - v * x
    return out


def across(rays):
    """Two unit vectors across each unit ray and across one another: (..., 3) -> (..., 2, 3)."""
    x, y, z = rays[..., 0], rays[..., 1], rays[..., 2]
    # Duff et al. 2017, without a branch on the direction
    sign = np.where(z >= 0, 1.0, -1.0)
    a = -1 / (sign + z)
    b, c = x * y * a, x * a
    out = np.empty(rays.shape[:-1] + (2, 3))
    first, second = out[..., 0, :], out[..., 1, :]
    first[..., 0], first[..., 1], first[..., 2] = 1 + sign * x * c, sign * b, -sign * x
    second[..., 0], second[..., 1], second[..., 2] = b, sign + y * y * a, -y
    return out
