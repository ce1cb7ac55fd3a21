"""Training: masks, exchanged sides, augmentation, and a tiny run that goes on where it stopped."""

import cv2
import numpy as np
import pytest
import torch
from torch_support import NoHost

from lifting_ros.network import BeliefNet, Config
from lifting_ros.network.cpm import CpmConfig, CpmNet
from lifting_ros.network.maps import Maps
from lifting_ros.skeleton import INDEX, MIRROR
from lifting_ros.training import mixture, stages
from lifting_ros.training.augment import Augment, crop_truth, make_crop
from lifting_ros.training.loading import Ahead
from lifting_ros.training.losses import (
    batch_loss,
    belief_loss,
    better_side,
    map_loss,
    pose_loss,
    targets,
)
from lifting_ros.training.mixture import Mixture
from lifting_ros.training.photos import Labelled, held_out
from lifting_ros.training.recorded import Gradients
from lifting_ros.training.teacher import sides_exchanged
from lifting_ros.training.trainer import Plan, Trainer

QUIET = Augment(scale=1e-9, shift=0, turn=0, any_turn=0, cut=0, occlude=0, colour=0, blur=0,
                coarse=0, jpeg=0, noise=0, grey=0)


def _person(rng, swap=False):
    """A picture of coloured dots, one per joint."""
    image = np.full((160, 140, 3), 40, np.uint8)
    points = rng.uniform([30, 30], [110, 130], (17, 2))
    for i, (x, y) in enumerate(points.round().astype(int)):
        image[y - 3:y + 4, x - 3:x + 4] = (14 * i, 255 - 14 * i, (50 * i) % 255)
    return Labelled('lspet', 'dots', image, points, np.full(17, 2), np.array([25., 25, 115, 135]),
                    swap)


def _mixture(count=3, batch=4, how=QUIET):
    rng = np.random.default_rng(0)
    people = [(_person(rng), np.ones(21)) for _ in range(count)]
    return Mixture({'lspet': people, 'coco': people[:2]}, [], batch, seed=0, how=how)


def _trainer(bf16=None, device='cpu', **plan):
    torch.manual_seed(0)
    model = BeliefNet(Config(channels=8, layers=1))
    return Trainer(model, Plan(**{'steps': 40, 'batch': 4, 'size': 64, 'last_size': 96,
                                  'switch': 0.5, 'warm': 2, 'whole': 0, 'rate': 4.0, **plan}),
                   _mixture(), bf16=bf16, device=device)


def test_targets_are_where_the_keypoints_are():
    places = torch.tensor([[[41.5, 21.5], [np.nan, np.nan]]])
    map_, empty = targets(places, torch.tensor([[0.6, 1.0]]), 16, 16)[0]
    assert map_.flatten().argmax().item() == 5 * 16 + 10          # cell (10, 5): 4 x 10 + 1.5
    assert map_.max().item() == pytest.approx(0.6)
    assert empty.max() == 0


def test_place_is_least_at_the_truth():
    target = targets(torch.tensor([[[33.5, 33.5]]]), torch.ones(1, 1), 16, 16)
    known = torch.ones(1, 1, dtype=torch.bool)
    right, _ = map_loss(torch.log(target + 1e-6), target, known)
    wrong, _ = map_loss(torch.log(target.roll(3, 3) + 1e-6), target, known)
    p = (target / target.sum()).flatten()
    assert right.item() == pytest.approx(-(p * torch.log(p + 1e-12)).sum().item(), abs=0.01)
    assert wrong > right + 1


def _maps(logits):
    n, _, h, w = logits.shape
    return Maps([logits], torch.zeros(n, 4, h, w), torch.zeros(n, 17, 2), None, [], [], [])


def test_masked_joints_have_no_gradient():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 18, 16, 16, generator=rng, requires_grad=True)
    points = torch.rand(2, 21, 2, generator=rng) * 60
    known = torch.ones(2, 21, dtype=torch.bool)
    known[0, [3, 9]] = False
    points[0, [3, 9]] = float('nan')
    loss, _ = belief_loss(_maps(logits), points, known.float(), known, torch.ones(2, 21))
    loss.backward()
    grad = logits.grad[:, :17].abs().sum((2, 3))
    assert (grad[0, [3, 9]] == 0).all() and (grad[1] > 0).all()
    assert torch.isfinite(loss) and (grad[0, [0, 1, 2]] > 0).all()


