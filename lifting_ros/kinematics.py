"""Joint angles of the human model of REP-155 from the seventeen joints, and back.

The model has twenty joints of one axis each, on a tree of links that starts at the body (mid-hips,
x out of the chest, y to the left, z to the neck). Angles and axes are those that consumers of
``joint_states`` know; lengths are the person's own. Its trunk is stiff: what a twisted or bent
trunk does to shoulders and hips, and what differs from the lengths, is the residual.

Everything is batched over people: N people cost little more than one.
"""

from dataclasses import dataclass

import numpy as np

from .body_frame import body_rotation
from .human_angles import of_axes
from .human_model import DIMENSIONS, LINK_INDEX, LINK_OF_JOINT, LINKS, ORIGIN
from .matrices import dot
from .skeleton import HEAD_TOP, INDEX, NECK, NOSE, NUM_JOINTS, PELVIS

_DIM = {name: i for i, name in enumerate(DIMENSIONS)}
#: The joints of the skeleton that the model has.
MODELLED = tuple(sorted(LINK_OF_JOINT))

# Tables for the forward way: levels of the tree, each one product of matrices.
_PARENT = np.array([LINK_INDEX.get(link.parent, -1) for link in LINKS])
_DEPTH = np.zeros(len(LINKS), int)
for _i, _p in enumerate(_PARENT):
    _DEPTH[_i] = 0 if _p < 0 else _DEPTH[_p] + 1
_LEVELS = [np.flatnonzero(_DEPTH == d) for d in range(_DEPTH.max() + 1)]
_MOVING = np.array([i for i, link in enumerate(LINKS) if link.axis is not None])
_AXES = np.array([link.axis for link in LINKS if link.axis is not None], float)
_SKEW = np.zeros((len(_AXES), 3, 3))
for _i, (_x, _y, _z) in enumerate(_AXES):
    _SKEW[_i] = [[0, -_z, _y], [_z, 0, -_x], [-_y, _x, 0]]
_OUTER = _AXES[:, :, None] * _AXES[:, None, :]
_MODEL_LINKS = np.array([LINK_INDEX.get(LINK_OF_JOINT[j], -1) for j in MODELLED])
#: Sines and cosines of half the angles, dimensions and 1, times this: origin and quaternion of
#: every link in its parent, (26 x 7).
_FRAMES = np.zeros((2 * len(_MOVING) + len(DIMENSIONS) + 1, len(LINKS), 7))
for _i, (_link, _axis) in enumerate(zip(_MOVING, _AXES)):
    _FRAMES[_i, _link, 3:6], _FRAMES[len(_MOVING) + _i, _link, 6] = _axis, 1.0
_FRAMES[2 * len(_MOVING):-1, :, :3] = ORIGIN.transpose(2, 0, 1)
_FRAMES[-1, np.setdiff1d(np.arange(len(LINKS)), _MOVING), 6] = 1.0
_FRAMES = _FRAMES.reshape(len(_FRAMES), -1)
# The limbs side by side: left arm, right arm, left leg, right leg.
_LIMBS = (('l', 'shoulder', 'elbow', 'wrist'), ('r', 'shoulder', 'elbow', 'wrist'),
          ('l', 'hip', 'knee', 'ankle'), ('r', 'hip', 'knee', 'ankle'))
_LONG = {'l': 'left_', 'r': 'right_'}
_START, _MIDDLE, _END = (np.array([INDEX[_LONG[limb[0]] + limb[k]] for limb in _LIMBS])
                         for k in (1, 2, 3))
