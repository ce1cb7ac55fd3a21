"""The network: shapes, start from MoveNet, decoding, weights file, estimator."""

import copy
import hashlib

import cv2
import numpy as np
import pytest
import torch

from lifting_ros.network import BeliefNet, Config, Estimator, weights
from lifting_ros.network.crops import as_input, cut, cut_on_device, normalise
from lifting_ros.network.decode import decode
from lifting_ros.network.find import find_people
from lifting_ros.network.maps import logit
from lifting_ros.network.trunk import movenet_tensors
from lifting_ros.prior.file import WeightsError
from lifting_ros.skeleton import ORDERS, convert


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return BeliefNet(Config(stages=3, channels=16, layers=1)).eval()


@pytest.mark.parametrize('size', [128, 192])
@pytest.mark.parametrize('lift', [True, False])
def test_shapes(size, lift):
    model = BeliefNet(Config(stages=3, channels=8, layers=1, lift=lift)).eval()
    with torch.no_grad():
        maps = model(torch.zeros(2, 3, size, size))
    cells = size // 4
    assert [m.shape for m in maps.logits] == [(2, 18, cells, cells)] * 3
    assert maps.extras.shape == (2, 4, cells, cells)
    assert maps.coarse.shape == (2, 17, 2) and maps.centre.shape == (2, 1, cells, cells)
    assert len(maps.lifts) == len(maps.projected) == len(maps.fused) == (2 if lift else 0)
    for pose, drawn in zip(maps.lifts, maps.projected):
        assert pose.shape == (2, 17, 3) and drawn.shape == (2, 17, cells, cells)
        assert (drawn >= 0).all() and (drawn <= 1).all()


def test_people_of_a_batch_do_not_mix(model):
    x = torch.randn(3, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together, alone = model(x).logits[-1], model(x[1:2]).logits[-1]
    torch.testing.assert_close(together[1:2], alone, atol=1e-3, rtol=1e-3)


def test_later_stages_start_at_the_first(model):
    with torch.no_grad():
        logits = model(torch.randn(1, 3, 128, 128)).logits
    torch.testing.assert_close(logits[0], logits[-1])


def test_fusion_mixes_by_its_weight(model):
    """f_t = w b + (1 - w) p, read off the maps that come out."""
    with torch.no_grad():
        maps = model(torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(2)))
        w = torch.sigmoid(model.fusion[0])[None, :, None, None]
        expected = w * torch.sigmoid(maps.logits[0][:, :17]) + (1 - w) * maps.projected[0]
    torch.testing.assert_close(maps.fused[0], expected)


def test_a_head_at_one_place_is_the_head_there(model):
    x = torch.randn(3, 24, 12, 20, generator=torch.Generator().manual_seed(3))
    place = torch.tensor([0, 7 * 20 + 11, 12 * 20 - 1])     # two of them at the maps' corners
    with torch.no_grad():
        whole = model.head['regress'](x).flatten(2)
        there = model.head['regress'].at(x, place)
    expected = torch.stack([whole[i, :, k] for i, k in enumerate(place)])
    torch.testing.assert_close(there, expected)