def test_a_joint_out_of_sight_pulls_its_map_down_but_has_no_place():
    logits = torch.zeros(1, 18, 16, 16, requires_grad=True)
    known, belief = torch.ones(1, 21, dtype=torch.bool), torch.ones(1, 21)
    belief[0, 5] = 0
    loss, _ = belief_loss(_maps(logits), torch.full((1, 21, 2), 30.0), belief, known,
                          torch.ones(1, 21))
    loss.backward()
    assert (logits.grad[0, 5] > 0).all()          # descent lowers every cell
    assert logits.grad[0, 6].min() < 0            # and raises the truth of another joint


def test_better_side_turns_only_what_may_be_turned():
    rng = np.random.default_rng(1)
    truth = torch.from_numpy(rng.uniform(10, 54, (2, 21, 2))).float()
    known, belief = torch.ones(2, 21, dtype=torch.bool), torch.ones(2, 21)
    logits = torch.log(targets(truth, belief, 16, 16) + 1e-4)
    exchanged = truth.clone()
    exchanged[:, :17] = truth[:, list(MIRROR)]
    for swap, expected in ((torch.tensor([True, False]), (truth[0], exchanged[1])),
                           (torch.tensor([False, False]), (exchanged[0], exchanged[1]))):
        points, _, _ = better_side(logits, exchanged, belief, known, swap)
        torch.testing.assert_close(points, torch.stack(expected))
    points, _, _ = better_side(logits, truth, belief, known, torch.tensor([True, True]))
    torch.testing.assert_close(points, truth)


def test_pose_loss_knows_the_truth():
    truth = torch.randn(3, 17, 3, generator=torch.Generator().manual_seed(0)) * 0.4
    height = torch.tensor([1.6, 1.8, float('nan')])
    lift = truth / torch.nan_to_num(height, nan=1.0)[:, None, None] + 5
    assert pose_loss([lift], truth, height).item() == pytest.approx(1e-3, abs=1e-3)
    lift[0, 4, 1] += 0.85       # of one joint of 17, one person of two
    assert pose_loss([lift], truth, height).item() == pytest.approx(0.85 / 34, abs=1e-3)
    assert pose_loss([], truth, height) == 0


@pytest.mark.parametrize('seed', range(6))
def test_a_crops_labels_follow_its_picture(seed):
    """The colour under each label is the joint's own, whatever the crop's turn and mirror."""
    rng = np.random.default_rng(seed)
    person = _person(rng)
    how = Augment(colour=0, blur=0, coarse=0, jpeg=0, noise=0, grey=0, cut=0, occlude=0,
                  any_turn=0.5)
    crop = make_crop(rng, person, 192, how, [])
    right = checked = 0
    for j, (x, y) in enumerate(crop.keypoints[:17]):
        original = MIRROR[j] if crop.mirrored else j
        if 3 < x < 188 and 3 < y < 188:
            checked += 1
            colour = crop.image[int(round(y)), int(round(x))].astype(int)
            wanted = np.array([14 * original, 255 - 14 * original, (50 * original) % 255])
            right += np.abs(colour - wanted).max() < 12
    assert checked >= 8 and right >= checked - 4       # dots may cover one another
    assert crop.known[:17].all() and not crop.known[17:].any()


def test_what_is_cut_or_covered_is_less_believed():
    rng = np.random.default_rng(3)
    person = _person(rng)
    how = Augment(cut=1.0, occlude=1.0)
    crops = [make_crop(rng, person, 96, how, []) for _ in range(20)]
    belief = np.concatenate([c.belief[:17] for c in crops])
    assert set(np.unique(belief)) == {0.0, 0.6, 1.0}
    for crop in crops:
        x, y = crop.keypoints[:17].T
        outside = (x < -0.5) | (y < -0.5) | (x > 95.5) | (y > 95.5)
        assert (crop.belief[:17][outside] == 0).all()


def test_batches_depend_on_the_step_alone():
    mixture = _mixture(how=Augment())
    a, b, c = mixture(5, 64), mixture(5, 64), mixture(6, 64)
    assert torch.equal(a['image'], b['image']) and torch.equal(a['belief'], b['belief'])
    assert not torch.equal(a['image'], c['image'])
    assert a['image'].shape == (4, 3, 64, 64) and a['weight'].shape == (4, 21)