_UPPER = np.array([_DIM[n] for n in ('upper_arm', 'upper_arm', 'thigh', 'thigh')])
_LOWER = np.array([_DIM[n] for n in ('forearm', 'forearm', 'shin', 'shin')])
_LIMB_LINKS = np.array([LINK_INDEX[f'{limb[0]}_y_{limb[1]}'] for limb in _LIMBS])
_TORSO, _NECK_LINK = LINK_INDEX['torso'], LINK_INDEX['r_head']
#: Links at the beginning, and joints that are aimed at: of the limbs, and of the head.
_STARTS, _AIMS = np.append(_LIMB_LINKS, _NECK_LINK), np.append(_MIDDLE, HEAD_TOP)
#: Where these begin, and the torso and the head in their parents: dimensions times this, (7 x 3).
_BEGINS = ORIGIN[[*_STARTS, _TORSO, LINK_INDEX['head']]]
_BEGINS[[0, 1, 4]] += ORIGIN[_TORSO]
_BEGINS = np.ascontiguousarray(_BEGINS.reshape(-1, len(DIMENSIONS)).T)
#: Joints that the model places, beside the pelvis.
_PLACED = np.concatenate(([NECK, NOSE], _START, _MIDDLE, _END))
#: first @ this is (1, 0, 0.6) x first.
_FRONT_AND_UP = np.array([[0, 0.6, 0], [-0.6, 0, 1], [0, -1, 0]])
#: An elbow bends the forearm to its upper arm's front, a knee the shin to its thigh's back.
_NATURAL = np.array([1.0, 1.0, -1.0, -1.0])[:, None]
#: Below about this bend (sine) of elbow or knee the axis of the bend is mostly an assumed one.
_STRAIGHT = 0.03
#: Such a bend (cosine) against the natural direction is taken as overstretched.
_OVERSTRETCHED = np.cos(0.3)
#: a @ _TURNS is the matrix that takes b to a x b: two products, where six pickings cost more.
_TURNS = np.zeros((3, 3, 3))
for _i in range(3):
    _TURNS[_i, (_i + 2) % 3, (_i + 1) % 3], _TURNS[_i, (_i + 1) % 3, (_i + 2) % 3] = 1, -1
_TURNS = _TURNS.reshape(3, 9)


@dataclass
class Posture:
    """N people as the model has them."""

    position: np.ndarray    # (N, 3) m, of the body's origin, in the frame of the joints
    rotation: np.ndarray    # (N, 3, 3) columns are the body's axes in that frame
    angles: np.ndarray      # (N, 20) rad, in the order of ANGLES
    dimensions: np.ndarray  # (N, 14) m, in the order of DIMENSIONS
    residual: np.ndarray    # (N, 17) m, distance of the model's joints; NaN where it has none


def _unit(v):
    return v / np.maximum(np.sqrt(dot(v, v)), 1e-9)[..., None]


def _sq(v):
    return dot(v, v)


def _cross(a, b):
    turn = (a @ _TURNS).reshape(*a.shape[:-1], 3, 3)
    return (turn @ b[..., None])[..., 0]


def _columns(x, y, z):
    out = np.empty((*y.shape, 3))
    out[..., 0], out[..., 1], out[..., 2] = x, y, z
    return out


def _origins(dimensions):
    """(N, 26, 3) of every link in its parent."""
    return (ORIGIN.reshape(-1, len(DIMENSIONS)) @ dimensions.T).T.reshape(-1, len(LINKS), 3)


