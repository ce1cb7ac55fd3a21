"""How wide a lift's covariances are made, so that they hold what they say (design.md 5.3).

The density's Gaussian is as sure as its training was. What other people's skeletons really add
was measured on people that a density had not seen; a small network says from what is known of a
lift by how much each joint's covariance grows along its ray and across it. Fitted by
``lifting_ros.training.calibrate``.
"""

from dataclasses import replace

import numpy as np

from ..prior.file import WeightsError
from ..skeleton import BONES, JOINTS, NECK, NUM_JOINTS

#: Kinds of joints, left and right alike.
KINDS = tuple(dict.fromkeys(n.split('_', 1)[-1] if n[:4] in ('left', 'righ') else n
                            for n in JOINTS))
KIND = np.array([next(i for i, k in enumerate(KINDS) if n.endswith(k)) for n in JOINTS])
#: Numbers that :func:`describe` gives of each person and of each joint.
PERSON, JOINT = 10, 11
#: Which number of a person says whether the scale is known.
SCALED = 6
#: What names of tensors in a file begin with.
PREFIX = 'calibration.'
#: Logarithms of factors on a variance are kept within this.
MOST = 3.0
_INDEX = np.arange(NUM_JOINTS)


def _hops():
    """Bones between any two joints (17, 17), up to 4."""
    out = np.full((NUM_JOINTS, NUM_JOINTS), 4.0)
    np.fill_diagonal(out, 0)
    for a, b in BONES:
        out[a, b] = out[b, a] = 1
    for k in range(NUM_JOINTS):
        out = np.minimum(out, out[:, k:k + 1] + out[k:k + 1])
    return out


HOPS = _hops()


def blocks(covariance):
    """The joints' own covariances (B, 17, 3, 3) of a covariance (B, 51, 51)."""
    b = len(covariance)
    return covariance.reshape(b, NUM_JOINTS, 3, NUM_JOINTS, 3)[:, _INDEX, :, _INDEX].swapaxes(0, 1)


def describe(found, own, weight, rise, known, scaled):
    """What the calibration is told of a lift.

    Args:
        found: :class:`~lifting_ros.lifting.linear.Posterior`; own: (B, 17, 3, 3) its
            covariances' diagonal blocks.
        weight: (B, 17) confidence, 0 not seen.
        rise: (B,) sine of the mean ray's elevation; known: (B,) whether gravity is.
        scaled: (B,) whether stature, ground or depth are known.

    Returns:
        person (B, PERSON), joint (B, 17, JOINT), and unit rays (B, 17, 3) to the joints.
    """
    seen = weight > 0
    far = np.sqrt((found.mean ** 2).sum(-1))
    rays = found.mean / np.maximum(far, 1e-9)[..., None]
    along = ((own @ rays[..., None])[..., 0] * rays).sum(-1)
    across = (own[..., 0, 0] + own[..., 1, 1] + own[..., 2, 2] - along) / 2
    place = found.mean - found.mean[:, :1]
    nearest = np.where(seen[:, None], HOPS, 4.0).min(-1)
    joint = np.stack((seen, weight, np.log(np.maximum(along, 1e-10)),
                      np.log(np.maximum(across, 1e-10)), nearest, np.log1p(found.square),
                      found.weight, np.log1p(found.odd), place[..., 2], far - far[:, :1],
                      np.sqrt((place ** 2).sum(-1))), -1)
    count = np.maximum(seen.sum(1), 1)
    person = np.stack((count / NUM_JOINTS, np.log1p(found.square.sum(1) / count),
                       np.log1p(found.stretched), np.log1p(found.strange), known,
                       np.where(known, rise, 0), scaled, np.log(np.maximum(far[:, 0], 1e-3)),
                       place[:, NECK, 2], np.log(np.maximum(along, 1e-10)).mean(1)), -1)
    return person, joint, rays


def grown(own, rays, factor):
    """Covariances with other variances along rays and across them.

    Args:
        own: (B, 17, 3, 3); rays: (B, 17, 3) unit; factor: (B, 17, 2) on the variance across and
            along.

    Returns:
        (B, 17, 3, 3).
    """
    by = _stretch(rays, factor)
    return by @ own @ by


def _stretch(rays, factor):
    across, along = np.sqrt(factor[..., 0]), np.sqrt(factor[..., 1])
    return (across[..., None, None] * np.eye(3)
            + ((along - across)[..., None] * rays)[..., None] * rays[..., None, :])


