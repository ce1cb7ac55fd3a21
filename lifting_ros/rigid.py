"""Rigid motions between frames, and people carried along by them.

A motion is a rotation R (3, 3) and a translation t (3,) in metres with x_to = R x_from + t;
quaternions are x y z w, as in ROS.
"""

from dataclasses import replace

import numpy as np

from .person import stacked


def matrix(quaternion):
    """Rotation (3, 3) of a quaternion (4,) x y z w, which is brought to length 1 first.

    Raises:
        ValueError: the quaternion is zero or has numbers that are not finite.
    """
    q = np.asarray(quaternion, dtype=np.float64)
    length = np.linalg.norm(q)
    if not np.isfinite(length) or length < 1e-9:
        raise ValueError(f'{q.tolist()} is no rotation')
    x, y, z, w = q / length
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])


def slerp(first, second, share):
    """Unit quaternion between two, at constant rate of turn (Shoemake 1985).

    Args:
        first, second: (4,) unit quaternions x y z w.
        share: 0 gives the first, 1 the second.
    """
    cosine = float(np.dot(first, second))
    if cosine < 0:  # q and -q are the same rotation: take the shorter way
        second, cosine = -np.asarray(second), -cosine
    if cosine > 1 - 1e-9:
        out = (1 - share) * np.asarray(first) + share * np.asarray(second)
    else:
        angle = np.arccos(min(cosine, 1.0))
        out = (np.sin((1 - share) * angle) * np.asarray(first)
               + np.sin(share * angle) * np.asarray(second)) / np.sin(angle)
    return out / np.linalg.norm(out)


def chained(first, second):
    """The motion that does ``first``, then ``second``; each is (R, t)."""
    (r1, t1), (r2, t2) = first, second
    return r2 @ r1, r2 @ t1 + t2


def inverse(motion):
    """The motion back."""
    rotation, translation = motion
    return rotation.T, -rotation.T @ translation


def moved_all(people, rotation, translation):
    """Persons in another frame, as :func:`moved` has each of them; new objects."""
    if not people:
        return []
    parts = moved_arrays(stacked(people), rotation, translation)
    out = []
    for p, a, b, c, d in zip(people, *parts):
        new = object.__new__(type(p))       # replace() takes as long as all the rest
        new.__dict__.update(p.__dict__, joints=a, covariance=b, velocity=c,
                            velocity_covariance=d)
        out.append(new)
    return out


def moved_arrays(arrays, rotation, translation):
    """Joints (N, 17, 3) m, their covariance (N, 17, 3, 3), velocity (N, 17, 3) m/s and its
    covariance (N, 17, 3, 3) in another frame, as :func:`moved` has them; a tuple of the four.
    """
    r, t = np.asarray(rotation, np.float64), np.asarray(translation, np.float64)
    joints, covariance, velocity, spread = arrays
    # R C R^T of all as one product: of C's nine numbers with R (x) R
    both = (r[:, None, :, None] * r[None, :, None, :]).reshape(9, 9).T
    return (joints @ r.T + t, (covariance.reshape(-1, 9) @ both).reshape(covariance.shape),
            velocity @ r.T, (spread.reshape(-1, 9) @ both).reshape(spread.shape))


def moved(person, rotation, translation):
    """A person in another frame: positions, velocities and all covariances.

    What is in pixels stays. Velocities are rotated only: where the frames move against each
    other, that motion is not added.

    Args:
        person: :class:`~lifting_ros.person.Person`.
        rotation: (3, 3); translation: (3,) m; x_to = R x_from + t.

    Returns:
        A new Person; unknown (NaN) stays unknown.
    """
    r, t = np.asarray(rotation, np.float64), np.asarray(translation, np.float64)
    return replace(
        person, joints=np.asarray(person.joints, np.float64) @ r.T + t,
        covariance=r @ np.asarray(person.covariance, np.float64) @ r.T,
        velocity=np.asarray(person.velocity, np.float64) @ r.T,
        velocity_covariance=r @ np.asarray(person.velocity_covariance, np.float64) @ r.T)
