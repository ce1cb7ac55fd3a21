"""Constant-velocity Kalman filters, one per point, all points at once.

A single camera's error is not white: bone lengths and stature are wrong in the same way in
every frame, so the filter may not average them away. Of a measurement's covariance S only the
share ``white`` counts as noise that is new in each frame; the rest stays. A point's covariance
is therefore (1 - white) S + P, with P the filter's own: it never falls below what one picture
can know.
"""

import numpy as np


class PointFilters:
    """Positions and velocities of J points.

    Args:
        position: (J, 3) m.
        covariance: (J, 3, 3) m^2 of the measurement.
        white: share of a measurement's variance that is independent between frames.
        acceleration: (J,) or a number: standard deviation of the acceleration, m/s^2.
        speed: standard deviation of the velocity before anything is known of it, m/s.
    """

    def __init__(self, position, covariance, white=0.1, acceleration=6.0, speed=1.0):
        """Start from one measurement; see the class."""
        n = len(position)
        self.white = white
        self.acceleration = np.broadcast_to(np.asarray(acceleration, float), (n,))
        self.x = np.concatenate((position, np.zeros((n, 3))), axis=1)     # (J, 6)
        self.p = np.zeros((n, 6, 6))
        self.p[:, :3, :3] = white * covariance
        self.p[:, 3:, 3:] = speed ** 2 * np.eye(3)
        self.still = (1 - white) * covariance                             # (J, 3, 3)

    def predict(self, dt):
        """Move all points on by ``dt`` seconds; their covariance grows."""
        if dt <= 0:
            return
        f = np.eye(6)
        f[:3, 3:] = dt * np.eye(3)
        g = np.concatenate((0.5 * dt ** 2 * np.eye(3), dt * np.eye(3)))   # (6, 3)
        q = self.acceleration[:, None, None] ** 2 * (g @ g.T)
        self.x = self.x @ f.T
        self.p = f @ self.p @ f.T + q

    def update(self, position, covariance):
        """Take a measurement; points with NaN in it are left as predicted.

        Args:
            position: (J, 3) m.
            covariance: (J, 3, 3) m^2.
        """
        known = np.isfinite(position).all(axis=1) & np.isfinite(covariance).all(axis=(1, 2))
        if not known.any():
            return
        p, r = self.p[known], self.white * covariance[known] + 1e-9 * np.eye(3)
        gain = np.linalg.solve(p[:, :3, :3] + r, p[:, :3, :]).transpose(0, 2, 1)  # (K, 6, 3)
        innovation = position[known] - self.x[known, :3]
        self.x[known] += (gain @ innovation[..., None])[..., 0]
        # Joseph's form: stays symmetric and positive over months of updates
        a = np.eye(6) - np.concatenate((gain, np.zeros(gain.shape)), axis=2)
        self.p[known] = a @ p @ a.transpose(0, 2, 1) + gain @ r @ gain.transpose(0, 2, 1)
        self.still[known] = (1 - self.white) * covariance[known]

    @property
    def position(self):
        """(J, 3) m."""
        return self.x[:, :3]

    @property
    def velocity(self):
        """(J, 3) m/s."""
        return self.x[:, 3:]

    @property
    def covariance(self):
        """(J, 3, 3) m^2 of the positions."""
        return self.still + self.p[:, :3, :3]

    @property
    def velocity_covariance(self):
        """(J, 3, 3) m^2/s^2."""
        return self.p[:, 3:, 3:]
