"""Where people stand: rooms, furniture, what hides them, light, and the camera.

World: metres, z up, floor at z = 0. Pictures are drawn in the camera's optical frame.
"""

from dataclasses import dataclass

import numpy as np

from .renderer import Light, Mesh

#: Faces of a unit cube about the origin: corners and triangles with normals of their own.
_AXES = [(a, s) for a in range(3) for s in (-1, 1)]


@dataclass(frozen=True)
class View:
    """A camera in the world: optical = rotation @ (world - position); k (3, 3) px."""

    rotation: np.ndarray
    position: np.ndarray
    k: np.ndarray
    size: tuple

    def to_optical(self, points):
        """World points (..., 3) in the optical frame."""
        return (points - self.position) @ self.rotation.T

    @property
    def up(self):
        """(3,) against gravity, optical frame."""
        return self.rotation @ np.array([0.0, 0.0, 1.0])

    def project(self, points):
        """Pixels (..., 2) of points in the optical frame."""
        z = np.maximum(points[..., 2:], 1e-6)
        return (points @ self.k.T)[..., :2] / z


def look(target, azimuth, pitch, distance, fov, size=(640, 480), roll=0.0, aim=(0.0, 0.0)):
    """A camera ``distance`` m from ``target`` that looks at it.

    Args:
        target: (3,) m.
        azimuth: direction of the viewing ray about z; pitch: down positive; radians.
        fov: of the longer side; roll; radians.
        aim: (2,) px, where in the picture the target is, off the middle.
    """
    fwd = np.array([np.cos(pitch) * np.cos(azimuth), np.cos(pitch) * np.sin(azimuth),
                    -np.sin(pitch)])
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    down = np.cross(fwd, right)
    f = max(size) / 2 / np.tan(fov / 2)
    c, s = np.cos(roll), np.sin(roll)
    rotation = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) @ np.stack((right, down, fwd))
    k = np.array([[f, 0, (size[0] - 1) / 2], [0, f, (size[1] - 1) / 2], [0, 0, 1.0]])
    ray = np.array([aim[0] / f, aim[1] / f, 1.0])
    position = np.asarray(target) - distance * rotation.T @ (ray / np.linalg.norm(ray))
    return View(rotation, position, k, size)


