"""``lifting-ros eval chain``: from the image to joints in metres, on rendered people kept out.

    lifting-ros render crops --held-out --out runs/held_out_crops --count 300 --seed 9
    lifting-ros eval chain --rendered runs/held_out_crops

The poses are those of subjects that no fit and no training has seen; bodies, clothes, cameras and
rooms are drawn anew.
"""

import json
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import chi2

from ..camera import Camera
from . import measures
from .gallery import gallery
from .tables3d import calibration, measure, show


@dataclass(frozen=True, eq=False)
class Picture:
    """A rendered person: image (H, W, 3) uint8 BGR, Camera, box (4,) px, up (3,), joints
    (17, 3) m in its optical frame, keypoints (17, 2) px, visible (17,), stature m.
    """

    image: np.ndarray
    camera: Camera
    box: np.ndarray
    up: np.ndarray
    joints: np.ndarray
    keypoints: np.ndarray
    visible: np.ndarray
    stature: float


def pictures(folder, limit=None):
    """The rendered people of a folder of ``lifting-ros render crops``.

    Raises:
        ValueError: there are none.
    """
    out = []
    for table in sorted(Path(folder).glob('*.npz')):
        with (np.load(table, allow_pickle=False) as data,
              zipfile.ZipFile(table.with_suffix('.zip')) as file):
            for i, name in enumerate(data['name']):
                raw = np.frombuffer(file.read(str(name)), np.uint8)
                image = cv2.imdecode(raw, cv2.IMREAD_COLOR)
                row = {k: data[k][i].astype(float) for k in ('box', 'up', 'joints', 'keypoints')}
                camera = Camera(data['K'][i], image.shape[1], image.shape[0])
                out.append(Picture(image, camera, visible=data['visible'][i],
                                   stature=float(data['stature'][i]), **row))
                if limit and len(out) == limit:
                    return out
    if not out:
        raise ValueError(f'{folder} holds no rendered people: lifting-ros render crops '
                         f'--held-out --out {folder}')
    return out


@dataclass(eq=False)
class Result:
    """What came out for N pictures: joints (N, 17, 3) and covariance (N, 17, 3, 3), NaN where
    there is nobody; keypoints (N, 17, 2) and their covariance (N, 17, 2, 2), px; seen (N, 17).
    """

    joints: np.ndarray
    covariance: np.ndarray
    keypoints: np.ndarray
    keypoint_covariance: np.ndarray
    seen: np.ndarray

    @classmethod
    def nothing(cls, n):
        return cls(np.full((n, 17, 3), np.nan), np.full((n, 17, 3, 3), np.nan),
                   np.full((n, 17, 2), np.nan), np.full((n, 17, 2, 2), np.nan),
                   np.zeros((n, 17), bool))


def true_keypoints(lifter, shots, seed=0, noise=1.0):
    """Lifts of the true keypoints of visible joints with ``noise`` px: what the lifter does."""
    rng, out = np.random.default_rng(seed), Result.nothing(len(shots))
    for i, p in enumerate(shots):
        pixels = p.keypoints + rng.normal(0, noise, (17, 2))
        told = noise ** 2 * np.eye(2) * np.ones((1, 17, 1, 1))
        _lift(out, i, lifter, pixels, p.visible.astype(float), told[0], p, p.up)
    return out


def _lift(out, i, lifter, pixels, confidence, covariance, picture, up, **given):
    lifted = lifter.lift(pixels[None], confidence[None], picture.camera, up, covariance[None],
                         **given)
    out.joints[i], out.covariance[i] = lifted.joints[0], lifted.covariance[0]
    out.keypoints[i], out.keypoint_covariance[i] = pixels, covariance
    out.seen[i] = confidence >= 0.05


def boxes_given(estimator, shots, progress=iter):
    """Keypoints of the network for each picture, the person's box being known."""
    return [estimator.keypoints(p.image, p.box[None]) for p in progress(shots)]


def lift_all(lifter, shots, found, gravity=True, stature=False):
    """Lift the keypoints of :func:`boxes_given`."""
    out = Result.nothing(len(shots))
    for i, (p, k) in enumerate(zip(shots, found, strict=True)):
        given = {'stature': p.stature} if stature else {}
        _lift(out, i, lifter, k.xy[0], k.confidence[0], k.covariance[0], p,
              p.up if gravity else None, **given)
    return out


def whole(pipeline, shots, progress=iter):
    """The pipeline as a user calls it: the person is found too. Of several people it finds, the
    one whose box is the picture's person's counts.
    """
    out = Result.nothing(len(shots))
    for i, p in enumerate(progress(shots)):
        people = pipeline(p.image, p.camera, up=p.up)
        overlap = [_iou(q.box, p.box) for q in people]
        if not people or max(overlap) < 0.3:
            continue
        best = people[int(np.argmax(overlap))]
        out.joints[i], out.covariance[i] = best.joints, best.covariance
        out.keypoints[i] = best.keypoints
        out.keypoint_covariance[i] = best.keypoint_covariance
        out.seen[i] = best.keypoint_confidence >= 0.05
    return out


