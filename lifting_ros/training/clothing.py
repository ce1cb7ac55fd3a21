"""What people wear: skin, hair, shoes, shirt, trousers, jackets, vests, helmets, as meshes.

A garment is a copy of the body's surface, smoothed and moved out along its normals, cut where a
field over the body at rest (metres inside of the garment's rim) falls below zero. The cut is
made for each pixel, so rims are sharp whatever the mesh.
"""

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from .renderer import Mesh

#: sRGB of skin, light to dark.
_SKIN = np.array([(236, 200, 178), (224, 182, 152), (205, 158, 124), (182, 133, 100),
                  (150, 104, 74), (116, 78, 54), (88, 58, 42), (64, 43, 33)]) / 255.0
_HAIR = np.array([(28, 22, 20), (46, 32, 24), (78, 54, 36), (122, 88, 54), (176, 142, 92),
                  (150, 148, 146), (110, 52, 30), (18, 18, 20)]) / 255.0
_WORK = np.array([(236, 226, 40), (245, 120, 26), (40, 66, 130), (60, 60, 64), (190, 30, 34),
                  (226, 226, 222), (38, 104, 62)]) / 255.0


@dataclass
class Garment:
    """One shell.

    Args:
        kind: shirt, trousers, shoes, hair, helmet, jacket, vest, gloves.
        colour: sRGB 0..1.
        out: m off the skin; loose: m more at its loosest.
        layer, scale, patterned, wrinkles, gloss: see Mesh.
        size: dict of the rim's places.
    """

    kind: str
    colour: np.ndarray
    out: float = 0.008
    loose: float = 0.0
    layer: int = 0
    scale: float = 3.0
    patterned: float = 0.0
    wrinkles: float = 0.5
    gloss: float = 0.02
    size: dict = field(default_factory=dict)


@dataclass
class Outfit:
    """Skin (3,) and hair (3,) sRGB, and the garments from the inside out."""

    skin: np.ndarray
    hair: np.ndarray
    garments: list

    @classmethod
    def sample(cls, rng, layers=1):
        """A random outfit; ``layers`` is how many textures there are to choose from."""
        skin = _SKIN[rng.integers(len(_SKIN))] * rng.uniform(0.93, 1.05)
        hair = np.clip(_HAIR[rng.integers(len(_HAIR))] * rng.uniform(0.8, 1.2), 0, 1)
        work = rng.random() < 0.3

        def cloth(kind, out, loose, plain=0.5, **size):
            colour = _WORK[rng.integers(len(_WORK))] if work and rng.random() < 0.6 else (
                _cloth_colour(rng))
            patterned = 0.0 if rng.random() < plain else rng.uniform(0.35, 1.0)
            return Garment(kind, colour, out, loose, int(rng.integers(layers)),
                           rng.uniform(1.0, 6.0), patterned, rng.uniform(0.1, 0.8),
                           rng.choice((0.0, 0.0, 0.03, 0.1)), size)

        sleeve = 0.93 if work or rng.random() < 0.45 else rng.uniform(0.05, 0.5)
        legs = rng.uniform(0.88, 0.97) if work or rng.random() < 0.75 else rng.uniform(0.25, 0.6)
        waist = rng.uniform(0.13, 0.2)
        garments = [
            Garment('shoes', _cloth_colour(rng), 0.006, 0.004, wrinkles=0.0, gloss=0.05,
                    size={'shaft': rng.choice((0.0, 0.03, 0.12))}),
            cloth('trousers', 0.007, rng.choice((0.003, 0.012, 0.025, 0.04)), 0.8, legs=legs,
                  waist=waist + 0.03),
            cloth('shirt', 0.011, rng.choice((0.004, 0.012, 0.022, 0.035)), 0.45, sleeve=sleeve,
                  hem=rng.uniform(-0.12, 0.07), collar=rng.uniform(-0.05, 0.02))]
        if rng.random() < 0.3:
            garments[1].colour = np.array([0.14, 0.2, 0.34]) * rng.uniform(0.6, 1.8)
        if rng.random() < (0.55 if work else 0.2):
            vest = rng.random() < (0.7 if work else 0.2)
            garments.append(cloth('vest' if vest else 'jacket', 0.024, 0.012, 0.9,
                                  sleeve=0.03 if vest else 0.95, hem=rng.uniform(-0.1, 0.03),
                                  collar=0.0, open=rng.choice((-1.0, 0.02, 0.05))))
            if vest:
                garments[-1].colour = _WORK[rng.integers(2)]
                garments[-1].patterned = 0.0
        if rng.random() < (0.5 if work else 0.03):
            garments.append(Garment('gloves', _cloth_colour(rng), 0.005, 0.0, wrinkles=0.3))
        if rng.random() > 0.12:
            long = rng.random() < 0.3
            garments.append(Garment('hair', hair, rng.uniform(0.006, 0.02), 0.02 if long else 0.0,
                                    wrinkles=1.5, gloss=0.06,
                                    size={'front': rng.uniform(0.6, 0.8),
                                          'back': -1.4 if long else rng.uniform(-0.7, -0.3)}))
        if rng.random() < (0.55 if work else 0.08):
            colour = (_WORK if work else _cloth_colour(rng)[None])[0 if not work else
                                                                  rng.integers(len(_WORK))]
            garments.append(Garment('helmet', colour, rng.uniform(0.022, 0.034), 0.0,
                                    wrinkles=0.0, gloss=0.25,
                                    size={'brim': rng.uniform(0.0, 0.05)}))
        return cls(np.clip(skin, 0, 1), hair, garments)


