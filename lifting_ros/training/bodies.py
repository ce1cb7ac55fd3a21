"""Human bodies of random shape: the body model ``anny`` behind plain numpy.

Frame of a body at rest: metres, z up, the person faces -y, its left is +x. Only the shapes
come from the model; posing (linear blend skinning) is done here, so that a pose is nothing but
one rotation for each bone. ``anny`` (Apache-2.0, shapes from MakeHuman, CC0) is needed for
making data only: see requirements/render.txt.
"""

import logging
import os
from dataclasses import dataclass

import numpy as np

from ..skeleton import INDEX, NUM_JOINTS

_log = logging.getLogger(__name__)
_SIDES = (('left', 'L'), ('right', 'R'))
#: Joints of the project that are heads of bones, {side} and {s} filled in.
_RIG = {'hip': 'upperleg01', 'knee': 'lowerleg01', 'ankle': 'foot',
        'shoulder': 'upperarm01', 'elbow': 'lowerarm01', 'wrist': 'wrist'}
#: How far from the middle of the shoulders to the lowest neck bone our neck is.
_NECK_RAISE = 0.5


@dataclass(frozen=True, eq=False)
class Rig:
    """What all shapes share.

    Args:
        bones: names of the B bones; parents: (B,) index or -1.
        weights: (V, B) float32 skinning weights.
        faces: (F, 3) int32.
        lips, eyes: (V,) float32, 0..1: where the skin is lip, the eyeball's front.
        nose, top: (V,) index of the nose's tip and of the highest vertex at rest.
    """

    bones: tuple
    parents: tuple
    weights: np.ndarray
    faces: np.ndarray
    lips: np.ndarray
    nose: int
    top: int

    def bone(self, name):
        """Index of a bone."""
        return self.bones.index(name)

    def share(self, *starts):
        """(V,) share of each vertex's weight that is on bones whose name starts so."""
        pick = [i for i, b in enumerate(self.bones) if b.startswith(starts)]
        return self.weights[:, pick].sum(1)


@dataclass(frozen=True, eq=False)
class Body:
    """One person's shape at rest.

    Args:
        rig: Rig.
        vertices: (V, 3) m; heads: (B, 3) m, the bones' heads; in the rest frame.
        stature: m.
        shape: dict of the shape parameters, for the record.
    """

    rig: Rig
    vertices: np.ndarray
    heads: np.ndarray
    stature: float
    shape: dict

    def pose(self, rotations, root):
        """Pose the body.

        Args:
            rotations: (B, 3, 3) rotation of each bone from rest to the world.
            root: (3,) m, where the middle of the hips goes.

        Returns:
            vertices (V, 3), heads (B, 3), m in the world, float32 and float64.
        """
        rig = self.rig
        heads = np.empty_like(self.heads)
        heads[0] = 0
        for b in range(1, len(rig.bones)):
            p = rig.parents[b]
            heads[b] = heads[p] + rotations[p] @ (self.heads[b] - self.heads[p])
        hips = [rig.bone(f'upperleg01.{s}') for s in 'LR']
        heads += np.asarray(root) - heads[hips].mean(0)
        shift = heads - np.einsum('bij,bj->bi', rotations, self.heads)
        table = np.concatenate((rotations.reshape(-1, 9), shift), 1).astype(np.float32)
        m = rig.weights @ table
        v = np.einsum('vij,vj->vi', m[:, :9].reshape(-1, 3, 3), self.vertices) + m[:, 9:]
        return v.astype(np.float32), heads

    def joints(self, vertices, heads):
        """The project's 17 joints of a posed body, (17, 3) m.

        Hips, knees, ankles, shoulders, elbows and wrists are the rig's joint centres; pelvis is
        the middle of the hips; neck the middle of the shoulders raised half the way to the
        lowest neck joint (the base of the neck); spine their middle; nose the tip of the nose
        and head_top the top of the head, on the skin.
        """
        out = np.empty((NUM_JOINTS, 3))
        for side, s in _SIDES:
            for joint, bone in _RIG.items():
                out[INDEX[f'{side}_{joint}']] = heads[self.rig.bone(f'{bone}.{s}')]
        out[INDEX['pelvis']] = (out[INDEX['left_hip']] + out[INDEX['right_hip']]) / 2
        middle = (out[INDEX['left_shoulder']] + out[INDEX['right_shoulder']]) / 2
        out[INDEX['neck']] = middle + _NECK_RAISE * (heads[self.rig.bone('neck01')] - middle)
        out[INDEX['spine']] = (out[INDEX['pelvis']] + out[INDEX['neck']]) / 2
        out[INDEX['nose']] = vertices[self.rig.nose]
        out[INDEX['head_top']] = vertices[self.rig.top]
        return out


