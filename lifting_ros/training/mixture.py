"""What a batch is mixed of: labelled athletes and everyday people, rendered and taught ones.

Crop ``i`` of step ``s`` depends on the seed, s and i alone, so that training can go on at any
step as if it had never stopped.
"""

import zipfile
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..network.crops import normalise
from . import photos, teacher
from .augment import Augment, crop_truth, make_crop
from .rendered import rendered

#: Shares of a batch; a source that is missing gives its share to the others.
SHARES = {'lspet': 0.6, 'coco': 0.2, 'unlabelled': 0.07, 'rendered': 0.13,
          'coco_json': 0.5, 'mpii': 0.5}
_SURE = 0.35     # the teacher is believed from this confidence on
_WEIGHT = {'lspet': 1.0, 'coco': 1.0, 'unlabelled': 0.6, 'rendered': 1.0}
#: How the teacher looks at a source; one that is not here it is not asked about.
_VIEWS = {'coco': ((1.25, 256), (1.25, 192), (1.5, 256)), 'unlabelled': ((1.25, 256),)}
_TAUGHT = 0.5    # trust in a teacher's joint beside a label


def _unlabelled(data):
    with zipfile.ZipFile(Path(data) / 'people_unlabelled.zip') as file:
        names = [n for n in file.namelist() if n[-1] != '/']
        return list(zip(names, photos.decoded([file.read(n) for n in names])))


def gather(data, movenet, cache, rendered_folder=None, limit=None, own=None):
    """All people to train on, the teacher's word added.

    Args:
        data: folder of the photos; movenet: its npz; cache: folder for the teacher's words;
        rendered_folder: of rendered people, may be missing; limit: people of a source;
        own: dict source -> list of Labelled, of a user's own data.

    Returns:
        dict source -> list of (Labelled with (21,) keypoints folded in, weight (21,)).
    """
    show = lambda what: lambda it: tqdm(it, desc=f'teacher: {what}', mininterval=5)  # noqa: E731
    tag = f'_{limit}' if limit else ''
    sources = {'coco': photos.coco(data, False), 'lspet': photos.lspet(data, False, limit),
               **(own or {})}
    loose = _unlabelled(data)
    if limit:
        sources['coco'], loose = sources['coco'][:limit], loose[:limit]
    found = teacher.cached(Path(cache) / f'found{tag}.npz', lambda: _found(movenet, loose, show))
    pictures = dict(loose)
    sources['unlabelled'] = [
        photos.Labelled('unlabelled', str(n), pictures[str(n)], np.full((17, 2), np.nan),
                        np.zeros(17), box.astype(np.float64))
        for n, box in zip(found['photo'], found['box'])]
    taught = {}
    for source, people in sources.items():
        views = _VIEWS.get(source)
        if views is None:
            taught[source] = [_fold(p, np.zeros((21, 2)), np.zeros(21)) for p in people]
            continue

        def ask(people=people, source=source, views=views):
            xy, sure = teacher.teach(movenet, people, views, progress=show(source))
            return {'keypoints': xy, 'confidence': sure}
        said = teacher.cached(Path(cache) / f'{source}{tag}.npz', ask)
        if len(said['keypoints']) != len(people):
            raise ValueError(f'{cache}/{source}{tag}.npz is of other people; remove it')
        taught[source] = [_fold(p, k, c) for p, k, c in
                          zip(people, said['keypoints'], said['confidence'])]
    made = rendered(rendered_folder, limit)
    ones = np.concatenate((np.ones(17), np.zeros(4)))
    taught['rendered'] = [(p, ones) for p in made]
    return {source: people for source, people in taught.items() if people}


def _found(movenet, loose, show):
    found = teacher.find_in(movenet, loose, progress=show('finds people'))
    return {'photo': np.array([f.photo for f in found for _ in f.boxes], dtype='U64'),
            'box': np.concatenate([f.boxes for f in found] + [np.zeros((0, 4))])}


