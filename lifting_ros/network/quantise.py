"""int8 for onnxruntime on a CPU: convolutions of an exported graph, calibrated on crops.

Weights are int8 with a scale for each output channel, activations uint8 with ranges from the
calibration crops, written as QDQ pairs (onnxruntime and TensorRT read them). What is not a
convolution, above all the lift, the fusion and the decoding, stays in float.
"""

import tempfile
import zipfile
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np

from .crops import cut, normalise, resized, whole_input
from .find import SIDES

#: Parts of the graph by what the names of their nodes have in them.
PARTS = {'trunk': ('/trunk/',), 'stages': ('/context/', '/stages.'),
         'heads': ('/center/', '/heatmap/', '/regress/', '/offset/')}


def pictures(path, count):
    """Pictures of a folder, or of a zip, spread evenly over it.

    Args:
        path: folder (and those below it) or zip of .jpg, .png and .webp; count: at most so many.

    Returns:
        iterator of (H, W, 3) uint8 BGR images; files that are no pictures are passed over.
    """
    path = Path(path)
    kinds = ('.jpg', '.jpeg', '.png', '.webp')
    if path.is_dir():
        names = sorted(p for p in path.rglob('*') if p.suffix.lower() in kinds)
        for name in names[::max(1, len(names) // count)][:count]:
            image = cv2.imread(str(name), cv2.IMREAD_COLOR)
            if image is not None:
                yield image
        return
    with zipfile.ZipFile(path) as file:
        names = sorted(n for n in file.namelist() if Path(n).suffix.lower() in kinds)
        for name in names[::max(1, len(names) // count)][:count]:
            image = cv2.imdecode(np.frombuffer(file.read(name), np.uint8), cv2.IMREAD_COLOR)
            if image is not None:
                yield image


def crops_of(estimator, images, count=64):
    """Crops of the people that a network finds in pictures, to calibrate on.

    Args:
        estimator: :class:`.Estimator`; images: iterable of (H, W, 3) uint8 BGR;
        count: at most so many crops, two of a picture.

    Returns:
        list of (1, 3, S, S) float32 arrays.
    """
    crops = []
    size, margin = estimator.config.size, estimator.config.margin
    for image in images:
        boxes, _ = estimator.find(image, 0.3, 2)
        if len(boxes):
            crops += [normalise(c[None]).numpy() for c in cut(image, boxes, size, margin)[0]]
        if len(crops) >= count:
            break
    return crops[:count]


def whole_of(images, sides=SIDES):
    """Images as the search for people takes them, to calibrate on.

    Args:
        images: iterable of (H, W, 3) uint8 BGR; sides: px, one for each image in turn.

    Returns:
        list of (1, 3, H, W) float32 arrays, H and W multiples of 32.
    """
    return [whole_input(resized(image, side)).numpy() for image, side in zip(images, cycle(sides))]


def convolutions(data, parts=('trunk',)):
    """Names of the convolutions of the parts of a graph, and of what acts on their outputs.

    Args:
        data: bytes of an ONNX file; parts: keys of :data:`PARTS`.

    Returns:
        list of names of nodes, in order: convolutions, their bounds (ReLU, ReLU6), sums.
    """
    import onnx
    graph = onnx.load_from_string(data).graph
    wanted = tuple(name for p in parts for name in PARTS[p])
    return [n.name for n in graph.node if n.op_type in ('Conv', 'Clip', 'Relu', 'Add')
            and any(w in n.name for w in wanted)]


def described(data, about):
    """An ONNX file's bytes with strings ``about`` in its metadata."""
    import onnx
    model = onnx.load_from_string(data)
    onnx.helper.set_model_props(model, about)
    return model.SerializeToString()


def quantised(data, inputs, parts=('trunk',), leave=(), about=None):
    """A graph with int8 convolutions.

    Args:
        data: bytes of an ONNX file of :func:`.export.to_onnx`.
        inputs: iterable of (N, 3, H, W) float32 inputs to calibrate on; some dozens do.
        parts: which parts, keys of :data:`PARTS`; leave: names of nodes to leave in float.
        about: dict of strings for the file's metadata.

    Returns:
        bytes of an ONNX file.

    Raises:
        RuntimeError: onnxruntime's quantiser is not installed.
        ValueError: no inputs, or no convolution in the parts.
    """
    try:
        from onnxruntime.quantization import (
            CalibrationDataReader,
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )
    except ImportError as error:
        raise RuntimeError('int8 needs the packages onnx and onnxruntime') from error
    inputs = [np.ascontiguousarray(x, np.float32) for x in inputs]
    if not inputs:
        raise ValueError('int8 needs pictures to calibrate on')

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = iter(inputs)

        def get_next(self):
            x = next(self.left, None)
            return None if x is None else {'image': x}
    names = [n for n in convolutions(data, parts) if n not in set(leave)]
    if not names:
        raise ValueError(f'no convolution in {", ".join(parts)} of this graph')
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / 'float.onnx', Path(folder) / 'int8.onnx'
        before.write_bytes(data)
        quantize_static(
            str(before), str(after), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax, nodes_to_quantize=names,
            extra_options={'ActivationSymmetric': False, 'WeightSymmetric': True,
                           'QuantizeBias': True})
        return described(after.read_bytes(), about or {})