def test_a_stage_spreads_its_channels_as_pixel_shuffle_does():
    stage = BeliefNet(Config(stages=2, channels=16)).stages[0]
    torch.nn.init.normal_(stage.out.weight)
    torch.nn.init.normal_(stage.out.bias)
    x = torch.randn(2, 16, 5, 7, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        torch.testing.assert_close(stage.spread(x),
                                   torch.nn.functional.pixel_shuffle(stage.out(x), 2),
                                   atol=1e-5, rtol=1e-4)


def test_logit_is_the_inverse_of_the_sigmoid():
    b = torch.tensor([0.001, 0.3, 0.999])
    torch.testing.assert_close(torch.sigmoid(logit(b)), b, atol=1e-6, rtol=1e-5)
    assert torch.isfinite(logit(torch.tensor([0.0, 1.0]))).all()


def _drawn(places, size=64, spread=1.3):
    x = torch.arange(size, dtype=torch.float32)
    cell = (places - 1.5) / 4
    gx = torch.exp(-(x - cell[..., 0, None]) ** 2 / (2 * spread ** 2))
    gy = torch.exp(-(x - cell[..., 1, None]) ** 2 / (2 * spread ** 2))
    return gy[..., None] * gx[:, :, None]


def test_decode_finds_peaks_between_the_cells():
    rng = np.random.default_rng(0)
    places = torch.from_numpy(rng.uniform(30, 220, (4, 17, 2))).float()
    xy, confidence, covariance = decode(0.8 * _drawn(places))
    assert (xy - places).abs().max() < 0.4       # px of the crop: a tenth of a cell
    assert (xy - places).abs().mean() < 0.1
    assert (confidence > 0.6).all() and (confidence <= 0.8).all()
    eigen = torch.linalg.eigvalsh(covariance)
    assert (eigen > 0).all()
    # about as wide as what was drawn: 1.3 cells of 4 px
    assert 0.5 * 5.2 < eigen.sqrt().mean() < 1.5 * 5.2


def test_a_map_of_two_peaks_is_unsure_along_their_line():
    places = torch.tensor([[[100.0, 128.0]]])
    one = _drawn(places)
    two = one + 0.9 * _drawn(places + torch.tensor([28.0, 0.0]))
    _, _, narrow = decode(one)
    _, _, wide = decode(two.clamp(max=1))
    assert wide[0, 0, 0, 0] > 5 * narrow[0, 0, 0, 0]
    assert wide[0, 0, 1, 1] < 2 * narrow[0, 0, 1, 1]


def test_decode_shifts_with_the_map_and_survives_nothing():
    belief = _drawn(torch.tensor([[[101.0, 90.0]]]))
    a, _, ca = decode(belief)
    b, _, cb = decode(torch.roll(belief, (3, 5), (2, 3)))
    torch.testing.assert_close(b - a, torch.tensor([[[20.0, 12.0]]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(ca, cb, atol=1e-2, rtol=1e-2)
    xy, confidence, covariance = decode(torch.zeros(1, 2, 16, 16))
    assert torch.isfinite(xy).all() and torch.isfinite(covariance).all()
    assert (confidence == 0).all()


def test_crops_of_cpu_and_device_agree():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 255, (200, 300, 3), dtype=np.uint8), (0, 0), 3)
    boxes = np.array([[40.0, 30, 120, 170], [-20, 60, 90, 260]])
    crops, scale, offset = cut(image, boxes, 128, 1.25)
    theirs, s, o = cut_on_device(torch.from_numpy(image), boxes, 128, 1.25)
    np.testing.assert_allclose(s, scale)
    np.testing.assert_allclose(o, offset)
    difference = (as_input(theirs) - normalise(crops)).abs() * 127.5
    assert difference.median() < 1.5 and difference.mean() < 2.5


def test_find_takes_each_person_once():
    h = w = 48
    centre = np.zeros((h, w))
    regress = np.zeros((34, h, w))
    heat = np.zeros((17, h, w))
    offsets = np.stack(np.meshgrid((-6, -2, 2, 6), (-5, 0, 5)), -1).reshape(-1, 2)
    joints = np.concatenate((offsets, [(-4, -8)] * 5))      # (17, 2) x y about the centre
    for x, y, score in ((12, 20, 0.9), (34, 20, 0.6), (14, 20, 0.5)):
        centre[y, x] = score
        regress[:, y, x] = joints[:, ::-1].ravel()
    boxes, scores = find_people(centre, regress, heat, 0.3, 8)
    assert scores.tolist() == [0.9, 0.6]        # the third shares the first one's box
    # joints from -6..6 by -8..5 cells, and a tenth of the longer extent more on every side
    lo, hi = 4 * np.array([12 - 6, 20 - 8]) + 1.5, 4 * np.array([12 + 6, 20 + 5]) + 1.5
    assert (boxes[0, :2] <= lo).all() and (boxes[0, :2] > lo - 12).all()
    assert (boxes[0, 2:] >= hi).all() and (boxes[0, 2:] < hi + 12).all()
    assert len(find_people(centre, regress, heat, 0.95, 8)[0]) == 0
    assert len(find_people(centre, regress, heat, 0.3, 1)[0]) == 1


def test_weights_survive_the_file(tmp_path, model):
    path = tmp_path / 'network.safetensors'
    weights.save(model, path, {'trained_on': 'nothing'})
    back, metadata = weights.load(path)
    assert back.config == model.config and metadata['trained_on'] == 'nothing'
    for (name, a), b in zip(model.state_dict().items(), back.state_dict().values()):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3, msg=name)


def test_missing_and_damaged_weights_say_so(tmp_path, model):
    missing = tmp_path / 'gone.safetensors'
    with pytest.raises(WeightsError, match='gone.safetensors'):
        weights.load(missing)
    path = tmp_path / 'network.safetensors'
    weights.save(model, path)
    good = path.read_bytes()
    (tmp_path / 'SHA256SUMS').write_text('0' * 64 + '  network.safetensors\n')
    with pytest.raises(WeightsError, match='0' * 64):
        weights.load(path)
    (tmp_path / 'SHA256SUMS').unlink()
    path.write_bytes(good[:1000])
    with pytest.raises(WeightsError):
        weights.load(path)


def test_estimator_refuses_what_it_cannot_do(model):
    estimator = Estimator(model, backend='torch')
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match='uint8'):
        estimator.keypoints(image[..., 0], np.zeros((1, 4)))
    with pytest.raises(ValueError, match='empty'):
        estimator.find(np.zeros((0, 64, 3), np.uint8))
    with pytest.raises(ValueError, match='finite'):
        estimator.keypoints(image, np.array([[0, 0, np.nan, 3]]))
    assert estimator.keypoints(image, np.zeros((0, 4))).xy.shape == (0, 17, 2)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match='CUDA'):
            Estimator(model, device='cuda')


