"""The error after every stage, against errors made on purpose."""

import numpy as np
import pytest
import torch

from lifting_ros.evaluation import stages
from lifting_ros.network import BeliefNet, Config
from lifting_ros.skeleton import INDEX
from lifting_ros.training.photos import Labelled

SIZE = 96


def _people(count=3):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (140, 120, 3), dtype=np.uint8)
    camera = np.array([[150.0, 0, 60], [0, 150, 70], [0, 0, 1]])
    out = []
    for _ in range(count):
        joints = rng.uniform([-0.3, -0.5, 2.5], [0.3, 0.5, 3.0], (17, 3))
        seen = joints @ camera.T
        out.append(Labelled('rendered', 'noise', image, seen[:, :2] / seen[:, 2:], np.full(17, 2),
                            np.array([10.0, 10, 110, 130]), joints=joints, camera=camera,
                            stature=1.7))
    return out


class _Known(torch.nn.Module):
    """A network whose second stage is right and whose first is 8 px off to the right."""

    def __init__(self, truth):
        super().__init__()
        self.net = BeliefNet(Config(stages=2, channels=8, lift_modes=2, lift_dims=3,
                                    lift_headings=4, size=SIZE))
        self.config, self.lift, self.truth = self.net.config, self.net.lift, truth

    def forward(self, x, camera):
        from lifting_ros.training.losses import targets
        n = len(x)
        truth = torch.from_numpy(self.truth[:n]).float()
        ones = torch.ones(n, 17)
        logits = []
        for shift in (8.0, 0.0):
            maps = targets(truth + torch.tensor([shift, 0.0]), ones, SIZE // 4, SIZE // 4)
            logits.append(torch.cat((torch.logit(maps.clamp(1e-4, 0.999)), maps[:, :1]), 1))
        return self.net(x, camera)._replace(logits=logits)


def test_measure_reads_the_error_of_each_stage():
    people = _people()
    _, camera, truth, joints, stature = stages.crops_of(people, SIZE)
    projected = (camera[:, None, :1].numpy() * joints[..., :2] / joints[..., 2:]
                 + camera[:, None, 1:].numpy())
    assert np.abs(projected - truth).max() < 1e-3 and (stature == 1.7).all()
    result = stages.measure(_Known(truth), people)
    assert result['px'][0] == pytest.approx(8, abs=0.5)
    assert result['px'][1] == pytest.approx(0, abs=0.5)
    torso = np.linalg.norm(truth[:, INDEX['left_shoulder']] - truth[:, INDEX['right_hip']], axis=1)
    assert result['pck'][0] == pytest.approx((0.2 * torso > 8).mean(), abs=0.34)
    assert result['pck'][1] == 1.0
    assert all(np.isfinite(v) and v > 0 for v in result['mm'])


def test_table_has_a_row_per_measure_and_leaves_out_what_is_unknown():
    figures = {'px': [9.5, 8.25], 'pck': [0.5, 0.6], 'mm': [None, None]}
    text = stages.table({'ours': {'photos': figures}})
    assert '| ours | photos | px | 9.50 | 8.25 |' in text and ' mm ' not in text
    assert text.count('\n') == 3