def test_tiny_training_learns_and_goes_on_where_it_stopped(tmp_path):
    torch.use_deterministic_algorithms(True)
    try:
        trainer = _trainer()
        losses = [trainer.step()['loss'] for _ in range(16)]
        assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3])
        trainer.save(tmp_path / 'checkpoint.pt')
        expected = [trainer.step()['loss'] for _ in range(2)]
        again = _trainer()
        again.load(tmp_path / 'checkpoint.pt')
        assert again.done == 16
        assert [again.step()['loss'] for _ in range(2)] == pytest.approx(expected, rel=1e-6)
        for a, b in zip(again.model.parameters(), trainer.model.parameters()):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
        other = _trainer()
        other.load(tmp_path / 'checkpoint.pt')
        other.optimiser.state.clear()      # a checkpoint without the optimiser goes elsewhere
        other.step()
        assert other.step()['loss'] != pytest.approx(expected[1], rel=1e-6)
    finally:
        torch.use_deterministic_algorithms(False)


def test_workers_make_the_same_batches(request):
    before = cv2.getNumThreads()
    request.addfinalizer(lambda: cv2.setNumThreads(before))
    cv2.setNumThreads(2)        # a pool of threads, for which a forked child would wait for ever
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 0)
    torch.zeros(500, 500) @ torch.zeros(500, 500)
    mixture = _mixture()
    thread = Ahead(mixture, lambda step: 64, 6)
    workers = Ahead(mixture, lambda step: 64, 6, workers=2)
    for step in (0, 1, 2, 4, 5):        # it may go on elsewhere
        a, b = thread(step), workers(step)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name].nan_to_num(), b[name].nan_to_num()) for name in a)


def test_bfloat16_learns_and_leaves_weights_and_average_as_they_are():
    plain, coarse = _trainer(), _trainer(bf16=True)
    first = [float(t.step()['loss']) for t in (plain, coarse)]
    assert first[0] != first[1]
    assert first[1] == pytest.approx(first[0], rel=0.02)
    losses = [float(coarse.step()['loss']) for _ in range(15)]
    assert np.mean(losses[-3:]) < 0.95 * first[1]
    assert {p.dtype for p in coarse.model.parameters()} == {torch.float32}
    image = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        assert coarse.average.trunk(image)[0].dtype == torch.float32
        assert coarse.model.trunk(image)[0].dtype == torch.bfloat16


def test_a_step_asks_the_device_for_nothing():
    """On a GPU every question is a wait: seen on tensors without contents."""
    trainer = _trainer(bf16=False)
    batch = {name: value.to('meta') for name, value in trainer.batch(0).items()}
    model = trainer.model.to('meta')
    for parameter in model.parameters():
        parameter.grad = None
    with NoHost() as watched:
        loss, said = batch_loss(model(batch['image'], batch['camera']), batch)
        loss.backward()
    assert watched.calls > 1000
    assert watched.forbidden == []
    assert all(value.device.type == 'meta' for value in said.values())


