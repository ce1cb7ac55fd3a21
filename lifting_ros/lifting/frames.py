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
    steep = np.linalg.norm(ahead, axis=-1, keepdims=True) < 1e-3
    if steep.any():
        # image up for somebody seen from above, or the camera's axis where that is vertical too
        other = level(np.broadcast_to(LEVEL, up.shape))
        none = np.linalg.norm(other, axis=-1, keepdims=True) < 1e-3
        other = np.where(none, level(np.broadcast_to([1.0, 0, 0], up.shape)), other)
        ahead = np.where(steep, other, ahead)
    ahead = ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)
    x, y, z = ahead.T
    u, v, w = up.T
    left = np.stack((v * z - w * y, w * x - u * z, u * y - v * x), -1)  # up x ahead
    return np.stack((ahead, left, up), axis=-2)


def across(rays):
    """Two unit vectors across each unit ray and across one another: (..., 3) -> (..., 2, 3)."""
    x, y, z = np.moveaxis(rays, -1, 0)
    # Duff et al. 2017, without a branch on the direction
    sign = np.where(z >= 0, 1.0, -1.0)
    a = -1 / (sign + z)
    b = x * y * a
    first = np.stack((1 + sign * x * x * a, sign * b, -sign * x), -1)
    second = np.stack((b, sign + y * y * a, -y), -1)
    return np.stack((first, second), -2)
