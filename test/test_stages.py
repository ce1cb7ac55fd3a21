"""The error after every stage, against errors made on purpose."""

import numpy as np
import pytest
import torch

from lifting_ros.evaluation import stages
from lifting_ros.network import BeliefNet, Config
from lifting_ros.network.maps import logit
from lifting_ros.skeleton import INDEX
from lifting_ros.training import losses
from lifting_ros.training import stages as training
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
    result, each = stages.measure(_Known(truth), people)
    assert each['px'] == pytest.approx(0, abs=0.5) and len(each['mm']) == len(people)
    assert result['seen'] == result['px'] and result['hidden'] == [None, None]
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


TINY = dict(stages=3, channels=8, lift_modes=2, lift_dims=3, lift_headings=4, size=SIZE)


def _net(fuse, seed=0):
    torch.manual_seed(seed)
    return BeliefNet(Config(**TINY, fuse=fuse))


def _inputs(n=4, seed=1):
    rng = torch.Generator().manual_seed(seed)
    side = SIZE // 4
    return {'first': torch.randn(n, 17, side, side, generator=rng) - 3,
            'f4': torch.rand(n, 24, side, side, generator=rng),
            'wide8': torch.rand(n, 32, side // 2, side // 2, generator=rng),
            'wide16': torch.rand(n, 64, side // 4, side // 4, generator=rng)}


@pytest.mark.parametrize('fuse', ['sum', 'product'])
def test_fused_maps_are_read_of_every_stage(fuse):
    net, data = _net(fuse), _inputs()
    logits, lifts, fused, projected = net.refine(*data.values())
    assert len(logits) == len(lifts) == len(fused) == len(projected) == 3
    for maps, mixed in zip(logits, fused):
        torch.testing.assert_close(torch.sigmoid(maps[:, :17]), mixed)
    logits[-1].square().mean().backward()
    # of the last stage's own fusion too, and of the stages through it
    used = net.product if fuse == 'product' else net.fusion
    assert (used.grad.flatten(0, -2)[-1] != 0).all()
    assert all(stage.out.weight.grad.abs().sum() > 0 for stage in net.stages)


def test_product_is_the_belief_times_the_prediction():
    net, data = _net('product'), _inputs()
    joint = data['first']
    with torch.no_grad():
        fused, drawn, _, _ = net.fuse(0, joint, None, None)
        power, _, floor = net.product[:, 0, 0].exp()
        torch.testing.assert_close(fused[:, 0] - joint[:, 0],
                                   power * (drawn[:, 0] + floor).log())
        net.product[0] = -30.0       # an exponent of nothing leaves the belief
        torch.testing.assert_close(net.fuse(0, joint, None, None)[0], joint)


def test_sum_is_the_weighed_mean():
    net, data = _net('sum'), _inputs()
    with torch.no_grad():
        net.fusion[0] = 1.0
        w = torch.sigmoid(torch.tensor(1.0))
        fused, drawn, _, _ = net.fuse(0, data['first'], None, None)
    torch.testing.assert_close(fused, logit(w * torch.sigmoid(data['first']) + (1 - w) * drawn))


def test_a_form_that_is_not_there():
    with pytest.raises(ValueError, match='product'):
        Config(fuse='product of all')


def test_networks_of_before_load_unchanged():
    """No form adds to the state of a network that does not read its fused maps."""
    state = _net('between').state_dict()
    assert 'product' not in state and state['fusion'].shape == (2, 17)
    assert Config(**{k: v for k, v in Config().to_dict().items() if k != 'fuse'}) == Config()


def _cached(n=12):
    rng = torch.Generator().manual_seed(2)
    data = _inputs(n)
    keypoints = 20 + 56 * torch.rand(n, 21, 2, generator=rng)
    ones = torch.ones(n, 21)
    # the features show where the joints are, so that there is something to learn
    data['f4'][:, :17] += 3 * losses.targets(keypoints, ones, SIZE // 4, SIZE // 4)[:, :17]
    base = _net('between')
    *_, found = base.lift(torch.sigmoid(data['first']))
    camera = torch.tensor([[92.0, 47.5, 47.5]]).expand(n, 3)
    return base, data | dict(zip(training._FOUND, found)) | {
        'keypoints': keypoints, 'belief': ones, 'known': ones.bool(), 'weight': ones,
        'swap': torch.zeros(n, dtype=torch.bool), 'camera': camera,
        'joints': torch.full((n, 17, 3), float('nan')), 'height': torch.full((n,), 1.7)}


@pytest.mark.parametrize('form', ['plain', 'product'])
def test_training_lowers_the_loss_and_is_the_same_again(form):
    base, data = _cached(6)
    runs = []
    for _ in range(2):
        model = training.fresh(base, form, 3)
        runs.append(training.train(model, data, 12, 6, 0, rate=1e-2))
    assert runs[0] == runs[1]
    assert sum(runs[0][-4:]) < 0.96 * sum(runs[0][:4])
    assert not any(p.requires_grad and p.grad is not None for n, p in model.named_parameters()
                   if n.startswith(('trunk.', 'head.')))


def test_later_stages_start_alike_in_every_form():
    base, _ = _cached(2)
    nets = [training.fresh(base, form, 5).state_dict() for form in ('plain', 'product')]
    for name, value in nets[0].items():
        if name.startswith(('trunk.', 'context.', 'stages.')):
            assert torch.equal(value, nets[1][name]), name


def test_difference_is_paired():
    text = stages.difference(np.array([1.0, 5.0, np.nan]), np.array([2.0, 6.0, 1.0]))
    assert text == '-1.00 ± 0.00'


def test_picture_is_written(tmp_path):
    import cv2
    path = tmp_path / 'maps.png'
    stages.picture(_net('product').eval(), _people(), path, 'nose', 2)
    assert cv2.imread(str(path)).shape == (2 * SIZE, 5 * SIZE, 3)


def test_a_product_read_from_the_last_map_only():
    net = _net('between').eval()
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(4)) * 2 - 1
    with torch.no_grad():
        before = net(x).logits
        none = stages.read_product(_net('between').eval(), 0.0, 3.0, 0.03)(x).logits
        after = stages.read_product(_net('between').eval(), 0.6, 3.0, 0.03)(x).logits
    for a, b, c in zip(before[:-1], none, after):
        assert torch.equal(a, b) and torch.equal(a, c)
    assert torch.equal(before[-1], none[-1])
    # between floor and one, to the power
    off = (after[-1] - before[-1])[:, :17]
    assert off.min() >= 0.6 * np.log(0.03) - 1e-4 and off.max() <= 0.6 * np.log(1.03) + 1e-4
    assert off.min() < -1 and torch.equal(after[-1][:, 17], before[-1][:, 17])


def test_a_product_exports():
    pytest.importorskip('onnx', reason='pip install onnx onnxruntime')
    pytest.importorskip('onnxruntime', reason='pip install onnx onnxruntime')
    from lifting_ros.network.estimator import CropGraph
    from lifting_ros.network.export import runners
    net = _net('product').eval()
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(4)) * 2 - 1
    with torch.no_grad():
        own = CropGraph(net)(x)
    theirs = runners(net, 1)[0](x.numpy())
    assert np.abs(own[0].numpy() - theirs[0]).max() < 0.5
    assert np.abs(own[1].numpy() - theirs[1]).max() < 1e-3


def test_files_of_one_name_are_kept_apart():
    assert stages.names_of(['a/one.safetensors', 'b/two.safetensors']) == ['one', 'two']
    assert stages.names_of(['a/net.st', 'b/net.st']) == ['a/net.st', 'b/net.st']