def test_gradients_are_of_one_batch_alone_and_without_a_graph_the_same(monkeypatch, caplog):
    trainer = _trainer()
    first, second = trainer.batch(0), trainer.batch(1)
    parameters = trainer.parameters

    def of(gradients, batch):
        said = gradients(batch)
        assert not said['loss'].requires_grad
        return float(said['loss']), [p.grad.clone() for p in parameters if p.grad is not None]
    plain = Gradients(trainer.losses, parameters)
    loss, grads = of(plain, first)
    assert of(plain, second)[0] != loss
    refused = Gradients(trainer.losses, parameters, record=True)

    def refuse(batch):
        raise RuntimeError('operation not permitted\nwhen the stream is capturing')
    monkeypatch.setattr(refused, '_record', refuse)
    for gradients in (plain, refused):
        again, same = of(gradients, first)
        assert again == pytest.approx(loss, rel=1e-6)
        assert len(same) == len(grads) > 50
        for a, b in zip(same, grads, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert 'operation not permitted' in caplog.text and 'capturing' not in caplog.text
    assert len(caplog.records) == 1

    def full(batch):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory')
    no_room = Gradients(trainer.losses, parameters, record=True)
    monkeypatch.setattr(no_room, '_record', full)
    with pytest.raises(RuntimeError, match='out of memory'):
        no_room(first)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA: steps are not recorded here')
def test_a_recorded_step_is_the_step():
    trainer = _trainer(bf16=False, device='cuda')
    plain, recorded = (Gradients(trainer.losses, trainer.parameters, record)
                       for record in (False, True))
    for step in (0, 1, 0, 30):      # the last with larger crops
        batch, answers = trainer.batch(step), []
        for gradients in (plain, recorded):
            loss = gradients(batch)['loss'].item()
            answers.append((loss, torch.cat([p.grad.flatten() for p in trainer.parameters
                                             if p.grad is not None])))
        (loss, grads), (again, same) = answers
        assert again == pytest.approx(loss, rel=1e-3)
        assert (same - grads).norm() < 1e-2 * grads.norm()
    assert recorded.record      # it has not given up
    for _ in range(12):
        said = trainer.step()
    assert trainer.gradients.record and float(said['loss']) < loss


def test_sides_that_a_network_sees_exchanged_are_doubted():
    rng = np.random.default_rng(5)
    people = [_person(rng) for _ in range(4)]
    seen = np.stack([p.keypoints for p in people]) + rng.normal(0, 1, (4, 17, 2))
    seen[1] = seen[1, MIRROR]                   # the label's sides, or the network's, are wrong
    seen[2, 8:] += 500                          # something else is
    wrists = [INDEX['left_wrist'], INDEX['right_wrist']]
    seen[3, wrists] = seen[3, wrists[::-1]]     # one pair of six
    assert sides_exchanged(seen, people).tolist() == [False, True, False, False]
    people[1].visible[:] = 0
    assert not sides_exchanged(seen, people).any()


def test_a_step_without_finite_gradients_is_skipped(monkeypatch):
    trainer = _trainer()
    trainer.step()
    before = [p.detach().clone() for p in trainer.parameters]
    losses = trainer.losses
    monkeypatch.setattr(trainer.gradients, 'losses', lambda batch: {
        'loss': losses(batch)['loss'] * float('inf')})
    said = trainer.step()
    assert said['skipped'] and not np.isfinite(said['norm'])
    assert all(torch.isfinite(p).all() for p in trainer.parameters)
    monkeypatch.undo()
    said = trainer.step()
    assert not said['skipped'] and np.isfinite(said['norm'])
    assert any(not torch.equal(p, was) for p, was in zip(trainer.parameters, before))


def test_a_lift_that_is_lost_pulls_at_nothing():
    rng = np.random.default_rng(0)
    truth = torch.from_numpy(rng.normal(0, 0.3, (2, 17, 3)) + [0, 0, 3.0]).float()
    lift = (truth / 1.7).clone()
    lift[0, 3] += 1e6
    lift[1, 3, 0] += 0.2
    lift.requires_grad_(True)
    loss = pose_loss([lift], truth, torch.full((2,), 1.7))
    assert loss < 0.1
    loss.backward()
    assert not lift.grad[0, 3].any() and lift.grad[1, 3, 0] > 0.01


def test_shares_are_taken_by_name():
    mixture = _mixture()
    mixture.take_shares(['coco=3', 'lspet=1'])
    assert dict(zip(mixture.names, mixture.share, strict=True)) == {'lspet': 0.25, 'coco': 0.75}
    for wrong in (['nobody=1'], ['coco=0'], ['coco=-1', 'lspet=2']):
        with pytest.raises(ValueError, match='--shares wants'):
            mixture.take_shares(wrong)


def test_first_layers_stay_and_the_average_follows():
    trainer = _trainer()
    before = {n: p.clone() for n, p in trainer.model.named_parameters()}
    for _ in range(3):
        trainer.step()
    moved = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    assert not any(n.startswith(('trunk.conv1', 'trunk.block0', 'trunk.block2')) for n in moved)
    assert any(n.startswith('trunk.block9') for n in moved)
    assert any(n.startswith('stages.') for n in moved)
    name = 'trunk.block9.dw.weight'
    mean = dict(trainer.average.named_parameters())[name]
    assert not torch.equal(mean, before[name])


@pytest.mark.parametrize('fuse', ['between', 'sum', 'product'])
def test_every_form_of_fusion_learns(fuse):
    torch.manual_seed(0)
    model = BeliefNet(Config(stages=2, channels=8, layers=1, lift_modes=2, lift_dims=3,
                             lift_headings=4, fuse=fuse))
    numbers = model.product if fuse == 'product' else model.fusion
    before = numbers.detach().clone()
    trainer = Trainer(model, Plan(steps=8, batch=4, size=64, warm=1, whole=0), _mixture())
    for _ in range(2):
        trainer.step()
    assert not torch.equal(numbers, before)


def test_rate_rises_then_falls():
    trainer = _trainer(warm=4, steps=40)
    rates = [trainer.rate(s) for s in range(41)]
    assert rates[0] < rates[3] and max(rates) <= 4 and rates[40] == pytest.approx(0.08)
    assert all(a >= b for a, b in zip(rates[4:], rates[5:]))
    assert trainer.size(0) == 64 and trainer.size(30) == 96


def test_kept_out_photos_are_kept_out_by_name():
    names = [f'im{i:05d}.webp' for i in range(4000)]
    kept = [n for n in names if held_out('lspet', n)]
    assert 0.04 < len(kept) / len(names) < 0.067
    assert kept == [n for n in names if held_out('lspet', n)]
    assert INDEX['pelvis'] == 0


def test_training_never_sees_what_is_kept_out(shared):
    from lifting_ros.training import photos
    data = shared / 'data' / 'photos'
    seen = {p.photo for p in photos.coco(data, False)}
    kept = {p.photo for p in photos.coco(data, True)}
    assert len(kept) >= 40 and not seen & kept
    assert not {p.photo for p in photos.lspet(data, False, 200)} & {
        p.photo for p in photos.lspet(data, True, 20)}


@pytest.mark.parametrize('seed', range(4))
def test_truth_in_3d_follows_the_crop(seed):
    """What a crop's camera projects of the turned, mirrored joints is its label."""
    rng = np.random.default_rng(seed)
    person = _person(rng)
    joints = rng.uniform([-0.5, -0.9, 2.5], [0.5, 0.9, 3.5], (17, 3))
    camera = np.array([[150.0, 0, 66], [0, 150, 81], [0, 0, 1]])
    seen = joints @ camera.T
    person.keypoints = seen[:, :2] / seen[:, 2:]
    person.joints, person.camera, person.stature = joints, camera, 1.7
    crop = make_crop(rng, person, 96, Augment(any_turn=0.5), [])
    (focal, cx, cy), turned = crop_truth(person, crop)
    projected = focal * turned[:, :2] / turned[:, 2:] + [cx, cy]
    assert np.abs(projected - crop.keypoints[:17]).max() < 1e-6
    # a rigid motion, or one and a mirror: distances stay
    order = list(MIRROR) if crop.mirrored else list(range(17))
    gaps = np.linalg.norm(joints[order][:, None] - joints[order][None], axis=2)
    assert np.allclose(np.linalg.norm(turned[:, None] - turned[None], axis=2), gaps)


def test_a_photo_without_truth_has_a_camera_of_55_degrees():
    rng = np.random.default_rng(0)
    camera, joints = crop_truth(_person(rng), make_crop(rng, _person(rng), 96, QUIET, []))
    assert np.isnan(joints).all()
    assert 2 * np.degrees(np.arctan(48 / camera[0])) == pytest.approx(55, abs=0.1)
    assert camera[1:].tolist() == [47.5, 47.5]


def test_stages_alone_learn_and_the_trunk_stays():
    torch.manual_seed(0)
    model = BeliefNet(Config(stages=2, channels=8, layers=1, lift_modes=2, lift_dims=3,
                             lift_headings=4))
    before = {n: v.clone() for n, v in model.state_dict().items()}
    data = stages.cache(model, _mixture(), 8, 64)
    assert data['first'].shape == (8, 17, 16, 16) and data['first'].dtype == torch.float16
    said = stages.train(model, data, 12, 4, seed=1, rate=1e-2)
    again = BeliefNet(model.config)
    again.load_state_dict(before)
    assert stages.train(again, data, 3, 4, seed=1, rate=1e-2)[0] == pytest.approx(said[0])
    assert np.mean(said[-3:]) < np.mean(said[:3])
    for name, value in model.state_dict().items():
        if name.startswith(('trunk.', 'head.', 'gain', 'bias')):
            assert torch.equal(value, before[name]), name


def test_the_papers_member_trains_too():
    torch.manual_seed(0)
    model = CpmNet(CpmConfig(stages=2, channels=8, width=0.05, size=64, lift_modes=2, lift_dims=3,
                             lift_headings=4))
    trainer = Trainer(model, Plan(steps=12, batch=4, size=64, last_size=64, warm=2, whole=1,
                                  rate=10.0), _mixture())
    said = [trainer.step()['loss'] for _ in range(12)]
    assert np.isfinite(said).all() and np.mean(said[-3:]) < 0.95 * np.mean(said[:3])


def test_a_users_own_people_are_mixed_in(tmp_path):
    rng = np.random.default_rng(0)
    own = [_person(rng) for _ in range(3)]
    for person in own:
        person.source = 'coco_json'
    people, trust = mixture._fold(own[0], np.zeros((21, 2)), np.zeros(21))
    assert (trust[:17] == 1).all() and people.extras.shape == (4, 2)
    mix = Mixture({'lspet': [(_person(rng), np.ones(21))],
                   'coco_json': [(people, trust)]}, [], 8, seed=0, how=QUIET)
    shares = np.array([mixture.SHARES['lspet'], mixture.SHARES['coco_json']])
    assert mix.share.tolist() == pytest.approx((shares / shares.sum()).tolist())
    assert mix(0, 64)['image'].shape == (8, 3, 64, 64)