class Bodies:
    """Random bodies: adults mostly, of both sexes, of many builds and proportions.

    Raises:
        ImportError: the body model is not installed; the message says how to get it.
    """

    def __init__(self):
        try:
            import warnings

            import torch
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')   # it asks for a CUDA library that we don't use
                import anny
                torch.set_num_threads(1)
                _log.info('making the body model; the first time takes a minute')
                self._model = anny.Anny()
        except ImportError as error:
            raise ImportError(f'rendering people needs the body model ({error}): '
                              'pip install --no-deps -r requirements/render.txt') from error
        self._torch = torch
        m = self._model
        weights = np.zeros((len(m.template_vertices), m.bone_count), dtype=np.float32)
        index = m.vertex_bone_indices.numpy()
        np.add.at(weights, (np.arange(len(weights))[:, None], index),
                  m.vertex_bone_weights.numpy().astype(np.float32))
        rest, _ = self._rest({})
        nose = int(np.argmin(np.where((np.abs(rest[:, 0]) < 0.01) & (rest[:, 2] > 0.60),
                                      rest[:, 1], 9)))
        self.rig = Rig(tuple(m.bone_labels), tuple(int(p) for p in m.bone_parents), weights,
                       m.faces.numpy().astype(np.int32), self._lips(anny), nose,
                       int(rest[:, 2].argmax()))

    def _lips(self, anny):
        """(V,) how much of a vertex is lip, from the model's texture mask."""
        import cv2
        m = self._model
        folder = os.path.join(os.path.dirname(anny.__file__), 'data', 'mpfb2', 'textures')
        mask = cv2.imread(os.path.join(folder, 'mpfb_lips.jpg'), cv2.IMREAD_GRAYSCALE)
        out = np.zeros(len(m.template_vertices), dtype=np.float32)
        if mask is None:
            return out
        uv = m.texture_coordinates.numpy()
        h, w = mask.shape
        at = mask[np.clip(((1 - uv[:, 1]) * h).astype(int), 0, h - 1),
                  np.clip((uv[:, 0] * w).astype(int), 0, w - 1)] / 255.0
        faces, of_uv = m.faces.numpy(), m.face_texture_coordinate_indices.numpy()
        out[faces.ravel()] = at[of_uv.ravel()]
        return out

    def _rest(self, shape):
        values = {k: 0.5 for k in self._model.phenotype_labels} | {'age': 0.67} | shape
        with self._torch.no_grad():
            out = self._model(phenotype_kwargs=values)
        return out['rest_vertices'][0].numpy(), out['rest_bone_heads'][0].numpy()

    def make(self, shape, stature=None):
        """A body of given shape parameters (0..1: gender 0 male, age, muscle, weight, height,
        proportions), scaled to ``stature`` metres where given.
        """
        v, heads = self._rest(shape)
        tall = float(v[:, 2].max() - v[:, 2].min())
        scale = 1.0 if stature is None else stature / tall
        return Body(self.rig, (v * scale).astype(np.float32), heads * scale, tall * scale,
                    dict(shape))

    def sample(self, rng):
        """A random body.

        Statures are those of adults, log-normal with sigma 0.06 over both sexes; one in twenty
        is a child of 6 to 14 years.
        """
        gender = float(np.clip(rng.choice((0.08, 0.92)) + rng.normal(0, 0.12), 0, 1))
        child = rng.random() < 0.05
        age = rng.uniform(0.25, 0.45) if child else rng.uniform(0.55, 0.95)
        shape = {'gender': gender, 'age': float(age),
                 'muscle': float(np.clip(rng.normal(0.5, 0.18), 0.05, 0.95)),
                 'weight': float(np.clip(rng.normal(0.5, 0.2), 0.05, 1.0)),
                 'height': float(np.clip(rng.normal(0.5, 0.13), 0.2, 0.8)),
                 'proportions': float(np.clip(rng.normal(0.5, 0.22), 0.0, 1.0))}
        stature = None if child else float((1.76 - 0.13 * gender)
                                           * np.exp(rng.normal(0, 0.042)))
        return self.make(shape, stature)