def box(centre, size, colour, turn=0.0, **more):
    """A box in the world: centre (3,), size (3,) m, colour (3,) linear.

    ``turn`` is an angle about z, or a rotation (3, 3).
    """
    corners, normals, faces = [], [], []
    for axis, sign in _AXES:
        n = np.zeros(3)
        n[axis] = sign
        u, w = np.roll(np.abs(n), 1), np.roll(np.abs(n), 2)
        first = len(corners)
        corners += [0.5 * (n + p * u + q * w) for p, q in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        normals += [n] * 4
        faces += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
    rest = np.array(corners) * size
    r = np.asarray(turn, dtype=float)
    if r.ndim == 0:
        c, s = np.cos(turn), np.sin(turn)
        r = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return Mesh(rest @ r.T + centre, np.array(normals) @ r.T, rest, np.tile(colour, (24, 1)),
                np.array(faces), **more)


def quad(centre, u, v, colour, **more):
    """A rectangle in the world with half sides u and v (3,) m."""
    rest = np.array([-u - v, u - v, u + v, v - u], dtype=float) + centre
    n = np.cross(u, v)
    return Mesh(rest, np.tile(n / np.linalg.norm(n), (4, 1)), rest, np.tile(colour, (4, 1)),
                np.array([(0, 1, 2), (0, 2, 3)]), **more)


def _paint(rng, layers):
    return {'layer': int(rng.integers(layers)), 'scale': rng.uniform(0.3, 1.5),
            'patterned': float(rng.choice((0.0, 0.4, 0.9, 1.0)))}


def room(rng, layers, *clear):
    """Floor, walls and things in them about the places ``clear``, (3,) m each (the person, the
    cameras), as meshes in the world. Things keep 1 m away from those.
    """
    x, y, z = np.eye(3)
    low = np.min(clear, axis=0)[:2] - rng.uniform(0.5, 3.5, 2)
    top = np.max(clear, axis=0)[:2] + rng.uniform(0.5, 3.5, 2)
    at, half = np.array([*(low + top) / 2, 0]), (top - low) / 2
    high = max(rng.uniform(2.4, 5.0), np.max(clear, axis=0)[2] + 0.3)

    def tone(lo, hi):
        return (rng.uniform(lo, hi) + rng.uniform(-0.08, 0.08, 3)).clip(0.02, 0.95)**2
    wall, walls = tone(0.45, 0.95), _paint(rng, layers)
    walls['patterned'] *= 0.6
    out = [quad(at, half[0] * x, half[1] * y, tone(0.2, 0.8), casts=False, **_paint(rng, layers)),
           quad(at + high * z, half[0] * x, half[1] * y, tone(0.6, 0.95), casts=False)]
    for a, b, k in ((x, y, 0), (y, x, 1)):
        for sign in (-1, 1):
            out.append(quad(at + sign * half[k] * a + high / 2 * z, half[1 - k] * b, high / 2 * z,
                            wall, casts=False, **walls))
    for _ in range(rng.integers(2, 9)):
        size = np.array([rng.uniform(0.3, 1.6), rng.uniform(0.3, 0.9), rng.uniform(0.3, 2.0)])
        side, k = rng.choice((-1, 1)), rng.integers(2)
        where = at + (rng.uniform(-1, 1, 3) * [half[0], half[1], 0])
        where[k] = at[k] + side * (half[k] - size[k] / 2)
        if min(np.linalg.norm((where - q)[:2]) for q in clear) > 1.0:
            out.append(box(where + [0, 0, size[2] / 2], size, tone(0.1, 0.9),
                           **_paint(rng, layers)))
    if rng.random() < 0.4:
        out += _rack(rng, layers, at, half, clear)
    for _ in range(rng.integers(0, 4)):      # pictures and windows
        side, k = rng.choice((-1, 1)), rng.integers(2)
        size = np.array([rng.uniform(0.4, 1.4), rng.uniform(0.4, 1.4), rng.uniform(0.4, 1.2)])
        size[k] = 0.04
        where = at + (rng.uniform(-0.8, 0.8, 3) * [half[0], half[1], 0]) + [0, 0, 1.5]
        where[k] = at[k] + side * half[k]
        out.append(box(where, size, tone(0.1, 0.95), layer=int(rng.integers(layers)),
                       scale=rng.uniform(0.5, 1.0), patterned=float(rng.random() < 0.8),
                       casts=False))
    return out


def _rack(rng, layers, at, half, clear):
    """Racks with boxes along a wall, and a machine, as in a store or a workshop."""
    out, k, side = [], int(rng.integers(2)), rng.choice((-1, 1))
    deep, levels = rng.uniform(0.35, 0.8), rng.uniform(0.35, 0.7)
    steel = rng.uniform(0.02, 0.5, 3)
    for place in np.arange(-half[1 - k] + 0.7, half[1 - k] - 0.7, 1.3)[:5]:
        middle = np.array([at[0], at[1], 0.0])
        middle[1 - k] += place
        middle[k] += side * (half[k] - deep / 2)
        if min(np.linalg.norm((middle - q)[:2]) for q in clear) < 1.0:
            continue
        along = np.array([1.25, deep]) if k == 1 else np.array([deep, 1.25])
        for z in np.arange(0.1, rng.uniform(1.2, 2.6), levels):
            out.append(box(middle + [0, 0, z], (*along, 0.03), steel))
            for off in (-0.32, 0.3):
                if rng.random() < 0.7:
                    size = rng.uniform(0.15, 0.9, 3) * [0.5, 0.5, levels * 0.9]
                    shift = np.zeros(3)
                    shift[1 - k] = off
                    out.append(box(middle + shift + [0, 0, z + 0.02 + size[2] / 2], size,
                                   rng.uniform(0.05, 0.7, 3), rng.normal(0, 0.1),
                                   **_paint(rng, layers)))
        for off in (-0.6, 0.6):
            post = middle.copy()
            post[1 - k] += off
            out.append(box(post + [0, 0, 1.2], (0.05, 0.05, 2.4), steel))
    return out


def chair(rng, layers, joints):
    """A chair or a bench under a sitting person, joints (17, 3) m in the world."""
    from ..skeleton import INDEX
    hips = joints[INDEX['left_hip']] - joints[INDEX['right_hip']]
    turn = np.arctan2(hips[1], hips[0])
    ahead = np.array([np.sin(turn), -np.cos(turn), 0])
    pelvis = joints[INDEX['pelvis']]
    top = max(pelvis[2] - 0.105, 0.1)
    wide, deep = rng.uniform(0.38, 0.6), rng.uniform(0.38, 0.5)
    middle = np.array([pelvis[0], pelvis[1], 0]) + 0.06 * ahead
    colour, paint = rng.uniform(0.02, 0.6, 3), _paint(rng, layers)
    out = []
    if rng.random() < 0.25:
        return [box(middle + [0, 0, top / 2], (wide, deep, top), colour, turn, **paint)]
    out.append(box(middle + [0, 0, top - 0.025], (wide, deep, 0.05), colour, turn, **paint))
    side = np.array([np.cos(turn), np.sin(turn), 0])
    for a in (-1, 1):
        for b in (-1, 1):
            foot = middle + 0.46 * (a * wide * side + b * deep * ahead)
            out.append(box(foot + [0, 0, top / 2], (0.035, 0.035, top), colour, turn))
    if rng.random() < 0.7:
        back = rng.uniform(0.3, 0.55)
        out.append(box(middle - (deep / 2 + 0.03) * ahead + [0, 0, top + back / 2],
                       (wide, 0.04, back), colour, turn, **paint))
    return out


def hiding(rng, layers, view, joints):
    """Something between the camera and a person: a table, a box, a pole or a wall's edge."""
    target = joints.mean(0)
    toward = view.position - target
    flat = toward * [1, 1, 0]
    reach = np.linalg.norm(flat)
    flat /= max(reach, 1e-6)
    side = np.array([-flat[1], flat[0], 0])
    away = rng.uniform(0.35, max(0.4, min(1.6, 0.6 * reach)))
    colour, paint = rng.uniform(0.02, 0.7, 3), _paint(rng, layers)
    turn = np.arctan2(side[1], side[0]) + rng.normal(0, 0.3)
    foot = (target + away * flat) * [1, 1, 0]
    kind = rng.integers(4)
    if kind == 0:       # a table or machine, hiding from below
        high = rng.uniform(0.4, 1.05)
        size = np.array([rng.uniform(0.5, 1.8), rng.uniform(0.3, 0.6), high])
        foot = foot + side * rng.normal(0, 0.3)
        if rng.random() < 0.5:
            return [box(foot + [0, 0, high / 2], size, colour, turn, **paint)]
        return [box(foot + [0, 0, high - 0.02], size * [1, 1, 0] + [0, 0, 0.04], colour, turn,
                    **paint)] + [
            box(foot + [0, 0, high / 2] + 0.45 * size[0] * s * np.array(
                [np.cos(turn), np.sin(turn), 0]), (0.05, 0.05, high), colour, turn)
            for s in (-1, 1)]
    if kind == 1:       # a pole
        return [box(foot + side * rng.normal(0, 0.25) + [0, 0, 1.25],
                    (rng.uniform(0.04, 0.15),) * 2 + (2.5,), colour, turn, **paint)]
    if kind == 2:       # a wall's edge, hiding from one side
        wide = rng.uniform(0.6, 1.5)
        off = rng.choice((-1, 1)) * (wide / 2 + rng.uniform(-0.12, 0.25))
        return [box(foot + side * off + [0, 0, 1.2], (wide, 0.08, 2.4), colour, turn, **paint)]
    size = rng.uniform(0.12, 0.45, 3)     # a thing held or hanging
    middle = joints[rng.integers(len(joints))] + rng.uniform(0.2, 0.5) * flat
    return [box(middle, size, colour, turn, **paint)]


def held(rng, layers, joints):
    """A box between the hands where they are near each other, else a tool in one of them."""
    from ..skeleton import INDEX
    hands, fore = [], []
    for side in ('left', 'right'):
        wrist, elbow = joints[INDEX[f'{side}_wrist']], joints[INDEX[f'{side}_elbow']]
        fore.append((wrist - elbow) / np.linalg.norm(wrist - elbow))
        hands.append(wrist + 0.09 * fore[-1])
    colour, paint = rng.uniform(0.02, 0.7, 3), _paint(rng, layers)
    across = hands[0] - hands[1]
    apart = np.linalg.norm(across)
    if 0.15 < apart < 0.6 and rng.random() < 0.7:
        x = across / apart
        ahead = fore[0] + fore[1] - x * ((fore[0] + fore[1]) @ x)
        if np.linalg.norm(ahead) > 0.3:
            y = ahead / np.linalg.norm(ahead)
            size = np.array([max(apart - 0.06, 0.1), *rng.uniform(0.15, 0.4, 2)])
            middle = (hands[0] + hands[1]) / 2 + (0.4 * size[1] - 0.05) * y
            return [box(middle, size, colour, np.stack((x, y, np.cross(x, y)), -1), **paint)]
    k = rng.integers(2)
    z = np.cross(fore[k], rng.normal(0, 1, 3))
    z /= np.linalg.norm(z)
    size = np.array([rng.uniform(0.02, 0.06), rng.uniform(0.02, 0.06), rng.uniform(0.15, 0.7)])
    turn = np.stack((fore[k], np.cross(z, fore[k]), z), -1)
    out = [box(hands[k] + rng.uniform(-0.4, 0.4) * size[2] * z, size, colour, turn)]
    if rng.random() < 0.5:      # a head on its end, as of a hammer or a drill
        head = np.array([rng.uniform(0.08, 0.2), rng.uniform(0.04, 0.08), rng.uniform(0.04, 0.1)])
        out.append(box(out[0].vertices.mean(0) + 0.5 * size[2] * z, head, colour * 0.5, turn))
    return out


def light_of(rng, view, photo=None):
    """Light for a scene; its colour leans to that of the photo behind."""
    up = view.up
    away = rng.normal(0, 1, 3)
    direction = up * rng.uniform(0.3, 1.3) + 0.8 * away / np.linalg.norm(away) - [0, 0, 0.25]
    tint = np.ones(3)
    level = rng.uniform(0.5, 1.0)
    if photo is not None:
        mean = (photo[:, :, ::-1].reshape(-1, 3).mean(0) / 255.0 + 0.05)**2
        tint = (mean / mean.mean())**0.35
        level = 0.4 * level + 0.6 * float(np.clip(2.6 * mean.mean(), 0.3, 1.2))
    sun = level * rng.uniform(0.15, 1.3) * tint * (1 + rng.normal(0, 0.05, 3))
    sky = level * rng.uniform(0.35, 0.85) * tint * (1 + rng.normal(0, 0.05, 3))
    return Light(tuple(direction), tuple(sun.clip(0, 2)), tuple(sky.clip(0, 2)),
                 tuple((sky * rng.uniform(0.35, 0.8)).clip(0, 2)), tuple(up))


def to_optical(mesh, view):
    """The mesh (in the world) moved into the camera's optical frame."""
    mesh.vertices = view.to_optical(mesh.vertices)
    mesh.normals = mesh.normals @ view.rotation.T
    return mesh
