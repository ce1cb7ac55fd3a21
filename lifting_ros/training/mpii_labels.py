"""People of MPII Human Pose: the authors' .mat, or the .json that is commonly made of it."""

import json
from pathlib import Path

import numpy as np

from ..skeleton import INDEX, convert
from .coco_json import Folder, LabelledFile


def _box(points, visible):
    known = points[visible > 0]
    low, high = known.min(0), known.max(0)
    pad = 0.1 * (high - low).max()
    return np.concatenate((low - pad, high + pad))


def _person(name, file, points, visible):
    """points: (16, 2) px from 1, as Matlab counts; visible: (16,) 0, 1 hidden, 2 seen."""
    points = points - 1
    joints, shown = convert(points, visible, 'mpii')
    # its pelvis and thorax are marked, not visible as such
    middles = [INDEX['pelvis'], INDEX['neck'], INDEX['spine']]
    shown[middles] = np.minimum(shown[middles], 1)
    return LabelledFile('mpii', name, file, joints, shown, _box(points, visible))


def _from_json(path):
    for row in json.loads(path.read_text()):
        points = np.array(row['joints'], np.float64).reshape(16, 2)
        known = (points > 0).all(1) & (np.array(row['joints_vis'], float).reshape(16) >= 0)
        seen = np.array(row['joints_vis'], float).reshape(16) > 0
        yield row['image'], points, np.where(known, np.where(seen, 2, 1), 0)


def _listed(value):
    return list(value) if isinstance(value, np.ndarray) else [value]


def _from_mat(path):
    from scipy.io import loadmat
    release = loadmat(str(path), struct_as_record=False, squeeze_me=True)['RELEASE']
    train = np.atleast_1d(release.img_train)
    for image, used in zip(_listed(release.annolist), train):
        if not used:        # the labels of the test photos are not given away
            continue
        for person in _listed(image.annorect):
            marked = getattr(getattr(person, 'annopoints', None), 'point', None)
            if marked is None:
                continue
            points, visible = np.zeros((16, 2)), np.zeros(16)
            for point in _listed(marked):
                j = int(point.id)
                points[j] = point.x, point.y
                # absent or empty for the head, whose ends are always in sight
                shown = getattr(point, 'is_visible', 1)
                hidden = np.size(shown) and not int(np.ravel(shown)[0])
                visible[j] = 1 if hidden else 2
            yield str(image.image.name), points, visible


def read(path, folder, least=5, limit=None):
    """People with labelled joints.

    Args:
        path: mpii_human_pose_v1_u12_1.mat, or a json with ``image``, ``joints`` (16 x 2) and
            ``joints_vis`` (16) of each person.
        folder: of the photos; least: people with fewer labelled joints are left out;
        limit: at most so many people.

    Returns:
        list of LabelledFile; MPII's ``thorax`` is our neck, its upper neck is left out.

    Raises:
        ValueError: the file is of another format, or none of its photos is in the folder.
    """
    path, people, there = Path(path), [], Folder(folder)
    try:
        rows = list((_from_mat if path.suffix == '.mat' else _from_json)(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f'{path} is neither the .mat nor the .json of MPII: '
                         f'{error!r}') from error
    for name, points, visible in rows:
        if (visible > 0).sum() < least:
            continue
        file = there.file(name)
        if file is None:
            continue
        people.append(_person(name, file, points, visible))
        if limit and len(people) >= limit:
            break
    there.report(path, people, least)
    return people