def test_keypoints_are_in_pixels_of_the_image():
    """Shift a picture and its box: keypoints shift alike, covariance stays."""
    estimator = Estimator.from_pretrained(backend='torch')
    rng = np.random.default_rng(5)
    patch = cv2.GaussianBlur(rng.integers(0, 255, (120, 80, 3), dtype=np.uint8), (0, 0), 4)
    a, b = np.zeros((2, 400, 400, 3), np.uint8)
    a[100:220, 60:140] = patch
    b[170:290, 210:290] = patch
    box = np.array([[60.0, 100, 139, 219]])
    one = estimator.keypoints(a, box)
    two = estimator.keypoints(b, box + [150, 70, 150, 70])
    np.testing.assert_allclose(two.xy - one.xy, np.broadcast_to([150, 70], (1, 17, 2)), atol=0.2)
    size = np.trace(one.covariance, axis1=2, axis2=3)[..., None, None]
    assert (np.abs(two.covariance - one.covariance) < 0.05 * size).all()


@pytest.mark.parametrize('people', [1, 3])
def test_onnx_says_what_torch_says(people):
    rng = np.random.default_rng(6)
    image = cv2.GaussianBlur(rng.integers(0, 255, (300, 400, 3), dtype=np.uint8), (0, 0), 5)
    boxes = np.array([[100.0, 50, 220, 280], [10, 10, 90, 200], [300, 100, 380, 290]])[:people]
    one = Estimator.from_pretrained(backend='onnx').keypoints(image, boxes)
    two = Estimator.from_pretrained(backend='torch').keypoints(image, boxes)
    np.testing.assert_allclose(one.confidence, two.confidence, atol=1e-3)
    # a map without any peak may have its maximum anywhere
    sure = two.confidence > 0.05
    assert np.abs(one.xy - two.xy)[sure].max(initial=0) < 0.5
    assert np.median(np.abs(one.xy - two.xy)) < 0.05


def test_rebuilt_movenet_is_the_published_one(shared):
    """The float network and the int8 peer agree on a picture of somebody at work."""
    pytest.importorskip('ai_edge_litert', reason='the peer is not installed: '
                        'ai-edge-litert of requirements.lock')
    from lifting_ros.evaluation.peers import MoveNet, MoveNetInt8
    data = shared / 'data'
    image = cv2.imread(str(next((data / 'photos' / 'work').glob('kitchen_cook*'))))
    box = np.array([366.0, 60, 519, 353])
    mine = MoveNet(data / 'weights' / 'movenet_lightning.npz', 192)(image, box)
    theirs = MoveNetInt8(data / 'peers' / 'movenet_single_pose_lightning_ptq.tflite')(image, box)
    side = 1.25 * (box[3] - box[1])
    error = np.linalg.norm(mine - theirs, axis=1) / side * 192
    assert np.nanmedian(error) < 4.0 and np.isfinite(error).sum() >= 13


def test_stage_one_starts_where_movenet_is(shared):
    """Before any training the maps say what MoveNet's own decoding says."""
    from lifting_ros.evaluation.peers import movenet_decode
    data = shared / 'data'
    image = cv2.imread(str(next((data / 'photos' / 'work').glob('kitchen_cook*'))))
    model = BeliefNet(Config(lift=False)).eval()
    model.load_movenet(movenet_tensors(data / 'weights' / 'movenet_lightning.npz'))
    crops, _, _ = cut(image, np.array([[366.0, 60, 519, 353]]), 256, 1.25)
    with torch.no_grad():
        x = normalise(crops)
        ours, _, _ = decode(torch.sigmoid(model(x).logits[-1][:, :17]))
        theirs, sure = movenet_decode(model, x)
    names = [n for n in ORDERS['coco'] if 'eye' not in n and 'ear' not in n]
    theirs, sure = convert(theirs[0].numpy(), sure[0].numpy(), 'coco')
    at = [ORDERS['lifting_ros'].index(n) for n in names]
    error = np.linalg.norm(ours[0].numpy()[at] - theirs[at], axis=1)
    assert (sure[at] > 0.2).sum() >= 6 and np.median(error[sure[at] > 0.2]) < 4.0


