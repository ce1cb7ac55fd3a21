"""People of a data set in COCO's keypoint format: a json and a folder of photos."""

import json
import logging
from pathlib import Path

import cv2
import numpy as np

from ..skeleton import ORDERS, convert
from . import photos

log = logging.getLogger(__name__)

_EXTRAS = [ORDERS['coco'].index(n) for n in ('left_eye', 'right_eye', 'left_ear', 'right_ear')]


class LabelledFile(photos.Labelled):
    """A labelled person whose photo is read when it is asked for; ``image`` may be a path."""

    @property
    def image(self):
        """(H, W, 3) uint8 BGR.

        Raises:
            ValueError: the file is missing or no picture.
        """
        if not isinstance(self._image, Path):
            return self._image
        image = cv2.imread(str(self._image), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f'{self._image} cannot be read as a picture')
        return image

    @image.setter
    def image(self, value):
        self._image = value


class Folder:
    """The photos that the labels name; some may not be there.

    Args:
        path: of the folder.
    """

    def __init__(self, path):
        self._path, self._there = Path(path), {}

    def file(self, name):
        """Path of a photo, or None where it is not there."""
        if name not in self._there:
            self._there[name] = (self._path / name).is_file()
        return self._path / name if self._there[name] else None

    def report(self, labels, people, least):
        """Say at the end of reading how many photos were missing.

        Args:
            labels: path of the labels, for the words. people: what was read of them.
            least: labelled joints that were asked for.

        Raises:
            ValueError: there is nobody.
        """
        missing = sum(not there for there in self._there.values())
        if missing:
            log.warning('%d photos of %s are not in %s', missing, labels, self._path)
        if not people:
            raise ValueError(f'{labels}: nobody with {least} labelled joints whose photo is in '
                             f'{self._path}')


def number(file_name):
    """The name a COCO photo goes by here: twelve digits, whatever folder and prefix it has.

    ``COCO_train2014_000000397133.jpg`` and ``train2017/000000397133.jpg`` are one photo.
    """
    stem = Path(file_name).stem
    digits = stem.rsplit('_', 1)[-1]
    return f'{int(digits):012d}.jpg' if digits.isdigit() else Path(file_name).name


def read(path, folder, source='coco', least=5, kept_out=False, limit=None):
    """People with labelled joints.

    Args:
        path: json with ``images`` and ``annotations`` as COCO's person_keypoints files have them.
        folder: of the photos, ``file_name`` below it.
        source: what to call them.
        least: people with fewer labelled joints are left out.
        kept_out: the photos that this project keeps out of training (by the hash of a photo's
            number, so that a full COCO holds none of them), or the others.
        limit: at most so many people.

    Returns:
        list of LabelledFile; crowds are left out, photos that are not in the folder too.

    Raises:
        ValueError: the file is not of that format.
    """
    path = Path(path)
    try:
        table = json.loads(path.read_text())
        images = {i['id']: i['file_name'] for i in table['images']}
        rows = table['annotations']
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path} is not in the format of COCO keypoints: {error!r}') from error
    people, there = [], Folder(folder)
    for row in rows:
        if row.get('iscrowd') or row.get('category_id', 1) != 1 or 'keypoints' not in row:
            continue
        name = images.get(row['image_id'])
        if name is None or photos.held_out('coco', number(name)) != kept_out:
            continue
        raw = np.array(row['keypoints'], np.float64)
        if raw.shape != (51,):
            raise ValueError(f'{path}: a person has {raw.size} numbers, COCO has 17 x 3')
        raw = raw.reshape(17, 3)
        if (raw[:, 2] > 0).sum() < least:
            continue
        file = there.file(name)
        if file is None:
            continue
        x, y, w, h = row['bbox']
        box = np.array([x, y, x + w, y + h], np.float64)
        joints, visible = convert(raw[:, :2], raw[:, 2], 'coco')
        extras = np.where(raw[_EXTRAS, 2:] > 0, raw[_EXTRAS, :2], np.nan)
        people.append(LabelledFile(source, number(name), file, joints, visible, box, False,
                                   extras))
        if limit and len(people) >= limit:
            break
    there.report(path, people, least)
    return people
