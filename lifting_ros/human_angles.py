"""Angles of the human model's joints from the axes of its limbs and of its head.

A shoulder, a hip and the neck are three joints each, one after the other: their angles are those
of one rotation. Which of its elements are the sine and the cosine of which angle stands in a
table, so that all angles of all people are one arctan2.
"""

import numpy as np

from .human_model import ANGLES

_ANGLE = {name: i for i, name in enumerate(ANGLES)}
#: Of elbows and knees, in the order of the limbs: left arm, right arm, left leg, right leg.
_HINGE = np.array([_ANGLE[n] for n in ('l_elbow', 'r_elbow', 'l_knee', 'r_knee')])


def _elements():
    """Of each angle the elements (limb or head, row, column) that are its sine and its cosine,
    with their signs, and the sign with which it counts.
    """
    of = {}
    for limb, sign, first in ((0, 1, 'l_y_shoulder'), (1, -1, 'r_y_shoulder')):
        y = _ANGLE[first]
        of[y] = sign, (limb, 0, 2), -sign, (limb, 1, 2), -sign
        of[y + 1] = 1, (limb, 2, 2), 1, (limb, 2, 2), 1            # the sine is put in
        of[y + 2] = sign, (limb, 2, 0), sign, (limb, 2, 1), sign
    for limb, sign, first in ((2, 1, 'l_y_hip'), (3, -1, 'r_y_hip')):
        y = _ANGLE[first]
        of[y] = -1, (limb, 0, 1), 1, (limb, 1, 1), -1
        of[y + 1] = 1, (limb, 2, 1), 1, (limb, 2, 1), sign         # the cosine is put in
        of[y + 2] = -1, (limb, 2, 0), 1, (limb, 2, 2), -1
    of[_ANGLE['r_head']] = 1, (4, 2, 1), 1, (4, 1, 1), 1
    of[_ANGLE['y_head']] = -1, (4, 0, 1), 1, (4, 0, 1), 1          # the cosine is put in
    of[_ANGLE['p_head']] = 1, (4, 0, 2), 1, (4, 0, 0), -1
    out = np.zeros((5, len(ANGLES)), int)
    out[4, _HINGE] = 1                                             # hinges are put in; no waist
    for angle, (a, sine, b, cosine, turn) in of.items():
        out[:, angle] = a, np.dot(sine, (9, 3, 1)), b, np.dot(cosine, (9, 3, 1)), turn
    return out


_SINE_SIGN, _SINE, _COSINE_SIGN, _COSINE, _TURN_SIGN = _elements()
#: The two elements whose root of squares is the other one: of the shoulders' p, the hips', y_head.
_REST = np.array([[2, 5], [11, 14], [19, 22], [28, 31], [36, 38]]).T
_BY_SINE = np.array([_ANGLE[n] for n in ('l_p_hip', 'r_p_hip', 'y_head')])
_SHOULDER_Y, _SHOULDER_P, _SHOULDER_R = (
    slice(_ANGLE['l_y_shoulder'] + i, _ANGLE['r_y_shoulder'] + i + 1,
          _ANGLE['r_y_shoulder'] - _ANGLE['l_y_shoulder']) for i in range(3))


def of_axes(axes, bent, along):
    """All angles from the axes of what is turned.

    Shoulders are Rz(-s y) Rx(s p) Rz(s r), hips Rz(-y) Rx(s p) Ry(-r), the head Rx(r) Rz(y)
    Ry(-p): each angle is arctan2 of two of the matrix' elements, or of one and two others' root.

    Args:
        axes: (N, 5, 3, 3) whose columns are the axes of left arm, right arm, left leg, right leg
            and head, in the body's axes.
        bent, along: (N, 4), sine and cosine of the elbows' and knees' bends.

    Returns:
        (N, 20) rad, in the order of ANGLES.
    """
    flat = axes.reshape(len(axes), 45)
    sine, cosine = flat.take(_SINE, 1) * _SINE_SIGN, flat.take(_COSINE, 1) * _COSINE_SIGN
    rest = np.hypot(flat.take(_REST[0], 1), flat.take(_REST[1], 1))
    across = rest[:, :2]
    sine[:, _SHOULDER_P], cosine[:, _BY_SINE] = across, rest[:, 2:]
    sine[:, _HINGE], cosine[:, _HINGE] = bent, along
    up = across < 1e-9
    if up.any():
        # an arm right up or down: what turns it about z is one angle, that of r
        arms = axes[:, :2]
        sine[:, _SHOULDER_Y][up], cosine[:, _SHOULDER_Y][up] = 0.0, 1.0
        sine[:, _SHOULDER_R][up] = (arms[..., 1, 0] * np.sign(arms[..., 2, 2]))[up]
        cosine[:, _SHOULDER_R][up] = arms[..., 0, 0][up]
    out = np.arctan2(sine, cosine)
    # of the two triples that mean the same, that with the arm a little across or behind
    y, p = out[:, _SHOULDER_Y], out[:, _SHOULDER_P]
    other = (p < 0.4) & (np.abs(y) > np.pi / 2)
    if other.any():
        r = out[:, _SHOULDER_R]
        out[:, _SHOULDER_Y] = np.where(other, y - np.copysign(np.pi, y), y)
        out[:, _SHOULDER_P] = np.where(other, -p, p)
        out[:, _SHOULDER_R] = np.where(other, r - np.copysign(np.pi, r), r)
    return out * _TURN_SIGN
