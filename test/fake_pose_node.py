"""The node ``pose`` with a pipeline of a few lines; started by tests as a process."""

import importlib.util
import os
import pathlib
import sys
import time
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from lifting_ros.person import Person, Source
from lifting_ros.ros import spin
from lifting_ros.ros.pose_node import PoseNode


def fallback():
    """The module, by its file: the package it is in brings torch, which takes seconds."""
    path = pathlib.Path(spin.__file__).parents[1] / 'network' / 'fallback.py'
    spec = importlib.util.spec_from_file_location('fallback', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FakeEstimator:
    """Has room for three people at once where the image is 15, for none where it is 16."""

    def __init__(self, device):
        self.device = device

    def keypoints(self, image, boxes):
        room = 3 if image == 15 else 0
        if self.device != 'cpu' and len(boxes) > room:
            raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')
        n = len(boxes)
        return Keypoints(np.zeros((n, 17, 2)), np.ones((n, 17)), np.zeros((n, 17, 2, 2)))


@dataclass
class Keypoints:
    xy: np.ndarray
    confidence: np.ndarray
    covariance: np.ndarray


class FakePipeline:
    """As many people as the blue value of the first pixel says; takes FAKE_DELAY seconds.

    The green value is the number of the image, and the x of every joint. A red value of 13 makes
    it fail; one of 14 spoils the first person, of 15 and 16 the GPU's memory runs out. It says
    which second's image it has taken. FAKE_WEIGHTS is a file it is not made without.
    """

    timing = {}

    def __init__(self):
        self.options = SimpleNamespace()  # the pipeline's own would bring torch
        self.estimator = fallback().Fallback(FakeEstimator('cuda:0'),
                                             lambda: FakeEstimator('cpu'))
        self.delay, self.resets = float(os.environ.get('FAKE_DELAY', '0')), 0
        weights = os.environ.get('FAKE_WEIGHTS')
        if weights and not os.path.isfile(weights):
            raise RuntimeError(f'no weights at {weights}')

    @property
    def device(self):
        return self.estimator.device

    def reset(self):
        """As the pipeline's; says so in the log."""
        self.resets += 1
        sys.stderr.write(f'reset {self.resets}\n')

    def __call__(self, image, camera=None, stamp=None, up=None, depth=None, pose=None):
        blue, green, red = (int(v) for v in image[0, 0])
        assert image.dtype == np.uint8 and image.ndim == 3 and isinstance(stamp, float)
        sys.stderr.write(f'took {int(stamp)}\n')
        if red in (15, 16):
            assert len(self.estimator.keypoints(red, np.zeros((blue, 4))).xy) == blue
        if red == 13:
            raise ArithmeticError('the pipeline fell over')
        time.sleep(self.delay)
        if up is not None:
            sys.stderr.write(f'up {np.round(up, 3).tolist()}\n')
        if pose is not None:
            sys.stderr.write(f'pose {np.round(pose[1], 3).tolist()}\n')
        if depth is not None:
            sys.stderr.write(f'depth {depth.image.shape} {depth.image.dtype} of {stamp:.3f}\n')
        people = []
        for n in range(blue):
            p = Person(id=f'abc{n:02d}', confidence=0.5, box=np.array([1.0, 2, 9, 12]))
            p.keypoints = np.tile([3.0, 4.0], (17, 1))
            p.keypoint_confidence = np.full(17, 0.75)
            if camera is not None:
                p.joints = np.tile([green, n, camera.focal], (17, 1)) + 0.01 * np.arange(51
                                                                              ).reshape(17, 3) ** 2
                p.covariance = np.tile(0.01 * np.eye(3), (17, 1, 1))
                p.source = np.full(17, Source.OBSERVED, dtype=np.uint8)
            people.append(p)
        if red == 14:
            people[0].box = 'not a box'
        return people


if __name__ == '__main__':
    real = os.environ.get('FAKE_NOT')
    sys.exit(spin.run(lambda: PoseNode() if real else PoseNode(lambda values: FakePipeline())))
