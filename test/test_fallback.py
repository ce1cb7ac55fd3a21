"""Memory that runs out, simulated: the batch shrinks, then the CPU takes over, answers equal."""

import numpy as np
import pytest
import torch

from lifting_ros.network.estimator import Keypoints
from lifting_ros.network.fallback import Fallback


class Fake:
    """Answers a box by its corner; holds so many boxes at once."""

    def __init__(self, device='cuda:0', room=None, room_find=True):
        self.device, self.room, self.room_find, self.batches = device, room, room_find, []

    def keypoints(self, image, boxes):
        if self.room is not None and len(boxes) > self.room:
            raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate ...')
        self.batches.append(len(boxes))
        xy = np.tile(boxes[:, None, :2], (1, 17, 1))
        return Keypoints(xy, np.ones((len(boxes), 17)), np.ones((len(boxes), 17, 2, 2)))

    def find(self, image, threshold):
        if not self.room_find:
            raise RuntimeError('CUDA error: out of memory')
        return 'found', threshold


BOXES = np.arange(28.0).reshape(7, 4)


@pytest.mark.parametrize('room, batches, device, word', [
    (None, [7], 'cuda:0', None), (7, [7], 'cuda:0', None),
    (3, [3, 3, 1], 'cuda:0', 'at most 3 people'),
    (2, [1] * 7, 'cuda:0', 'at most 1 people'), (0, [7], 'cpu', 'on the CPU now')])
def test_answers_are_the_same_however_little_room_there_is(room, batches, device, word):
    emptied = []
    cpu = Fake('cpu')
    f = Fallback(Fake(room=room), lambda: cpu, lambda: emptied.append(1))
    for _ in range(2):
        got = f.keypoints(None, BOXES)
        assert np.array_equal(got.xy, np.tile(BOXES[:, None, :2], (1, 17, 1)))
        assert got.confidence.shape == (7, 17) and got.covariance.shape == (7, 17, 2, 2)
    assert f.device == device and f.batches[-len(batches):] == batches
    assert f.problem is None if word is None else word in f.problem
    assert bool(emptied) == (word is not None)
    assert len(f.keypoints(None, BOXES[:0]).xy) == 0


def test_the_search_goes_to_the_cpu():
    f = Fallback(Fake(room_find=False), lambda: Fake('cpu'))
    assert f.find(None, 0.3) == ('found', 0.3) and f.device == 'cpu' and 'CPU' in f.problem


def test_other_errors_are_not_swallowed():
    class Broken(Fake):
        def keypoints(self, image, boxes):
            raise RuntimeError('shapes do not fit')

    f = Fallback(Broken(), lambda: Fake('cpu'))
    with pytest.raises(RuntimeError, match='shapes'):
        f.keypoints(None, BOXES)
    on_cpu = Fallback(Fake('cpu', room=0), lambda: pytest.fail('it is there already'))
    with pytest.raises(torch.OutOfMemoryError):
        on_cpu.keypoints(None, BOXES)