def measure(joints):
    """Dimensions of people, from one image each: average them over time.

    Args:
        joints: (N, 17, 3) m, any right-handed frame.

    Returns:
        (N, 14) m in the order of :data:`DIMENSIONS`; left and right are averaged.
    """
    joints = np.asarray(joints, dtype=np.float64)
    rotation = body_rotation(joints)
    local = (joints - joints[:, PELVIS, None]) @ rotation                   # in the body's axes
    out = np.empty((len(joints), len(DIMENSIONS)))

    begin = local[:, _START] * np.array([[1.0, 1, 1], [1, -1, 1]] * 2)      # right as left
    upper = np.sqrt(_sq(joints[:, _MIDDLE] - joints[:, _START]))
    lower = np.sqrt(_sq(joints[:, _END] - joints[:, _MIDDLE]))
    out[:, _DIM['torso']] = local[:, NECK, 2]
    out[:, _DIM['neck']] = 0.25 * np.sqrt(_sq(joints[:, HEAD_TOP] - joints[:, NECK]))
    for i, (start, first, second) in enumerate((('shoulder_x', 'upper_arm', 'forearm'),
                                                ('hip_x', 'thigh', 'shin'))):
        both = slice(2 * i, 2 * i + 2)
        out[:, _DIM[start]:_DIM[start] + 3] = begin[:, both].mean(1)
        out[:, _DIM[first]], out[:, _DIM[second]] = upper[:, both].mean(1), lower[:, both].mean(1)
    out[:, _DIM['shoulder_z']] -= out[:, _DIM['torso']]
    base = np.zeros((len(joints), 3))
    base[:, 2] = out[:, _DIM['torso']] + out[:, _DIM['neck']]
    nose = ((local[:, NOSE] - base)[:, None] @ _head(local, base))[:, 0]    # in the head's axes
    out[:, _DIM['nose_x']], out[:, _DIM['nose_z']] = nose[:, 0], nose[:, 2]
    return out


def _head(local, base):
    """Axes (N, 3, 3) of the head: z to its top, x to where the nose is."""
    z = _unit(local[:, HEAD_TOP] - base)
    ahead = local[:, NOSE] - base
    # a nose right below the top says nothing of where it points: the chest does then
    ahead = ahead - dot(ahead, z)[:, None] * z + np.array([1e-6, 0, 0])
    x = _unit(ahead - dot(ahead, z)[:, None] * z)
    return _columns(x, _cross(z, x), z)


def _hinges(first, second):
    """Axes (N, 4, 3) about which the limbs bend, at right angles to ``first``.

    Args:
        first, second: (N, 4, 3) unit, along the upper and the lower link, in the body's axes.
    """
    # where a limb is straight, its hinge is one by which it would bend as people do
    usual = np.empty_like(first)
    np.matmul(first[:, :2], _FRONT_AND_UP, out=usual[:, :2])         # arms: (1, 0, 0.6) x first
    np.multiply(first[:, 2:], -first[:, 2:, 1:2], out=usual[:, 2:])  # legs: to the left
    usual[:, 2:, 1] += 1
    usual = _unit(usual)
    hinge = _cross(second * _NATURAL, first)
    over = (dot(hinge, usual) < 0) & (dot(first, second) > _OVERSTRETCHED)
    if over.any():
        hinge = np.where(over[..., None], -hinge, hinge)
    return hinge + _STRAIGHT * usual


