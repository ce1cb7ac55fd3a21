"""Measures on photographs, against sums done by hand."""

import numpy as np
import pytest

from lifting_ros.evaluation.keypoints2d import measure, table
from lifting_ros.evaluation.measures2d import (
    OKS_JOINTS,
    box_area,
    oks,
    oks_table,
    pck,
    pck_table,
)
from lifting_ros.skeleton import INDEX, LIMBS, MIRROR
from lifting_ros.training.photos import Labelled


@pytest.fixture
def people(rng):
    truth = rng.uniform(0, 200, (6, 17, 2))
    return truth, np.ones((6, 17), bool)


def test_pck_counts_what_lies_within_a_fifth_of_the_torso(people):
    truth, labelled = people
    torso = np.linalg.norm(truth[:, INDEX['left_shoulder']] - truth[:, INDEX['right_hip']], axis=1)
    for share, expected in ((0.19, 1.0), (0.21, 0.0)):
        found = truth + np.stack((share * torso, 0 * torso), 1)[:, None]
        right, counted = pck(found, truth, labelled)
        assert counted.all() and right.mean() == expected


def test_pck_leaves_out_what_has_no_label_or_no_torso(people):
    truth, labelled = people
    truth[0, INDEX['left_shoulder']] = np.nan
    labelled[0, INDEX['left_shoulder']] = False
    labelled[1, INDEX['left_knee']] = False
    right, counted = pck(truth, truth, labelled)
    assert not counted[0].any() and counted[1].sum() == 11 and counted[2:].all()
    assert (right == counted).all()


def test_sides_as_fit_and_by_joint(people):
    truth, labelled = people
    found = truth[:, list(MIRROR)]
    figures = pck_table(found, truth, labelled)
    assert figures['pck'] < 0.3 and figures['pck_sides_as_fit'] == 1.0
    found = truth.copy()
    found[:, [INDEX['left_wrist'], INDEX['right_wrist']]] += 1e4
    by_joint = pck_table(found, truth, labelled)['by_joint']
    assert by_joint == {'shoulder': 1, 'elbow': 1, 'wrist': 0, 'hip': 1, 'knee': 1, 'ankle': 1}


def test_oks_by_hand(people):
    truth, labelled = people
    boxes = np.tile([0.0, 0, 100, 200], (6, 1))
    area = box_area(boxes)
    assert area[0] == pytest.approx(0.53 * 20000)
    assert oks(truth, truth, labelled, area) == pytest.approx(np.ones(6))
    only = np.zeros_like(labelled)
    only[:, INDEX['left_hip']] = True
    found = truth + [6.0, 8.0]
    # exp(-d^2 / (2 area (2 k)^2)) with k = 0.107, d = 10
    expected = np.exp(-100 / (2 * 10600 * 0.214 ** 2))
    assert oks(found, truth, only, area) == pytest.approx(np.full(6, expected))
    nobody = oks(found, truth, np.zeros_like(labelled), area)
    assert np.isnan(nobody).all()
    assert oks_table(np.array([0.4, 0.8, np.nan])) == {'oks': pytest.approx(0.6),
                                                       'over_half': 0.5, 'people': 2}
    assert len(OKS_JOINTS) == 13 and set(LIMBS) < set(OKS_JOINTS)


def test_measure_and_table(people):
    truth, _ = people
    image = np.zeros((200, 200, 3), np.uint8)
    some = [Labelled('coco', str(i), image, t, np.full(17, 2), np.array([0.0, 0, 200, 200]))
            for i, t in enumerate(truth)]
    answers = {id(p): p.keypoints for p in some}
    order = iter([p for p in some] * 2)
    perfect = measure(lambda image, box: answers[id(next(order))], some, some)
    assert perfect['lspet']['pck'] == 1 and perfect['coco']['oks'] == pytest.approx(1)
    poor = measure(lambda image, box: np.zeros((17, 2)), some, some)
    text = table({'ours': perfect, 'MoveNet float, 256 px': poor | {
        'lspet': poor['lspet'] | {'pck': 0.5}, 'coco': poor['coco'] | {'oks': 0.8}}})
    assert 'PCK 2.000' in text and 'OKS 1.250' in text and '| ours | 1.000' in text


def test_peers_agree_on_a_person(shared):
    """Every peer puts the cook's shoulders above the hips and near one another."""
    import cv2

    from lifting_ros.evaluation.peers import peers
    data = shared / 'data'
    image = cv2.imread(str(next((data / 'photos' / 'work').glob('kitchen_cook*'))))
    found = peers(data / 'weights' / 'movenet_lightning.npz', data / 'peers')
    if len(found) < 2:
        pytest.skip('ai-edge-litert is not installed')
    box = np.array([366.0, 60, 519, 353])
    said = {name: peer(image, box) for name, peer in found.items()}
    for name, points in said.items():
        assert points.shape == (17, 2), name
        assert points[INDEX['left_shoulder'], 1] < points[INDEX['left_hip'], 1], name
    reference = said['MoveNet float, 256 px']
    for points in said.values():
        error = np.linalg.norm(points - reference, axis=1)[list(LIMBS)]
        assert np.nanmedian(error) < 25


def test_pck_and_oks_are_those_of_plain_loops(rng):
    kappa = {'nose': .026, 'shoulder': .079, 'elbow': .072, 'wrist': .062, 'hip': .107,
             'knee': .087, 'ankle': .089}
    truth = rng.uniform(0, 200, (8, 17, 2))
    found = truth + rng.normal(0, 20, (8, 17, 2))
    labelled = rng.random((8, 17)) < 0.8
    truth[~labelled] = np.nan
    labelled[3], area = False, rng.uniform(5e3, 3e4, 8)
    truth[3] = np.nan
    hits = counted = 0
    similar = []
    for i in range(8):
        shoulder, hip = INDEX['left_shoulder'], INDEX['right_hip']
        terms = []
        for name, j in INDEX.items():
            kind = name.split('_')[-1]
            if not labelled[i, j] or kind not in kappa:
                continue
            d2 = float(((found[i, j] - truth[i, j]) ** 2).sum())
            terms.append(np.exp(-d2 / (2 * area[i] * (2 * kappa[kind]) ** 2)))
            if kind != 'nose' and labelled[i, shoulder] and labelled[i, hip]:
                torso = float(((truth[i, shoulder] - truth[i, hip]) ** 2).sum()) ** 0.5
                counted += 1
                hits += d2 ** 0.5 <= 0.2 * torso
        similar.append(np.mean(terms) if terms else np.nan)
    figures = pck_table(found, truth, labelled)
    assert figures['joints'] == counted and figures['pck'] == pytest.approx(hits / counted)
    assert 0.1 < hits / counted < 0.9
    np.testing.assert_allclose(oks(found, truth, labelled, area), similar)