def grown_whole(found, rays, factor):
    """The posterior with :func:`grown` covariances, joints' covariances with others alike."""
    by, b = _stretch(rays, factor), len(rays)
    half = (by @ found.covariance.reshape(b, NUM_JOINTS, 3, -1)).reshape(b, -1, NUM_JOINTS * 3)
    whole = by @ half.swapaxes(1, 2).reshape(b, NUM_JOINTS, 3, -1)
    return replace(found, covariance=whole.reshape(b, NUM_JOINTS * 3, NUM_JOINTS * 3))


def metric(mean, own, stature):
    """Joints in metres.

    Args:
        mean: (B, 17, 3), own: (B, 17, 3, 3), in statures; stature: (B, 2) mean and sigma of log
            stature.

    Returns:
        mean (B, 17, 3) m and covariance (B, 17, 3, 3) m^2.
    """
    size = np.exp(stature[:, 0])[:, None, None]
    mean = size * mean
    scaled = stature[:, 1, None, None] * mean
    return mean, (size ** 2)[..., None] * own + scaled[..., :, None] * scaled[..., None, :]


class Constant:
    """Factors that depend on nothing but the joint and whether it is seen.

    Args:
        factors: (2, 17) on the variance where seen, and not seen.
    """

    def __init__(self, factors):
        self.factors = factors

    def __call__(self, person, joint):
        """As :class:`Calibration`'s."""
        own = np.where(joint[..., 0] > 0, *self.factors)
        return own[..., None].repeat(2, -1), np.ones(len(own)), np.ones_like(own)


class Calibration:
    """The network.

    Args:
        tensors: name -> array: ``person`` (PERSON, H), ``joint`` (JOINT, H), ``kind`` (kinds,
            H), ``out`` (H, 2), ``bias`` (2); ``person_range`` and ``joint_range`` (2, ...),
            least and greatest of what it was fitted on, to which all it is told is clipped;
            ``stature`` (1,), log factor on the variance of the prior's stature; ``total`` (2, 2,
            kinds), log factors on whole covariances, by whether the scale is known, whether the
            joint is seen, and its kind.

    Raises:
        WeightsError: a tensor is missing, of another shape or not finite.
    """

    def __init__(self, tensors):
        width = len(np.atleast_1d(tensors.get('out', ())))
        shapes = {'person': (PERSON, width), 'joint': (JOINT, width), 'kind': (len(KINDS), width),
                  'out': (width, 2), 'bias': (2,), 'person_range': (2, PERSON),
                  'joint_range': (2, JOINT), 'stature': (1,), 'total': (2, 2, len(KINDS))}
        for name, shape in shapes.items():
            value = tensors.get(name)
            if value is None or np.shape(value) != shape or not np.isfinite(value).all():
                raise WeightsError(
                    f'the calibration of the learned density is damaged: {name} is of shape '
                    f'{np.shape(value)} or not finite; {shape} was expected')
        self.tensors = {k: np.asarray(tensors[k], dtype=np.float64) for k in shapes}
        self.total = np.exp(np.clip(self.tensors['total'], -MOST, MOST))[..., KIND]
        self.stature = float(np.exp(np.clip(self.tensors['stature'][0], -MOST, MOST)))

    @classmethod
    def of(cls, layers):
        """The calibration in a file's tensors, or None where there is none."""
        own = {k[len(PREFIX):]: v for k, v in layers.items() if k.startswith(PREFIX)}
        return cls(own) if own else None

    def __call__(self, person, joint):
        """Factors on variances.

        Args:
            person, joint: of :func:`describe`.

        Returns:
            (B, 17, 2) across and along the ray, (B,) of the stature, (B, 17) of all together.
        """
        t = self.tensors
        inner = (np.clip(person, *t['person_range']) @ t['person'])[:, None]
        inner = inner + np.clip(joint, *t['joint_range']) @ t['joint']
        inner = np.tanh(inner + t['kind'][KIND])
        own = np.exp(np.clip(inner @ t['out'] + t['bias'], -MOST, MOST))
        scaled, seen = person[:, SCALED] > 0.5, joint[..., 0] > 0.5
        pair = self.total[scaled.astype(int)]
        return (own, np.where(scaled, 1.0, self.stature),
                np.where(seen, pair[:, 1], pair[:, 0]))
