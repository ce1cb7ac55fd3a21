"""int8 for onnxruntime on a CPU: convolutions of an exported graph, calibrated on crops.

Weights are int8 with a scale for each output channel, activations uint8 with ranges from the
calibration crops, written as QDQ pairs (onnxruntime and TensorRT read them). What is not a
convolution, above all the lift, the fusion and the decoding, stays in float.
"""

import tempfile
from pathlib import Path

import numpy as np

#: Parts of the graph by the names of their nodes.
PARTS = {'trunk': '/trunk/', 'heads': '/head', 'stages': '/stages.'}


def simplified(data):
    """A graph with its constants folded and its paddings inside the convolutions.

    TensorFlow's padding (right and bottom only) is a step of its own in torch; in ONNX a
    convolution may pad each side as it likes, and onnxruntime need not leave its own layout.

    Args:
        data: bytes of an ONNX file.

    Returns:
        bytes of an ONNX file.
    """
    import onnx
    import onnxruntime
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'graph.onnx'
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])
        model = onnx.load(str(path))
    _fold_pads(model.graph)
    return model.SerializeToString()


def _fold_pads(graph):
    from onnx import helper, numpy_helper
    constants = {i.name: i for i in graph.initializer}
    readers = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for pad in [n for n in graph.node if n.op_type == 'Pad']:
        after = readers.get(pad.output[0], [])
        if not (pad.input[1] in constants and after and all(
                n.op_type == 'Conv' and n.input[0] == pad.output[0] for n in after)):
            continue
        amount = numpy_helper.to_array(constants[pad.input[1]])
        if len(amount) != 8 or amount[[0, 1, 4, 5]].any() or (amount < 0).any():
            continue
        if len(pad.input) > 2 and pad.input[2] in constants and numpy_helper.to_array(
                constants[pad.input[2]]).any():
            continue
        extra = [int(amount[i]) for i in (2, 3, 6, 7)]
        for conv in after:
            was = next((list(a.ints) for a in conv.attribute if a.name == 'pads'), [0] * 4)
            kept = [a for a in conv.attribute if a.name != 'pads']
            del conv.attribute[:]
            conv.attribute.extend(kept + [helper.make_attribute(
                'pads', [a + b for a, b in zip(was, extra)])])
            conv.input[0] = pad.input[0]
        graph.node.remove(pad)


def convolutions(data, parts=('trunk',)):
    """Names of the convolutions of the parts of a graph, in order.

    Args:
        data: bytes of an ONNX file; parts: keys of :data:`PARTS`.
    """
    import onnx
    graph = onnx.load_from_string(data).graph
    wanted = tuple(PARTS[p] for p in parts)
    return [n.name for n in graph.node if n.op_type == 'Conv'
            and any(w in n.name for w in wanted)]


def quantised(data, crops, parts=('trunk',), leave=()):
    """A graph with int8 convolutions.

    Args:
        data: bytes of an ONNX file of :func:`.export.to_onnx`.
        crops: iterable of (N, 3, S, S) float32 inputs to calibrate on; some dozens do.
        parts: which parts, keys of :data:`PARTS`; leave: names of nodes to leave in float.

    Returns:
        bytes of an ONNX file.

    Raises:
        RuntimeError: onnxruntime's quantiser is not installed.
        ValueError: no crops, or no convolution in the parts.
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
    crops = [np.ascontiguousarray(c, np.float32) for c in crops]
    if not crops:
        raise ValueError('int8 needs crops to calibrate on')

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = iter(crops)

        def get_next(self):
            crop = next(self.left, None)
            return None if crop is None else {'image': crop}
    data = simplified(data)
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
        return after.read_bytes()