def _fold(person, said, sure):
    """The teacher's sure joints where the label has none; trust per joint (21,)."""
    extras = np.full((4, 2), np.nan) if person.extras is None else person.extras
    points = np.concatenate((person.keypoints, extras))
    visible = np.concatenate((person.visible, np.where(np.isfinite(extras[:, 0]), 2, 0)))
    use = (visible == 0) & (sure > _SURE)
    if person.source == 'lspet':
        # only where it agrees with the label about the rest of this athlete
        both = (visible > 0) & (sure > 0.2)
        both[17:] = False
        side = max(person.box[2:] - person.box[:2])
        error = np.linalg.norm(said - np.where(visible[:, None] > 0, points, said), axis=1)
        agree = (error[both] < 0.1 * side).mean() if both.sum() >= 5 else 0.0
        use &= agree > 0.75
    points = np.where(use[:, None], said, points)
    trust = np.where(use, _TAUGHT, 1.0) * _WEIGHT.get(person.source, 1.0)
    person.keypoints, person.extras = points[:17], points[17:]
    person.visible = np.where(use[:17], 2, person.visible)
    return person, trust


class Mixture:
    """Batches by step number.

    Args:
        sources: of :func:`gather`; backgrounds: BGR pictures for things in the way.
        batch: crops a batch; seed: of everything random; how: Augment.
    """

    def __init__(self, sources, backgrounds, batch, seed, how=None):
        self.sources, self.backgrounds = sources, backgrounds
        self.batch, self.seed, self.how = batch, seed, how or Augment()
        share = np.array([SHARES[s] for s in sources])
        self.names, self.share = list(sources), share / share.sum()

    def take_shares(self, given):
        """Take other shares of the crops: ['lspet=0.35', ...]; who is not named has none.

        Raises:
            ValueError: a name of no source, or no share above 0.
        """
        if not given:
            return
        said = {name: float(value) for name, _, value in (s.partition('=') for s in given)}
        unknown = set(said) - set(self.names)
        if unknown or not sum(said.values()) > 0 or min(said.values()) < 0:
            raise ValueError(f'--shares wants numbers for some of {", ".join(self.names)}, '
                             f'for example {self.names[0]}=0.5; not {" ".join(given)}')
        share = np.array([said.get(name, 0.0) for name in self.names])
        self.share = share / share.sum()

    def __call__(self, step, size):
        """Batch of a step.

        Returns:
            dict of tensors: image (N, 3, S, S), keypoints (N, 21, 2), belief, known, weight
            (N, 21), swap (N,), camera (N, 3), joints (N, 17, 3), height (N,).
        """
        counts = np.floor(self.share * self.batch).astype(int)
        rng = np.random.default_rng((self.seed, step))
        extra = rng.choice(len(self.names), self.batch - counts.sum(), p=self.share)
        np.add.at(counts, extra, 1)
        crops, weights, swap, truth, height = [], [], [], [], []
        for name, count in zip(self.names, counts):
            people = self.sources[name]
            for i in rng.integers(len(people), size=count):
                person, trust = people[i]
                crop = make_crop(rng, person, size, self.how, self.backgrounds)
                if crop.mirrored:
                    trust = np.concatenate((trust[photos._MIRROR], trust[[18, 17, 20, 19]]))
                crops.append(crop)
                weights.append(trust)
                swap.append(person.swap)
                truth.append(crop_truth(person, crop))
                height.append(person.stature)

        def stack(name, dtype=torch.float32):
            return torch.from_numpy(np.stack([getattr(c, name) for c in crops])).to(dtype)
        return {'image': normalise(np.stack([c.image for c in crops])),
                'keypoints': stack('keypoints'), 'belief': stack('belief'),
                'known': stack('known', torch.bool), 'swap': torch.tensor(swap),
                'weight': torch.from_numpy(np.stack(weights)).float(),
                'camera': torch.from_numpy(np.stack([c for c, _ in truth])).float(),
                'joints': torch.from_numpy(np.stack([j for _, j in truth])).float(),
                'height': torch.tensor(height)}
