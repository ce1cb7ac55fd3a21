"""Labelled data of users: files made by hand, joints that must come out where they were put."""

import argparse
import json

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from lifting_ros.skeleton import INDEX, ORDERS
from lifting_ros.training import coco_json, mpii_labels, own_data, photos
from lifting_ros.training.curves import Curves

#: Photos that are not kept out of training, by the hash of their number, and one that is.
NAMES = [f'{n:012d}.jpg' for n in range(1, 200)]
USED = [n for n in NAMES if not photos.held_out('coco', n)][:3]
KEPT = next(n for n in NAMES if photos.held_out('coco', n))


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate((*USED, KEPT, 'a.jpg')):
        cv2.imwrite(str(tmp_path / name), np.full((80, 100, 3), 10 * i, np.uint8))
    return tmp_path


def _points(rng, count):
    return rng.uniform(5, 70, (count, 2)).round(1)


def _coco(folder, rng):
    points = [_points(rng, 17) for _ in range(6)]
    shown = np.full(17, 2)
    shown[3] = 0
    shown[9] = 1
    few = np.zeros(17, int)
    few[:3] = 2

    def row(image, xy, v, **more):
        keypoints = np.column_stack((xy, v)) * (v > 0)[:, None]
        return {'image_id': image, 'category_id': 1, 'iscrowd': 0, 'bbox': [10, 20, 30, 40],
                'keypoints': keypoints.ravel().tolist(), **more}
    table = {'images': [{'id': i, 'file_name': n} for i, n in
                        enumerate((USED[0], USED[1], KEPT, '000000999999.jpg'))],
             'annotations': [row(0, points[0], shown), row(0, points[1], shown, iscrowd=1),
                             row(1, points[2], few), row(2, points[3], shown),
                             row(3, points[4], shown), row(1, points[5], shown)]}
    (folder / 'people.json').write_text(json.dumps(table))
    return points, folder / 'people.json'


def test_coco_json(folder, rng, caplog):
    points, file = _coco(folder, rng)
    people = coco_json.read(file, folder)
    # no crowd, nobody with three joints, no photo that is kept out or missing
    assert [p.photo for p in people] == [USED[0], USED[1]]
    one = people[0]
    assert one.image.shape == (80, 100, 3)
    names = ORDERS['coco']
    np.testing.assert_allclose(one.keypoints[INDEX['left_knee']],
                               points[0][names.index('left_knee')])
    assert one.visible[INDEX['left_wrist']] == 1 and one.visible[INDEX['right_wrist']] == 2
    assert np.isnan(one.extras[2]).all() and np.isfinite(one.extras[[0, 1, 3]]).all()
    assert np.isnan(one.keypoints[INDEX['head_top']]).all() and not one.visible[
        INDEX['head_top']]
    np.testing.assert_allclose(one.box, [10, 20, 40, 60])
    assert 'not in' in caplog.text
    assert [p.photo for p in coco_json.read(file, folder, kept_out=True)] == [KEPT]


def test_a_coco_photo_is_known_by_its_number():
    for name in ('COCO_train2014_000000000042.jpg', 'val2017/000000000042.jpg', '42.png'):
        assert coco_json.number(name) == '000000000042.jpg'
    assert coco_json.number('x/mine.jpg') == 'mine.jpg'


def _json(folder, points, seen):
    rows = [{'image': 'a.jpg', 'joints': points.tolist(), 'joints_vis': seen.tolist(),
             'scale': 1.0, 'center': [40, 40]},
            {'image': 'a.jpg', 'joints': [[-1, -1]] * 16, 'joints_vis': [0] * 16}]
    (folder / 'mpii.json').write_text(json.dumps(rows))
    return folder / 'mpii.json'


def _mat(folder, points, seen):
    marked = [{'x': float(x), 'y': float(y), 'id': j, 'is_visible': int(seen[j])}
              for j, (x, y) in enumerate(points) if x > 0]
    some = {'image': {'name': 'a.jpg'}, 'annorect': [
        {'annopoints': {'point': np.array(marked, object)}, 'scale': 1.0}]}
    none = {'image': {'name': 'a.jpg'}, 'annorect': [{'scale': 1.0}]}
    savemat(folder / 'mpii.mat', {'RELEASE': {
        'annolist': np.array([some, none, some], object), 'img_train': np.array([1, 1, 0])}})
    return folder / 'mpii.mat'


@pytest.mark.parametrize('write', [_json, _mat])
def test_mpii(folder, rng, write):
    points = _points(rng, 16)
    points[0] = -1                       # the right ankle has no label
    seen = np.ones(16, int)
    seen[11] = 0                         # the right elbow is hidden
    people = mpii_labels.read(write(folder, points, seen), folder)
    assert len(people) == 1
    one, names = people[0], ORDERS['mpii']
    for ours, theirs in (('left_wrist', 'left_wrist'), ('neck', 'thorax'), ('pelvis', 'pelvis'),
                         ('head_top', 'head_top'), ('right_elbow', 'right_elbow')):
        np.testing.assert_allclose(one.keypoints[INDEX[ours]], points[names.index(theirs)] - 1)
    assert not one.visible[INDEX['right_ankle']] and np.isnan(
        one.keypoints[INDEX['right_ankle']]).all()
    assert one.visible[INDEX['right_elbow']] == 1 and one.visible[INDEX['left_wrist']] == 2
    assert one.image.shape == (80, 100, 3)
    assert (one.box[:2] < points[1:].min(0) - 1).all() and (one.box[2:] > points[1:].max(0) - 1
                                                            ).all()


@pytest.mark.parametrize('text', ['[]', '{"images": []}', 'no json'])
def test_other_files_are_refused(folder, text):
    (folder / 'x.json').write_text(text)
    with pytest.raises(ValueError, match=r'x\.json'):
        coco_json.read(folder / 'x.json', folder)
    with pytest.raises(ValueError, match=r'x\.json'):
        mpii_labels.read(folder / 'x.json', folder)


def test_a_photo_that_is_gone_is_named(folder, rng):
    _, file = _coco(folder, rng)
    person = coco_json.read(file, folder)[0]
    (folder / person.photo).unlink()
    with pytest.raises(ValueError, match=person.photo):
        _ = person.image


def test_options_of_the_training(folder, rng):
    _, file = _coco(folder, rng)
    parser = argparse.ArgumentParser()
    own_data.add_arguments(parser)
    args = parser.parse_args(['--coco-json', str(file), str(folder)])
    found = own_data.read(args)
    assert list(found) == ['coco_json'] and {p.source for p in found['coco_json']} == {
        'coco_json'}
    assert own_data.read(parser.parse_args([])) == {}


def test_curves_go_on_where_they_stopped(tmp_path):
    curves = Curves(tmp_path, tensorboard=False)
    for step in (10, 20, 30):
        curves.write(step, {'loss': 1 / step, 'rate': step})
    curves.cut_back(20)
    curves = Curves(tmp_path, tensorboard=False)
    curves.write(30, {'loss': 7})
    curves.picture(30, 'beliefs', np.zeros((4, 4, 3), np.uint8))
    curves.close()
    rows = (tmp_path / 'curves.csv').read_text().splitlines()
    assert rows == ['step,key,value', '10,loss,0.1', '10,rate,10', '20,loss,0.05', '20,rate,20',
                    '30,loss,7']