def _iou(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    inner = np.prod(np.maximum(high - low, 0))
    return inner / max(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inner, 1e-9)


def rows(name, result, shots):
    """Table rows of a result: everybody, visible and hidden joints, people cut off and whole,
    and how well the keypoints' own covariances hold (``within`` of 2 degrees of freedom).
    """
    truth = np.array([p.joints for p in shots])
    visible = np.array([p.visible for p in shots])
    pixels = np.array([p.keypoints for p in shots])
    size = np.array([[p.camera.width, p.camera.height] for p in shots])[:, None]
    inside = ((pixels >= 0) & (pixels < size)).all((1, 2))
    out = {name: measure(result.joints, truth, result.covariance)}
    ok = np.isfinite(result.joints).all((1, 2))
    for text, chosen in (('whole person in view', inside), ('person cut off', ~inside)):
        if (ok & chosen).any():
            out[f'{name}: {text}'] = measure(result.joints, truth, result.covariance, chosen)
    if not ok.any():
        return out
    square = measures.mahalanobis(result.joints[ok], truth[ok], result.covariance[ok])
    error = measures.joint_errors(measures.root_relative(result.joints[ok]),
                                  measures.root_relative(truth[ok]))
    for text, which in (('visible joints', visible[ok]), ('hidden joints', ~visible[ok])):
        if which.any():
            out[f'{name}: {text}'] = {'joints': int(which.sum()),
                                      'mpjpe': round(1e3 * float(error[which].mean()), 2),
                                      **calibration(square[which])}
    out[f'{name}: keypoints'] = keypoint_row(result, pixels, visible)
    return out


def keypoint_row(result, pixels, visible):
    """Keypoints of visible joints that were seen: mean error in px and what their covariances
    hold.
    """
    use = visible & result.seen & np.isfinite(result.keypoints).all(-1)
    off = (result.keypoints - pixels)[use]
    if not len(off):
        return {'joints': 0}
    spread = result.keypoint_covariance[use]
    good = np.isfinite(spread).all((1, 2))
    square = (off[good] * np.linalg.solve(spread[good], off[good][..., None])[..., 0]).sum(-1)
    out = {'joints': len(off), 'px': round(float(np.linalg.norm(off, axis=-1).mean()), 2)}
    return out | {f'within_{q}': round(100 * float((square <= chi2.ppf(q / 100, 2)).mean()), 2)
                  for q in (50, 90, 95)}


def evaluate(pipeline, shots, seed=0, progress=iter, found=None):
    """All rows; see :func:`rows`. ``found``: of :func:`boxes_given`, where that is there."""
    lifter = pipeline.lifter
    table = rows('true keypoints + 1 px', true_keypoints(lifter, shots, seed), shots)
    found = found or boxes_given(pipeline.estimator, shots, progress)
    for name, given in (('network', {}), ('network, stature given', {'stature': True}),
                        ('network, gravity unknown', {'gravity': False})):
        table |= rows(name, lift_all(lifter, shots, found, **given), shots)
    return table | rows('pipeline, people found', whole(pipeline, shots, progress), shots)


def add_arguments(parser):
    parser.add_argument('--rendered', required=True,
                        help='folder of "lifting-ros render crops --held-out"')
    parser.add_argument('--weights', help='a network\'s file (the shipped one)')
    parser.add_argument('--people', type=int, help='at most so many pictures (all)')
    parser.add_argument('--seed', type=int, default=0, help='of the true keypoints\' noise')
    parser.add_argument('--json', help='write the table here')
    parser.add_argument('--pictures', metavar='FILE', help='write the worst twelve here (JPEG, '
                        'PNG): found in colour, the truth in white')


def run(args):
    from tqdm import tqdm

    from ..pipeline import Pipeline
    shots = pictures(args.rendered, args.people)
    pipeline = Pipeline.from_pretrained(weights=args.weights)

    def progress(items):
        return tqdm(items, disable=not sys.stderr.isatty())
    found = boxes_given(pipeline.estimator, shots, progress)
    if args.pictures:
        worst, _ = gallery(lift_all(pipeline.lifter, shots, found), shots, found)
        if not cv2.imwrite(args.pictures, worst):
            raise ValueError(f'{args.pictures} cannot be written')
    table = evaluate(pipeline, shots, args.seed, progress, found)
    print(show(table))
    if args.json:
        with open(args.json, 'w') as f:
            json.dump(table, f, indent=1)
    return 0
