"""People lifted before random cameras, and how far off they are: for calibrations."""

from dataclasses import dataclass, fields

import numpy as np

from ..evaluation import measures
from ..evaluation.scenes import scenes
from ..lifting.believe import Believer
from ..lifting.calibration import grown, metric
from ..lifting.lifter import Lifter
from ..skeleton import INDEX, LSP_JOINTS, NUM_JOINTS
from .mocap import stature

_LEGS = [INDEX[f'{s}_{j}'] for s in ('left', 'right') for j in ('knee', 'ankle')]
_COCO = [j for n, j in INDEX.items() if n not in ('pelvis', 'spine', 'neck', 'head_top')]


@dataclass(frozen=True, eq=False)
class Cases:
    """N lifted people, z up.

    Args:
        person, joint, rays: of :func:`~lifting_ros.lifting.calibration.describe`.
        own: (N, 17, 3, 3) statures^2; size: (N, 2) stature in metres and sigma of its log.
        mean: (N, 17, 3) statures, as lifted; off: (N, 17, 3) m, truth less lifted.
        share: (N,) what each person counts.
    """

    person: np.ndarray
    joint: np.ndarray
    rays: np.ndarray
    own: np.ndarray
    size: np.ndarray
    mean: np.ndarray
    off: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, draft, joints, share=1.0):
        """Cases of a lift's :class:`~lifting_ros.lifting.believe.Draft` and the true joints
        (N, 17, 3) m in the optical frame.
        """
        size = np.exp(draft.sizes[:, 0])
        off = joints @ draft.to_up.swapaxes(1, 2) - size[:, None, None] * draft.found.mean
        return cls(draft.person, draft.joint, draft.rays, draft.own,
                   np.stack((size, draft.sizes[:, 1]), -1), draft.found.mean, off,
                   np.full(len(size), share))

    def __len__(self):
        return len(self.person)


def joined(parts):
    """One Cases of several."""
    return Cases(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Cases)))


def squares(calibration, cases):
    """Squared Mahalanobis distances (N, 17) of the truth under a calibration."""
    own, of_stature, total = calibration(cases.person, cases.joint)
    size = np.stack((np.log(cases.size[:, 0]), cases.size[:, 1] * np.sqrt(of_stature)), -1)
    covariance = metric(cases.mean, grown(cases.own, cases.rays, own), size)[1]
    return measures.mahalanobis(0 * cases.off, cases.off, covariance) / total


class Ear(Believer):
    """A lifter's inner part whose last draft can be had: ``heard``, None before the first."""

    heard = None

    @classmethod
    def put_into(cls, lifter):
        """A lifter like another, without its calibration, and the ear in it."""
        ear = cls(lifter.prior, lifter.density)
        lifter = Lifter(lifter.prior, density=lifter.density)
        lifter._way = ear
        return lifter, ear

    def draft(self, sight):
        """The draft, remembered."""
        self.heard = super().draft(sight)
        return self.heard


def collect(lifter, joints, rng, share=1.0, batch=100):
    """Lift people before random cameras and see how far off they are.

    Two in five have fourteen joints, the others fewer; some have noisy keypoints, one that is
    grossly wrong, or unknown gravity; of two in five the stature is given.

    Args:
        lifter: :class:`~lifting_ros.lifting.Lifter` with a density.
        joints: (N, 17, 3) m, z up.
        rng: numpy Generator.
        share: what each person counts.
        batch: people before one camera (one focal length).

    Returns:
        Cases.
    """
    lifter, ear = Ear.put_into(lifter)
    return joined([_collect(lifter, ear, joints[i:i + batch], rng, share)
                   for i in range(0, len(joints), batch)])


def _collect(lifter, ear, joints, rng, share):
    n = len(joints)
    s = scenes(joints, rng, pitch=(-10, 55), distance=(1.6, 7), noise=0,
               given=range(NUM_JOINTS), focal=(420, 850))
    sigma = np.where(rng.random(n) < 0.6, rng.uniform(1, 3, n), rng.uniform(2, 9, n))
    keypoints = s.keypoints + sigma[:, None, None] * rng.standard_normal(s.keypoints.shape)
    wrong = np.flatnonzero(rng.random(n) < 0.08)
    keypoints[wrong, rng.choice(LSP_JOINTS, len(wrong))] += rng.normal(0, 40, (len(wrong), 2))
    # who is not noisy mostly has the default, as most users have
    told = np.where(((sigma > 3) | (rng.random(n) < 0.3))[:, None, None],
                    (sigma ** 2)[:, None, None] * np.eye(2), np.nan)
    up = np.where((rng.random(n) < 0.8)[:, None], s.up, np.nan)
    given = stature(s.joints) * np.exp(rng.normal(0, 0.02, n))
    given[rng.random(n) < 0.6] = np.nan
    lifter.lift(keypoints, s.confidence * _seen(n, rng), s.camera, up,
                np.repeat(told[:, None], NUM_JOINTS, 1), given)
    return Cases.of(ear.heard, s.joints, share)


def _seen(n, rng):
    """Which joints (n, 17) are seen: the fourteen, fewer of them, legs out of view, COCO's."""
    out = np.zeros((n, NUM_JOINTS))
    out[:, list(LSP_JOINTS)] = 1
    what = rng.random(n)
    out[what > 0.85] = np.isin(np.arange(NUM_JOINTS), _COCO)
    for i in np.flatnonzero((what > 0.4) & (what < 0.75)):
        gone = rng.integers(1, 10) if what[i] < 0.65 else 6
        out[i, rng.permutation(LSP_JOINTS)[:gone]] = 0
    out[np.ix_((what > 0.75) & (what < 0.9), _LEGS)] = 0
    return out
