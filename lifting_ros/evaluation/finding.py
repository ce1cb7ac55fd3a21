"""``lifting-ros eval find``: people in whole photographs kept out of training, beside peers.

A person is found when OKS over nose and limbs is above 0.5. Everybody with five or more labelled
joints and 60 px or taller counts; who has fewer, and the boxes of people without labels, count
neither for nor against. Beside it: how many people a network sees in photos without any, at the
score where it does best with people (F1).
"""

import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..training import photos
from .finders import finders
from .measures2d import box_area, oks

log = logging.getLogger(__name__)

#: Heights of boxes that are small, medium and large, as shares of the photo's longer side.
SIZES = {'small': (0.0, 0.25), 'medium': (0.25, 0.6), 'large': (0.6, np.inf)}
_FOUND = 0.5
_LEAST = 0.08       # height of the centre map from which a person is looked at in a crop


@dataclass
class Scene:
    """A photo and who is in it.

    Args:
        image: (H, W, 3) uint8 BGR.
        people: list of :class:`~lifting_ros.training.photos.Labelled`.
        others: (M, 4) boxes of people without labels, px.
        kind: 'coco', 'coco empty' or 'background'.
    """

    image: np.ndarray
    people: list
    others: np.ndarray
    kind: str


def scenes(data, kept_out=True):
    """Photos of COCO with people and without, and backgrounds.

    Args:
        data: folder of the photos; kept_out: those kept out of training, or the others.

    Returns:
        list of Scene.
    """
    some = []
    for _, image, people, others in photos.coco_photos(data, kept_out):
        boxes = np.array([b[:4] for b in others or ()], np.float64).reshape(-1, 4)
        empty = not people and not len(boxes)
        some.append(Scene(image, people, boxes, 'coco empty' if empty else 'coco'))
    nobody = np.zeros((0, 4))
    return some + [Scene(image, [], nobody, 'background')
                   for image in photos.photos_without_people(data, kept_out)]


def _similarity(keypoints, people):
    """OKS of every found person with every labelled one: (M, N)."""
    values = np.zeros((len(keypoints), len(people)))
    for n, person in enumerate(people):
        area = np.full(len(keypoints), box_area(person.box[None])[0])
        labelled = np.broadcast_to(person.visible > 0, keypoints.shape[:2])
        truth = np.broadcast_to(np.nan_to_num(person.keypoints), keypoints.shape)
        values[:, n] = np.nan_to_num(oks(keypoints, truth, labelled, area))
    return values


def _within(keypoints, boxes):
    """Share of each found person's joints that lie in the fittest of the boxes: (M,)."""
    if not len(boxes) or not len(keypoints):
        return np.zeros(len(keypoints))
    xy = keypoints[:, None]
    inside = (xy >= boxes[:, None, :2]) & (xy <= boxes[:, None, 2:])       # (M, B, 17, 2)
    known = np.isfinite(keypoints).all(-1)[:, None]
    return ((inside.all(-1) & known).sum(-1) / np.maximum(known.sum(-1), 1)).max(1)


def judge(keypoints, scores, people, counted, others):
    """Which of the people found in a photo are right.

    The surest choose first, each the person it fits best that nobody has yet.

    Args:
        keypoints: (M, 17, 2) px, NaN where a network lacks the joint.
        scores: (M,).
        people: list of Labelled; counted: (N,) bool, those that are measured.
        others: (B, 4) boxes of people without labels.

    Returns:
        (M,) int: 1 right, 0 wrong, -1 neither (a person who is not measured).
    """
    verdict = np.zeros(len(scores), int)
    if not len(scores):
        return verdict
    value = _similarity(keypoints, people)
    doubtful = _within(keypoints, others) > 0.5
    free = np.ones(len(people), bool)
    for m in np.argsort(-scores, kind='stable'):
        for group, says in ((counted, 1), (~counted, -1)):
            fit = np.where(free & group, value[m], 0.0)
            if len(fit) and fit.max() > _FOUND:
                verdict[m] = says
                if says > 0:        # a crowd without labels may hold several
                    free[fit.argmax()] = False
                break
        else:
            verdict[m] = -1 if doubtful[m] else 0
    return verdict


def average_precision(right, scores, people):
    """AP as COCO has it: precision at 101 recalls, made falling.

    Args:
        right: (M,) bool; scores: (M,); people: how many there are.

    Returns:
        AP, and a dict of precision, recall and threshold where their F1 is best.
    """
    if not people or not len(scores):
        return 0.0, {'precision': 0.0, 'recall': 0.0, 'threshold': np.inf}
    order = np.argsort(-scores, kind='stable')
    hits = np.cumsum(right[order])
    recall, precision = hits / people, hits / np.arange(1, len(hits) + 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1.argmax())
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, 101))
    ap = np.append(falling, 0.0)[at].mean()
    return float(ap), {'precision': float(precision[best]), 'recall': float(recall[best]),
                       'threshold': float(scores[order][best])}


