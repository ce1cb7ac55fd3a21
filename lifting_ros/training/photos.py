"""The labelled photographs: people with seventeen joints, and which are kept out of training.

A person is kept out by the photo, by a hash of the photo's name, so that training and
evaluation agree without a list.
"""

import hashlib
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..skeleton import INDEX, MIRROR, NUM_JOINTS, ORDERS, convert

#: Shares of the photos kept out: about 500 of LSPet, about 60 of COCO's with people, 33 without.
HELD_OUT = {'lspet': 0.053, 'coco': 0.17, 'background': 0.17}
#: Limb joints of the label in which a swap of sides is looked for, and how sure a hint must be.
_SWAP, _POOR = 0.3, 0.3
_MIRROR = np.array(MIRROR)


@dataclass
class Labelled:
    """One labelled person in one picture.

    Args:
        source: 'lspet', 'coco', 'rendered' or 'unlabelled'.
        photo: name of the photo, unique in its source.
        image: (H, W, 3) uint8 BGR.
        keypoints: (17, 2) px, NaN where not labelled.
        visible: (17,) 0 not labelled, 1 labelled but hidden, 2 visible.
        box: (4,) x0 y0 x1 y1 px.
        swap: the label's sides may be exchanged.
        extras: (4, 2) px eyes and ears, NaN where not labelled.
        joints: (17, 3) m in the camera's optical frame, where the truth is known.
        camera: (3, 3) intrinsics, with ``joints``.
        stature: m, with ``joints``.
    """

    source: str
    photo: str
    image: np.ndarray
    keypoints: np.ndarray
    visible: np.ndarray
    box: np.ndarray
    swap: bool = False
    extras: np.ndarray | None = None
    joints: np.ndarray | None = None
    camera: np.ndarray | None = None
    stature: float = float('nan')


def held_out(source, photo):
    """Whether a photo is kept out of training: by its name alone."""
    digest = hashlib.sha256(f'{source}/{photo}'.encode()).digest()
    return int.from_bytes(digest[:4], 'big') / 2 ** 32 < HELD_OUT[source]


def _decode(data):
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError('a picture of the data set cannot be read')
    return image


def decoded(pictures):
    """Files of pictures, bytes, as (H, W, 3) uint8 BGR, by as many threads as there are cores.

    Raises:
        ValueError: one of them cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_decode, pictures))


def lspet(data, kept_out, limit=None):
    """People of Leeds Sports Pose Extended.

    Args:
        data: folder of the photos.
        kept_out: True for those kept out of training, False for the others (labels that neither
            side of MoveNet's hint fits are then left out).
        limit: at most so many.

    Returns:
        list of Labelled.
    """
    data = Path(data)
    table = np.load(data / 'lspet_train.npz', allow_pickle=False)
    check = np.load(data / 'lspet_train_check.npz', allow_pickle=False)
    agree, mirrored = check['agree'], check['agree_mirrored']
    names, shard, points, boxes = (table[n] for n in ('name', 'shard', 'keypoints', 'box'))
    joints, visible = convert(points[..., :2], points[..., 2], 'lsp')
    visible[:, [INDEX['pelvis'], INDEX['spine']]] = np.minimum(
        visible[:, [INDEX['pelvis'], INDEX['spine']]], 1)
    zips = [zipfile.ZipFile(data / f'lspet_train_{i}.zip') for i in range(3)]
    taken = []
    for i, name in enumerate(names):
        if held_out('lspet', str(name)) != kept_out:
            continue
        poor = max(agree[i], mirrored[i]) < _POOR and check['confidence'][i] > 0.4
        if kept_out or not poor:
            taken.append(i)
        if limit and len(taken) >= limit:
            break
    images = decoded([zips[shard[i]].read(str(names[i])) for i in taken])
    return [Labelled('lspet', str(names[i]), image, joints[i], visible[i],
                     boxes[i].astype(np.float64), bool(mirrored[i] - agree[i] > _SWAP))
            for i, image in zip(taken, images)]


def coco_photos(data, kept_out):
    """COCO photos.

    Returns:
        list of (name, image (H, W, 3) BGR, list of Labelled, other_people or None).
    """
    data, photos = Path(data), []
    eyes = [ORDERS['coco'].index(n) for n in ('left_eye', 'right_eye', 'left_ear', 'right_ear')]
    for part in ('coco_train', 'coco_more'):
        records = json.loads((data / f'{part}.json').read_text())['images']
        records = [r for r in records if held_out('coco', r['file']) == kept_out]
        with zipfile.ZipFile(data / f'{part}.zip') as file:
            images = decoded([file.read(record['file']) for record in records])
        for record, image in zip(records, images):
            people = []
            for person in record['people']:
                raw = np.array(person['keypoints'], np.float64).reshape(17, 3)
                joints, visible = convert(raw[:, :2], raw[:, 2], 'coco')
                extras = np.where(raw[eyes, 2:] > 0, raw[eyes, :2], np.nan)
                people.append(Labelled('coco', record['file'], image, joints, visible,
                                       np.array(person['box'], np.float64), False, extras))
            photos.append((record['file'], image, people, record['other_people']))
    return photos


def coco(data, kept_out):
    """People of the COCO photos, all that have a labelled joint."""
    return [p for _, _, people, _ in coco_photos(data, kept_out) for p in people
            if (p.visible > 0).any()]


def measured(person):
    """Whether a COCO person counts in mean OKS: 60 px or taller, 5 or more labelled joints."""
    limbs = [i for i in range(NUM_JOINTS) if i not in (INDEX['pelvis'], INDEX['spine'],
                                                       INDEX['neck'], INDEX['head_top'])]
    labelled = (person.visible[limbs] > 0).sum()
    if person.extras is not None:
        labelled += np.isfinite(person.extras[:, 0]).sum()
    return labelled >= 5 and person.box[3] - person.box[1] >= 60


def mirrored(keypoints):
    """Keypoints with left and right exchanged (the picture stays)."""
    return keypoints[..., _MIRROR, :]


def photos_without_people(data, kept_out=None):
    """Backgrounds: list of (H, W, 3) BGR images without anybody.

    Args:
        data: folder of the photos.
        kept_out: True for those kept out of training, False for the others, None for all.
    """
    with zipfile.ZipFile(Path(data) / 'background.zip') as file:
        return decoded([file.read(n) for n in file.namelist() if not n.endswith('/')
                        and kept_out in (None, held_out('background', n))])
