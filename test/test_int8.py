"""The shipped int8 files: whose they are, where they run, and that they say about the same."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from lifting_ros.network import Estimator, int8, weights
from lifting_ros.network.export import CropGraph, to_onnx
from lifting_ros.network.quantise import PARTS, convolutions, whole_of
from lifting_ros.prior.file import WeightsError, digest

DATA = Path(__file__).resolve().parent / 'data'
PEOPLE = cv2.imread(str(DATA / 'two_people.jpg'))


@pytest.mark.parametrize('part', int8.FILES)
def test_they_are_of_the_weights_that_ship(part):
    said = {p.key: p.value for p in onnx.load_from_string(int8.read(part)).metadata_props}
    assert said['weights_sha256'] == digest(weights.DEFAULT), (
        'the weights are new: make the int8 files again (docs/deploy.md)')


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    for name in ('network_whole_int8.onnx', 'SHA256SUMS'):
        (tmp_path / name).write_bytes((weights.DEFAULT.parent / name).read_bytes())
    path = tmp_path / 'network_whole_int8.onnx'
    monkeypatch.setitem(int8.FILES, 'whole', path)
    assert int8.read('whole') == path.read_bytes()
    path.write_bytes(path.read_bytes()[:-1] + b'x')
    with pytest.raises(WeightsError, match='install the package again, or set int8 to none'):
        int8.read('whole')
    path.unlink()
    with pytest.raises(WeightsError, match='missing'):
        int8.read('whole')


def test_only_a_cpu_with_dot_products_takes_them(tmp_path, monkeypatch):
    info = tmp_path / 'cpuinfo'
    monkeypatch.setattr(int8.platform, 'machine', lambda: 'x86_64')
    info.write_text('flags : fpu sse avx2 avx512f')
    assert not int8.fast_here(info)
    info.write_text('flags : fpu sse avx2 avx512f avx512_vnni')
    assert int8.fast_here(info)
    monkeypatch.setattr(int8.platform, 'machine', lambda: 'aarch64')
    assert not int8.fast_here(info)
    assert not int8.fast_here(tmp_path / 'nowhere')
    monkeypatch.setattr(int8, 'fast_here', lambda: False)
    assert int8.parts('all') == ()
    monkeypatch.setattr(int8, 'fast_here', lambda: True)
    assert int8.parts('search') == ('whole',)
    with pytest.raises(ValueError, match='none, search, all'):
        int8.parts('some')


def test_the_same_people_and_keypoints(monkeypatch):
    monkeypatch.setattr(int8, 'fast_here', lambda: True)     # slower elsewhere, but it runs
    plain, small = (Estimator.from_pretrained(int8=k) for k in ('none', 'all'))
    (boxes, scores), (others, heights) = (e.find(PEOPLE) for e in (plain, small))
    assert len(boxes) >= 2 and np.abs(scores[:2] - heights[:2]).max() < 0.15
    for box in boxes[:2]:
        assert np.abs(others[:2] - box).max(1).min() < 0.1 * np.ptp(box)
    one, two = (e.keypoints(PEOPLE, boxes[:2]) for e in (plain, small))
    sure = one.confidence > 0.3
    off = np.linalg.norm(one.xy - two.xy, axis=-1)[sure]
    assert sure.sum() > 15 and 0 < np.median(off) < 2
    assert np.median(np.abs(one.confidence - two.confidence)) < 0.05


def test_weights_of_ones_own_stay_float(tmp_path, monkeypatch):
    monkeypatch.setattr(int8, 'read', lambda part: pytest.fail('these are others'))
    path = tmp_path / 'own.safetensors'
    weights.save(weights.load()[0], path)
    assert Estimator.from_pretrained(path, int8='all').backend == 'onnx'


def test_every_part_has_convolutions():
    data = to_onnx(CropGraph(weights.load()[0].requires_grad_(False)))
    names = {part: convolutions(data, (part,)) for part in PARTS}
    assert all(names.values())
    convs = {n.name for n in onnx.load_from_string(data).graph.node if n.op_type == 'Conv'}
    assert convs <= set().union(*names.values())


def test_whole_images_are_padded_to_what_the_network_takes():
    out = whole_of([np.zeros((300, 400, 3), np.uint8)] * 3, sides=(192, 320))
    assert [x.shape for x in out] == [(1, 3, 160, 192), (1, 3, 256, 320), (1, 3, 160, 192)]
    assert all(x.dtype == np.float32 and (x == -1).all() for x in out)