def figures(found, some):
    """The measures of one network.

    Args:
        found: per scene (keypoints (M, 17, 2) px, scores (M,)); some: list of Scene.

    Returns:
        dict: ap, precision, recall, threshold, people, ap_<size>, people_<size>, and under
        ``empty`` for each kind of photo without people how many there are and how many people
        are seen in them.
    """
    table = {}
    with_people = [(f, s) for f, s in zip(found, some) if s.kind == 'coco']
    for size, (low, high) in {'': (0.0, np.inf), **SIZES}.items():
        verdicts, total = [], 0
        for (keypoints, scores), scene in with_people:
            longer = max(scene.image.shape[:2])
            height = np.array([(p.box[3] - p.box[1]) / longer for p in scene.people])
            counted = np.array([photos.measured(p) for p in scene.people], bool)
            counted &= (height >= low) & (height < high)
            total += counted.sum()
            verdicts.append(judge(keypoints, scores, scene.people, counted, scene.others))
        verdict = np.concatenate(verdicts + [np.zeros(0, int)])
        scores = np.concatenate([f[1] for f, _ in with_people] + [np.zeros(0)])
        if size:        # a wrong one is of no size: only recall can be told apart
            table[f'recall_{size}'] = float(
                (verdict[scores >= table['threshold']] == 1).sum() / max(total, 1))
            table[f'people_{size}'] = int(total)
            continue
        ap, best = average_precision(verdict[verdict >= 0] == 1, scores[verdict >= 0], total)
        table |= {'ap': ap, **best, 'people': int(total), 'photos': len(with_people)}
    table['empty'] = {}
    for kind in ('coco empty', 'background'):
        theirs = [f[1] for f, s in zip(found, some) if s.kind == kind]
        table['empty'][kind] = {
            'photos': len(theirs), 'people': int(sum((s >= table['threshold']).sum()
                                                     for s in theirs))}
    return table


def table(results):
    """The figures as a Markdown table."""
    head = ('network', 'AP', 'precision', 'recall', *(f'recall, {s}' for s in SIZES),
            'false people, backgrounds', 'false people, COCO')
    rows = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    for name, r in results.items():
        cells = [name] + [f'{r[k]:.3f}' for k in ('ap', 'precision', 'recall')]
        cells += [f'{r[f"recall_{s}"]:.3f}' for s in SIZES]
        cells += [f'{r["empty"][k]["people"]} in {r["empty"][k]["photos"]}'
                  for k in ('background', 'coco empty')]
        rows.append('| ' + ' | '.join(cells) + ' |')
    others = {n: r['ap'] for n, r in results.items() if n != 'ours'}
    if 'ours' in results and others:
        best = max(others, key=others.get)
        rows.append(f'\nAP, ours / {best}: {results["ours"]["ap"] / others[best]:.3f}')
    return '\n'.join(rows)


def ours(weights=None, device='cpu'):
    """Who the network finds, down to the unsure (they are what AP ranks).

    As the pipeline does with a picture by itself, but for the score: that of the search times
    the person's confidence in the own crop.

    Returns:
        callable image -> (keypoints (M, 17, 2), scores (M,)).
    """
    from ..network import Estimator
    from ..pipeline import distinct, person_confidence
    estimator = Estimator.from_pretrained(weights, device)

    def find(image):
        boxes, score = estimator.find(image, _LEAST)
        found = estimator.keypoints(image, boxes)
        score = score * person_confidence(found.confidence)
        keep = distinct(found.xy, found.confidence, score, 0.0)
        return found.xy[keep], score[keep]
    return find


def add_arguments(parser):
    """Arguments of ``lifting-ros eval find``."""
    parser.add_argument('--data', required=True, help='folder of the labelled photos')
    parser.add_argument('--movenet', help='movenet_lightning.npz; default: ../weights of --data')
    parser.add_argument('--peers', help='folder of the .tflite peers')
    parser.add_argument('--weights', help='network weights; default: the shipped ones')
    parser.add_argument('--limit', type=int, help='photos (to try things)')
    parser.add_argument('--training', action='store_true',
                        help='on the photos of training instead, to choose thresholds on')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--json', help='write the table here too')


def run(args):
    """Print the table; write it as JSON where asked."""
    from tqdm import tqdm
    data = Path(args.data)
    some = scenes(data, not args.training)[:args.limit]
    networks = {'ours': ours(args.weights, args.device)}
    networks |= finders(args.movenet or data.parent / 'weights' / 'movenet_lightning.npz',
                        args.peers)
    results = {name: figures([find(s.image) for s in tqdm(some, desc=name, leave=False)], some)
               for name, find in networks.items()}
    first = next(iter(results.values()))
    sys.stdout.write(f'{first["people"]} people in {first["photos"]} COCO photos '
                     f'{"of" if args.training else "kept out of"} training; '
                     f'found when OKS > {_FOUND}; precision, recall and false people where F1 is '
                     'best\n\n' + table(results) + '\n')
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1) + '\n')
    return 0