@pytest.mark.parametrize('people, height, width', [(1, 64, 96), (3, 96, 64), (3, 128, 128)])
def test_shapes_of_crops_of_other_sizes(model, people, height, width):
    with torch.no_grad():
        maps = model(torch.zeros(people, 3, height, width))
    h, w = height // 4, width // 4
    assert [m.shape for m in maps.logits] == [(people, 18, h, w)] * 3
    assert maps.projected[0].shape == maps.fused[0].shape == (people, 17, h, w)
    assert all(torch.isfinite(m).all() for m in maps.logits + maps.lifts + maps.projected)


def test_trust_of_one_leaves_the_belief(model):
    sure = copy.deepcopy(model)
    sure.fusion.data.fill_(40.0)
    w = torch.sigmoid(sure.fusion)
    assert (w == 1).all() and ((torch.sigmoid(model.fusion) > 0)
                               & (torch.sigmoid(model.fusion) < 1)).all()
    with torch.no_grad():
        maps = sure(torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(2)))
    for logits, fused in zip(maps.logits, maps.fused):
        torch.testing.assert_close(fused, torch.sigmoid(logits[:, :17]), atol=1e-6, rtol=0)


def test_a_point_of_the_image_is_where_the_transform_says():
    rng = np.random.default_rng(3)
    for _ in range(10):
        point = rng.integers([60, 50], [240, 150])
        image = np.zeros((200, 300, 3), np.uint8)
        cv2.circle(image, point.tolist(), 4, (255, 255, 255), -1)
        corner = point - rng.uniform(5, 60, 2)
        box = np.concatenate((corner, point + rng.uniform(5, 60, 2)))
        crops, scale, offset = cut(image, box[None], 192, 1.25)
        on_device, _, _ = cut_on_device(torch.from_numpy(image), box[None], 192, 1.25)
        for crop in (crops[0, ..., 0].astype(float), on_device[0, 0].numpy()):
            y, x = np.indices(crop.shape)
            found = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()
            np.testing.assert_allclose(found, scale[0] * point + offset[0], atol=0.2)


def test_order_of_boxes_is_order_of_people(model):
    estimator = Estimator(model, backend='torch')
    rng = np.random.default_rng(6)
    image = cv2.GaussianBlur(rng.integers(0, 255, (300, 400, 3), dtype=np.uint8), (0, 0), 5)
    boxes = np.array([[100.0, 50, 220, 280], [10, 10, 90, 200], [300, 100, 380, 290]])
    straight, turned = (estimator.keypoints(image, b) for b in (boxes, boxes[[2, 0, 1]]))
    for name in ('xy', 'confidence', 'covariance'):
        np.testing.assert_allclose(getattr(turned, name), getattr(straight, name)[[2, 0, 1]],
                                   atol=1e-2, rtol=1e-3)
    nobody = estimator.keypoints(image, np.zeros((0, 4)))
    assert nobody.confidence.shape == (0, 17) and nobody.covariance.shape == (0, 17, 2, 2)


@pytest.mark.parametrize('harm', ['missing', 'truncated', 'altered'])
def test_harmed_weights_are_named_with_their_digests(tmp_path, model, harm):
    path = tmp_path / 'network.safetensors'
    weights.save(model, path)
    good = path.read_bytes()
    digest = hashlib.sha256(good).hexdigest()
    (tmp_path / 'SHA256SUMS').write_text(f'{digest}  network.safetensors\n')
    Estimator.from_pretrained(path, backend='torch')          # whole, it loads
    bad = {'missing': None, 'truncated': good[:-5000],
           'altered': good[:-100] + bytes([good[-100] ^ 1]) + good[-99:]}[harm]
    path.unlink()
    if bad is not None:
        path.write_bytes(bad)
    with pytest.raises(WeightsError) as error:
        Estimator.from_pretrained(path)
    assert str(path) in str(error.value) and digest in str(error.value)
    if bad is not None:
        assert hashlib.sha256(bad).hexdigest() in str(error.value)


def test_the_fainter_the_map_the_wider_the_covariance():
    from lifting_ros.network.decode import calibrated
    eye = torch.eye(2).expand(1, 4, 2, 2)
    out = calibrated(eye, torch.tensor([[0.0, 0.1, 0.25, 0.5]]))[0, :, 0, 0]
    torch.testing.assert_close(out[2:], torch.tensor([1.0, 0.5]))
    assert out[1] == pytest.approx(2.5) and torch.isfinite(out).all() and out[0] > out[1]
