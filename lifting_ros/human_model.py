"""The human model of REP-155: its links, its joints, what of it is the person's own, its URDF.

Names, axes and the order of the joints are what consumers of ``joint_states`` rely on (REP-155,
"Kinematic Model of the Human", and its reference description). Lengths are the person's own.
"""

from dataclasses import dataclass

import numpy as np

from .skeleton import INDEX

#: What is the person's own, metres: lengths, and where in the trunk's axes the limbs begin
#: (those of the left; the right is its mirror image).
DIMENSIONS = ('torso', 'neck', 'nose_x', 'nose_z', 'shoulder_x', 'shoulder_y', 'shoulder_z',
              'upper_arm', 'forearm', 'hip_x', 'hip_y', 'hip_z', 'thigh', 'shin')


@dataclass(frozen=True)
class Link:
    """A link and the joint that carries it, both without the suffix of the person's id."""

    name: str
    parent: str
    joint: str
    origin: tuple            # three of: 0, a name of DIMENSIONS, or that with a sign before it
    axis: tuple | None = None          # None: fixed
    limits: tuple = (-3.1416, 3.1416)  # rad


def _limb(side, sign, parent, kind, start, upper, middle, lower, end, twist, bend):
    """Links of an arm or a leg. sign is +1 on the left."""
    names = {'y': f'{side}_y_{kind}', 'p': f'{side}_p_{kind}', 'r': f'{side}_{kind}'}
    yaw, roll_axis = ((0, 0, -sign), (0, 0, sign)) if kind == 'shoulder' else ((0, 0, -1), twist)
    side_of = '' if sign > 0 else '-'
    return (
        Link(names['y'], parent, names['y'], (f'{start}_x', f'{side_of}{start}_y', f'{start}_z'),
             yaw),
        Link(names['p'], names['y'], names['p'], (0, 0, 0), (sign, 0, 0)),
        Link(names['r'], names['p'], f'{side}_r_{kind}', (0, 0, 0), roll_axis),
        Link(f'{side}_{middle}', names['r'], f'{side}_{middle}', (0, 0, f'-{upper}'), (0, -1, 0),
             bend),
        Link(f'{side}_{end}', f'{side}_{middle}', f'{side}_{end}', (0, 0, f'-{lower}')),
    )


#: The tree below ``body``, parents before children. Axes as REP-155's human_description has
#: them; ``r_hip`` turns about y in spite of its name, that too is theirs.
LINKS = (
    Link('waist', 'body', 'waist', (0, 0, 0), (0, 1, 0)),
    Link('torso', 'waist', 'torso', (0, 0, 'torso')),
    Link('r_head', 'torso', 'r_head', (0, 0, 'neck'), (1, 0, 0)),
    Link('y_head', 'r_head', 'y_head', (0, 0, 0), (0, 0, 1)),
    Link('p_head', 'y_head', 'p_head', (0, 0, 0), (0, -1, 0)),
    Link('head', 'p_head', 'head', ('nose_x', 0, 'nose_z')),
    *(link for side, sign in (('l', 1), ('r', -1)) for link in (
        *_limb(side, sign, 'torso', 'shoulder', 'shoulder', 'upper_arm', 'elbow', 'forearm',
               'wrist', None, (-0.5, 3.1416)),
        *_limb(side, sign, 'body', 'hip', 'hip', 'thigh', 'knee', 'shin', 'ankle', (0, -1, 0),
               (-3.1416, 0.5)))),
)
LINK_INDEX = {link.name: i for i, link in enumerate(LINKS)}
#: Names of the joints that move, in the order of the angles.
ANGLES = tuple(link.joint for link in LINKS if link.axis is not None)

#: The joints of the skeleton that a link of the model stands for. ``head`` is at the nose.
LINK_OF_JOINT = {INDEX[joint]: link for joint, link in (
    ('pelvis', 'body'), ('neck', 'torso'), ('nose', 'head'),
    *((f'{long}_{joint}', f'{short}_{link}') for long, short in (('left', 'l'), ('right', 'r'))
      for joint, link in (('shoulder', 'shoulder'), ('elbow', 'elbow'), ('wrist', 'wrist'),
                          ('hip', 'hip'), ('knee', 'knee'), ('ankle', 'ankle'))))}

#: Where a link begins in its parent is ORIGIN[link] @ dimensions; (26, 3, 14).
ORIGIN = np.zeros((len(LINKS), 3, len(DIMENSIONS)))
for _i, _link in enumerate(LINKS):
    for _k, _what in enumerate(_link.origin):
        if _what:
            ORIGIN[_i, _k, DIMENSIONS.index(_what.lstrip('-'))] = -1.0 if _what[0] == '-' else 1.0

_RADIUS = 0.03  # m, of the limbs as drawn


def _numbers(values):
    return ' '.join(f'{round(float(v), 6) + 0.0:.6f}'.rstrip('0').rstrip('.') for v in values)


def _cylinder(vector):
    """A <visual> from the link's origin along a vector (3,), m."""
    x, y, z = vector
    length = float(np.linalg.norm(vector))
    # fixed-axis roll about x, then pitch about y, that turn z to the vector
    roll, pitch = -np.arcsin(np.clip(y / max(length, 1e-9), -1, 1)), np.arctan2(x, z)
    return (f'<visual><origin xyz="{_numbers(np.asarray(vector) / 2)}" '
            f'rpy="{_numbers((roll, pitch, 0))}"/><geometry><cylinder radius="{_RADIUS}" '
            f'length="{length:.6g}"/></geometry><material name="skin"/></visual>')


def _sphere(centre, radius):
    return (f'<visual><origin xyz="{_numbers(centre)}"/><geometry><sphere '
            f'radius="{radius:.6g}"/></geometry><material name="skin"/></visual>')


def _visuals(link, origins, dimensions):
    """What is drawn of a link: a bar to each link that begins elsewhere in it."""
    if link == 'head':
        radius = 1.5 * dimensions[DIMENSIONS.index('neck')]
        nose = origins[LINK_INDEX['head']]
        return [_sphere((-nose[0], 0, radius - nose[2]), radius)]
    return [_cylinder(o) for o, other in zip(origins, LINKS)
            if other.parent == link and other.name != 'head' and np.linalg.norm(o) > 1e-6]


def urdf(name, dimensions):
    """The URDF of a person.

    Args:
        name: id of the person; every link and joint ends in ``_<name>``.
        dimensions: (14,) m in the order of DIMENSIONS.

    Returns:
        text, complete with what RViz draws; metres to the micrometre.
    """
    origins = ORIGIN @ np.asarray(dimensions, dtype=np.float64)
    out = ['<?xml version="1.0"?>', f'<robot name="human_{name}">',
           '<material name="skin"><color rgba="0.9 0.68 0.5 1"/></material>']
    for link in ('body', *(link.name for link in LINKS)):
        visuals = ''.join(_visuals(link, origins, dimensions))
        out.append(f'<link name="{link}_{name}">{visuals}</link>')
    for link, origin in zip(LINKS, origins):
        kind, more = 'fixed', ''
        if link.axis is not None:
            kind = 'revolute'
            more = (f'<axis xyz="{_numbers(link.axis)}"/><limit lower="{link.limits[0]:g}" '
                    f'upper="{link.limits[1]:g}" effort="1000" velocity="50"/>')
        out.append(f'<joint name="{link.joint}_{name}" type="{kind}">'
                   f'<parent link="{link.parent}_{name}"/><child link="{link.name}_{name}"/>'
                   f'<origin xyz="{_numbers(origin)}" rpy="0 0 0"/>{more}</joint>')
    return '\n'.join([*out, '</robot>', ''])