def _cloth_colour(rng):
    """Clothes are mostly grey, dark or white, sometimes bright. sRGB (3,)."""
    value = rng.choice((rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.7), rng.uniform(0.7, 0.97)))
    hue = rng.uniform(-1, 1, 3)
    return np.clip(value + rng.choice((0.04, 0.12, 0.35)) * (hue - hue.mean()), 0.02, 0.98)


class Tailor:
    """Dresses bodies of one rig.

    Args:
        rig: Rig.
    """

    def __init__(self, rig):
        self.rig = rig
        f, v = rig.faces, len(rig.weights)
        rows = np.concatenate((f[:, 0], f[:, 1], f[:, 2]))
        self._gather = sp.csr_matrix((np.ones(3 * len(f), np.float32),
                                      (rows, np.tile(np.arange(len(f)), 3))), (v, len(f)))
        pairs = np.concatenate((f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]))
        near = sp.csr_matrix((np.ones(len(pairs), np.float32), pairs.T), (v, v))
        near = near + near.T
        near.data[:] = 1
        degree = np.asarray(near.sum(1)).ravel()
        self._smooth = (0.4 * sp.eye(v, dtype=np.float32)
                        + 0.6 * sp.diags(1 / np.maximum(degree, 1)) @ near).tocsr()
        self._smooth = self._smooth.astype(np.float32)
        self._arm = rig.share('upperarm', 'lowerarm', 'wrist', 'finger', 'metacarpal')
        self._hand = rig.share('wrist', 'finger', 'metacarpal')
        self._head = rig.share('head', 'eye', 'neck03')
        self._eye = rig.share('eye')
        self._foot = rig.share('foot', 'toe')

    def normals(self, vertices):
        """(V, 3) unit normals."""
        a, b, c = (vertices[self.rig.faces[:, k]] for k in range(3))
        n = self._gather @ np.cross(b - a, c - a)
        return n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)

    def measures(self, body):
        """Fields over a body at rest that rims are given in; depends on the shape alone."""
        rig, v, h = self.rig, body.vertices, body.heads

        def at(name):
            return h[rig.bone(name)]
        along = np.zeros(len(v))
        for s in 'LR':
            a, b, c = at(f'upperarm01.{s}'), at(f'lowerarm01.{s}'), at(f'wrist.{s}')
            side = (v[:, 0] > 0) == (s == 'L')
            up, lo = np.linalg.norm(b - a), np.linalg.norm(c - b)
            low = rig.share(f'lowerarm01.{s}', f'lowerarm02.{s}', f'wrist.{s}', 'finger',
                            'metacarpal')
            t = (1 - low) * ((v - a) @ (b - a)) / up + low * (up + (v - b) @ (c - b) / lo)
            along[side] = t[side]
            self_length = up + lo
        eye = (at('eye.L') + at('eye.R')) / 2
        centre = np.array([0, (eye[1] + v[:, 1][self._head > 0.9].max()) / 2, eye[2]])
        d = v - centre
        r = np.linalg.norm(v[rig.top] - centre)
        ahead = -d[:, 1] / np.maximum(np.linalg.norm(d[:, :2], axis=1), 1e-6)
        return {'along': along, 'arm': float(self_length), 'hip': at('upperleg01.L')[2],
                'ankle': at('foot.L')[2], 'neck': at('neck01'), 'rise': d[:, 2] / r,
                'ahead': ahead, 'r': r, 'eye': eye, 'eye_x': abs(at('eye.L')[0])}

    def _field(self, g, body, m):
        """(V,) metres inside of the garment's rim."""
        z, y = body.vertices[:, 2], body.vertices[:, 1]
        limb, size = self._arm > 0.5, g.size
        no = -0.05
        if g.kind in ('shirt', 'jacket', 'vest'):
            collar = m['neck'][2] + size['collar'] + 0.45 * (y - m['neck'][1]) - z
            inside = np.minimum(z - (m['hip'] + size['hem']), collar)
            if size.get('open', -1) > 0:
                front = np.where(y < m['neck'][1], np.abs(body.vertices[:, 0]) - size['open'], 1)
                inside = np.minimum(inside, front)
            sleeve = size['sleeve'] * m['arm'] - m['along']
            out = np.where(limb, np.minimum(sleeve, 0.2), inside)
            return np.where(self._head > 0.5, no, out)
        if g.kind == 'trousers':
            legs = m['hip'] - size['legs'] * (m['hip'] - m['ankle'])
            return np.where(limb, no, np.minimum(m['hip'] + size['waist'] - z, z - legs))
        if g.kind == 'shoes':
            return np.where(limb, no, m['ankle'] + 0.02 + size['shaft'] - z)
        if g.kind == 'gloves':
            return np.where(limb, m['along'] - 0.95 * m['arm'], no)
        if g.kind == 'hair':
            a = m['ahead']
            front, back = size['front'], size['back']
            rim = 0.08 + (front - back) / 2 * a + ((front + back) / 2 - 0.08) * a * a
            out = m['r'] * (m['rise'] - rim)
            # strands: no rim is a clean line
            out = out + 0.004 * np.sin(900 * body.vertices[:, 0]) * np.sin(700 * z)
            return np.where((self._head > 0.35) & (self._eye < 0.1), out, no)
        rim = 0.32 + 0.15 * m['ahead']      # helmet
        return np.where(self._head > 0.5, m['r'] * (m['rise'] - rim), no)

    def dress(self, body, vertices, outfit, identity, rng):
        """Meshes of a posed, dressed body, in the frame of ``vertices``.

        Args:
            body: Body.
            vertices: (V, 3) m, posed.
            outfit: Outfit.
            identity: number of the person, from 1.
            rng: for small differences of colour.

        Returns:
            list of Mesh, the skin first.
        """
        m = self.measures(body)
        smooth = vertices
        for _ in range(4):
            smooth = self._smooth @ smooth
        smoother = smooth
        for _ in range(8):
            smoother = self._smooth @ smoother
        out_of = self.normals(smooth)
        fields = [self._field(g, body, m) for g in outfit.garments]
        cover = np.full(len(vertices), -1.0)
        meshes = []
        for g, inside in zip(outfit.garments, fields, strict=True):
            shape = smoother if g.kind in ('shoes', 'hair', 'helmet') else smooth
            shell = self._shell(g, body, m, inside, shape, out_of)
            keep = (inside[self.rig.faces] > 0).any(1)
            if not keep.any():
                continue
            thick = g.kind in ('hair', 'helmet', 'shoes')
            meshes.append(Mesh(shell, self.normals(shell) if thick else out_of, body.vertices,
                               self._dye(g, body, m), self.rig.faces[keep], inside, g.layer,
                               g.scale, g.patterned, g.wrinkles, g.gloss, 0.1, identity))
            cover = np.maximum(cover, inside)
        skin = Mesh(vertices, self.normals(vertices), body.vertices,
                    self._skin(body, outfit, m, rng), self.rig.faces, 0.03 - cover,
                    gloss=0.05, wrap=0.25, identity=identity)
        return [skin, *meshes]

    def _shell(self, g, body, m, inside, shape, out_of):
        out = np.full(len(shape), g.out)
        if g.kind == 'trousers':
            down = np.clip((m['hip'] - body.vertices[:, 2]) / (m['hip'] - m['ankle']), 0, 1)
            out += g.loose * (0.3 + 0.7 * down)
        elif g.kind in ('shirt', 'jacket', 'vest'):
            low = np.clip((m['neck'][2] - body.vertices[:, 2]) / 0.5, 0, 1)
            out += g.loose * np.where(self._arm > 0.5, 0.6, 0.2 + 0.8 * low)
        elif g.kind == 'hair':
            out += g.loose * np.clip(0.3 - m['rise'], 0, 1)
            out += 0.012 * np.clip(inside / 0.03, 0, 1)
        elif g.kind == 'helmet':
            out += g.size['brim'] * np.exp(-(inside / 0.012)**2) * np.clip(m['ahead'] + 0.4, 0, 1)
        else:
            out += g.loose
        return (shape + out[:, None].astype(np.float32) * out_of).astype(np.float32)

    def _dye(self, g, body, m):
        colour = np.tile(np.asarray(g.colour)**2, (len(body.vertices), 1))
        if g.kind == 'vest':
            z = body.vertices[:, 2] - m['hip']
            bands = (np.abs(z - 0.08) < 0.028) | (np.abs(z - 0.22) < 0.028)
            colour[bands] = 0.75
        elif g.kind == 'shoes':
            colour[body.vertices[:, 2] < body.vertices[:, 2].min() + 0.018] *= 0.35
        return colour

    def _skin(self, body, outfit, m, rng):
        v = body.vertices
        colour = np.tile(outfit.skin**2, (len(v), 1))
        lips = self.rig.lips[:, None] * 0.7
        colour = (1 - lips) * colour + lips * (outfit.skin**2 * [0.85, 0.45, 0.45])
        d = v - m['eye']
        side = np.abs(np.abs(d[:, 0]) - m['eye_x'])
        brow = (self._head > 0.5) & (d[:, 1] < 0.02) & (side < 0.021) & (
            np.abs(d[:, 2] - 0.021 - 0.15 * side) < 0.006)
        colour[brow] = 0.3 * colour[brow] + 0.7 * outfit.hair**2
        eye = self._eye > 0.5
        colour[eye] = 0.62
        iris = eye & (side**2 + d[:, 2]**2 < 0.0058**2)
        colour[iris] = np.array([[0.06, 0.035, 0.02], [0.05, 0.09, 0.16]])[rng.integers(2)]
        return colour
