"""``eval chain``: reading rendered people, and its rows, with a network that is made up."""

import io
import zipfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from lifting_ros.evaluation import chain
from lifting_ros.lifting import Lifter

TRUTH = Path(__file__).resolve().parents[1] / 'resource' / 'demo' / 'truth.npz'
K = np.array([[554.26, 0, 319.5], [0, 554.26, 239.5], [0, 0, 1]])


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Twelve people of the demo clip as ``render crops`` writes them, on black pictures."""
    folder, n = tmp_path_factory.mktemp('crops'), 12
    with np.load(TRUTH, allow_pickle=False) as data:
        pick = np.linspace(0, len(data['joints']) - 1, n).astype(int)
        joints, up = data['joints'][pick], data['up']
    pixels = joints @ K.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    visible = np.ones((n, 17), bool)
    visible[:, 13] = False
    pixels = pixels.astype(np.float32)
    names = [f'{i:06d}.jpg' for i in range(n)]
    np.savez(folder / 'rendered_00.npz', name=names, keypoints=pixels, visible=visible,
             joints=joints.astype(np.float32), K=np.tile(K, (n, 1, 1)).astype(np.float32),
             box=np.concatenate((pixels.min(1), pixels.max(1)), 1),
             up=np.tile(up, (n, 1)).astype(np.float32), stature=np.full(n, 1.74, np.float32),
             kind=['stand'] * n)
    jpeg = cv2.imencode('.jpg', np.zeros((480, 640, 3), np.uint8))[1].tobytes()
    with zipfile.ZipFile(folder / 'rendered_00.zip', 'w') as z:
        for name in names:
            z.writestr(name, io.BytesIO(jpeg).getvalue())
    return folder


class Network:
    """Answers with the truth and noise of a sigma that it knows; the hidden wrist is not seen."""

    def __init__(self, shots, sigma=3.0):
        self.shots, self.sigma, self.calls = shots, sigma, 0
        self.rng = np.random.default_rng(0)

    def keypoints(self, image, boxes):
        shot = self.shots[self.calls % len(self.shots)]
        self.calls += 1
        np.testing.assert_allclose(boxes[0], shot.box)
        xy = shot.keypoints + self.rng.normal(0, self.sigma, (17, 2))
        return SimpleNamespace(xy=xy[None], confidence=shot.visible[None].astype(float),
                               covariance=np.tile(self.sigma ** 2 * np.eye(2), (1, 17, 1, 1)))


def test_pictures_are_read(folder):
    shots = chain.pictures(folder)
    assert len(shots) == 12 and len(chain.pictures(folder, 5)) == 5
    assert shots[0].image.shape == (480, 640, 3)
    np.testing.assert_allclose(shots[3].camera.project(shots[3].joints), shots[3].keypoints,
                               atol=1e-3)
    with pytest.raises(ValueError, match='render crops'):
        chain.pictures(folder / 'none')


def test_rows(folder):
    shots = chain.pictures(folder)
    network, lifter = Network(shots), Lifter.from_pretrained()

    def pipeline(image, camera, up):
        """Finds a person somewhere else, and in every second picture the right one."""
        i = pipeline.calls
        pipeline.calls += 1
        one = SimpleNamespace(box=np.array([0, 0, 9, 9.0]), joints=np.full((17, 3), 9.0))
        right = SimpleNamespace(
            box=shots[i].box + 2, joints=shots[i].joints, covariance=np.tile(
                np.eye(3), (17, 1, 1)), keypoints=shots[i].keypoints,
            keypoint_covariance=np.tile(np.eye(2), (17, 1, 1)), keypoint_confidence=np.ones(17))
        return [one, right] if i % 2 else [one]

    pipeline.calls, pipeline.lifter, pipeline.estimator = 0, lifter, network
    table = chain.evaluate(pipeline, shots)
    truth, got = table['true keypoints + 1 px'], table['network']
    assert truth['lifted'] == got['lifted'] == 100 and got['mpjpe'] < 120
    pixels = table['network: keypoints']
    assert pixels['joints'] == 12 * 16
    assert pixels['px'] == pytest.approx(3 * np.sqrt(np.pi / 2), rel=0.15)
    assert pixels['within_50'] == pytest.approx(50, abs=12)
    assert table['network: hidden joints']['joints'] == 12
    assert table['network: visible joints']['joints'] == 12 * 16
    tall = table['network, stature given']
    assert tall['root_percent'] < 8
    found = table['pipeline, people found']
    assert found['lifted'] == 50 and found['mpjpe'] == 0 and found['within_95'] == 100


def test_the_worst_are_shown_first(folder):
    shots = chain.pictures(folder)
    found = chain.boxes_given(Network(shots), shots)
    for i, amount in ((7, 80.0), (2, 40.0)):
        found[i].xy[0, 16] += amount           # one limb torn away
    result = chain.lift_all(Lifter.from_pretrained(density='none'), shots, found)
    image, order = chain.gallery(result, shots, found, 4)
    assert order[:2].tolist() == [7, 2] and image.shape == (240, 960, 3)
    box = shots[7].box
    scale = 240 / (1.25 * max(box[2] - box[0], box[3] - box[1]))
    at = scale * (shots[7].keypoints[4] - (box[:2] + box[2:]) / 2) + 120     # the truth is white
    x, y = np.round(at).astype(int)
    assert (image[y - 4:y + 5, x - 4:x + 5] > 200).all(2).any()


def test_cases_of_pictures_are_what_the_lifter_says(folder):
    from lifting_ros.training.picture_cases import collect_pictures
    shots = chain.pictures(folder)

    class Anywhere(Network):
        def keypoints(self, image, boxes):
            shot = self.shots[self.calls % len(self.shots)]
            wide = (boxes[0, 2:] - boxes[0, :2]) / (shot.box[2:] - shot.box[:2])
            assert (wide > 0.89).all() and (wide < 1.16).all()
            return super().keypoints(image, shot.box[None])
    lifter = Lifter.from_pretrained()
    found = chain.boxes_given(Network(shots), shots)
    plain = chain.lift_all(Lifter(lifter.prior, density=lifter.density), shots, found)
    cases = collect_pictures(lifter, Anywhere(shots), shots, np.random.default_rng(0), 0.5,
                             gravity=1.0, given=0.0)
    assert len(cases) == len(shots) and (cases.share == 0.5).all()
    # how far off, whichever way the axes are turned; it stands in metres by the prior's stature
    truth = np.array([s.joints for s in shots])
    np.testing.assert_allclose(np.linalg.norm(cases.off, axis=2),
                               np.linalg.norm(truth - plain.joints, axis=2), rtol=1e-4, atol=1e-5)
