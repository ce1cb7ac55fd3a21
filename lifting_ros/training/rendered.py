"""Rendered people: crops with exact joints in 2D and 3D, as ``lifting-ros render`` writes them."""

import zipfile
from pathlib import Path

import numpy as np

from .photos import Labelled, decoded


def rendered(folder, limit=None):
    """All people of a folder of ``*.npz`` with their ``*.zip`` of pictures.

    Args:
        folder: where they are; None or a missing folder gives none.
        limit: at most so many.

    Returns:
        list of Labelled.
    """
    people = []
    if folder is None or not Path(folder).is_dir():
        return people
    for table in sorted(Path(folder).glob('*.npz')):
        pictures = table.with_suffix('.zip')
        if not pictures.is_file():
            continue
        with np.load(table, allow_pickle=False) as data, zipfile.ZipFile(pictures) as file:
            if 'keypoints' not in data or 'box' not in data:
                continue
            names, points, seen, boxes = (data[n] for n in ('name', 'keypoints', 'visible', 'box'))
            truth = [data[n] if n in data else [None] * len(names)
                     for n in ('joints', 'K', 'stature')]
            images = decoded([file.read(str(name)) for name in names])
            for name, image, xy, visible, box, joints, camera, stature in zip(
                    names, images, points, seen, boxes, *truth):
                whole = joints is not None and camera is not None and stature is not None
                people.append(Labelled('rendered', f'{table.stem}/{name}', image,
                                       xy.astype(np.float64),
                                       np.where(visible, 2, 1), box.astype(np.float64),
                                       joints=joints if whole else None,
                                       camera=camera if whole else None,
                                       stature=float(stature) if whole else float('nan')))
                if limit and len(people) >= limit:
                    return people
    return people