def inverse(joints, dimensions=None, rotation=None):
    """Angles of the model that put it where the joints are; closed form.

    From the trunk outwards, every link is aimed from where the model's joint is to where the
    next joint was measured, so that an error does not add up along a limb. ``waist`` is 0: the
    body's z runs to the neck by definition.

    Args:
        joints: (N, 17, 3) m, any right-handed frame; people with NaN get NaN.
        dimensions: (N, 14) m, or None: those of :func:`measure`.
        rotation: (N, 3, 3), the joints' ``body_rotation`` where it is there already.

    Returns:
        :class:`Posture`.
    """
    joints = np.asarray(joints, dtype=np.float64).reshape(-1, NUM_JOINTS, 3)
    dims = measure(joints) if dimensions is None else np.asarray(dimensions, dtype=np.float64)
    if rotation is None:
        rotation = body_rotation(joints)
    position = joints[:, PELVIS]
    local = (joints - position[:, None]) @ rotation
    n = len(joints)
    start = (dims @ _BEGINS).reshape(n, 7, 3)
    first = _unit(local.take(_AIMS, 1) - start[:, :5])
    limbs = first[:, :4]
    middle = start[:, :4] + limbs * dims.take(_UPPER, 1)[..., None]
    second = _unit(local.take(_END, 1) - middle)

    # what is at right angles to the first axis of each: the hinge; where the nose points
    side = np.empty_like(first)
    side[:, :4] = _hinges(limbs, second)
    ahead = local[:, NOSE] - start[:, 4]
    # a nose right below the top says nothing of where it points: the chest does then
    ahead[:, 0] += 1e-6
    side[:, 4] = ahead - dot(ahead, first[:, 4])[:, None] * first[:, 4]
    side = _unit(side)
    third = _cross(first, side)
    axes = np.empty((n, 5, 3, 3))
    axes[:, :4, :, 0], axes[:, :4, :, 1] = third[:, :4], side[:, :4]
    np.negative(limbs, out=axes[:, :4, :, 2])
    axes[:, 4, :, 0], axes[:, 4, :, 1], axes[:, 4, :, 2] = side[:, 4], third[:, 4], first[:, 4]
    bent, along = dot(second, third[:, :4]), dot(second, limbs)
    angles = of_axes(axes, bent, along)

    # second, turned into the plane at right angles to the hinge
    turned = along[..., None] * limbs + bent[..., None] * third[:, :4]
    model = np.empty((n, len(_PLACED), 3))
    model[:, 0] = start[:, 5]
    model[:, 1] = start[:, 4] + (axes[:, 4] @ start[:, 6, :, None])[..., 0]
    model[:, 2:6], model[:, 6:10] = start[:, :4], middle
    model[:, 10:] = middle + turned * (dims.take(_LOWER, 1) / np.sqrt(bent * bent + along * along)
                                       )[..., None]
    model -= local.take(_PLACED, 1)
    residual = np.full((n, NUM_JOINTS), np.nan)
    residual[:, _PLACED], residual[:, PELVIS] = np.sqrt(_sq(model)), 0.0
    bad = ~np.isfinite(joints.reshape(n, 3 * NUM_JOINTS).sum(1))
    if bad.any():
        angles[bad] = residual[bad] = np.nan
    return Posture(position, rotation, angles, dims, residual)


def transforms(posture):
    """Every link in its parent, as /tf wants it.

    Args:
        posture: :class:`Posture` of N people.

    Returns:
        (N, 26, 7) in the order of LINKS: origins, m, then quaternions x y z w.
    """
    n, half = len(posture.angles), posture.angles / 2
    numbers = np.concatenate((np.sin(half), np.cos(half), posture.dimensions, np.ones((n, 1))), 1)
    return (numbers @ _FRAMES).reshape(n, len(LINKS), 7)


def forward(posture):
    """Where the links are, in the frame of the joints.

    Args:
        posture: :class:`Posture` of N people.

    Returns:
        positions (N, 26, 3) m and rotations (N, 26, 3, 3), in the order of LINKS.
    """
    origin = _origins(posture.dimensions)
    n = len(origin)
    turn = np.broadcast_to(np.eye(3), (n, len(LINKS), 3, 3)).copy()
    s, c = np.sin(posture.angles)[..., None, None], np.cos(posture.angles)[..., None, None]
    turn[:, _MOVING] = c * np.eye(3) + s * _SKEW + (1 - c) * _OUTER         # Rodrigues
    position = np.empty((n, len(LINKS), 3))
    rotation = np.empty((n, len(LINKS), 3, 3))
    for level in _LEVELS:
        parent = _PARENT[level]
        if parent[0] < 0:
            p, r = posture.position[:, None], posture.rotation[:, None]
        else:
            p, r = position[:, parent], rotation[:, parent]
        position[:, level] = p + (r @ origin[:, level, :, None])[..., 0]
        rotation[:, level] = r @ turn[:, level]
    return position, rotation


def forward_joints(posture):
    """Where the model has the joints of :data:`MODELLED`: (N, 15, 3) m."""
    position, _ = forward(posture)
    return np.where(_MODEL_LINKS[:, None] < 0, posture.position[:, None],
                    position[:, _MODEL_LINKS])
