"""The network in other forms: ONNX for onnxruntime and TensorRT, TorchScript.

On a CPU onnxruntime runs the same network in about half of torch's time, so the estimator takes
it there where ``onnx`` and ``onnxruntime`` are installed, exported in memory from the weights.
"""

import io
import warnings
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from .decode import calibrated, decode
from .elimination import for_onnxruntime
from .int8 import read

OPSET = 17


class CropGraph(nn.Module):
    """Crops (N, 3, S, S) -> keypoints px (N, 17, 2), confidence (N, 17), covariance px^2."""

    names = ('xy', 'confidence', 'covariance')

    def __init__(self, model):
        super().__init__()
        self.model = model
        side = model.config.size
        self.example = torch.zeros(2, 3, side, side)
        self.axes = {0: 'people'}

    def forward(self, x):
        """See the class."""
        logits = self.model(x).logits[-1][:, :17]
        xy, confidence, covariance = decode(torch.sigmoid(logits))
        return xy, confidence, calibrated(covariance, confidence)


class WholeGraph(nn.Module):
    """A whole image (1, 3, H, W) -> centre (1, 1, h, w), regression (1, 34, h, w), heat."""

    names = ('centre', 'regress', 'heat')

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.example = torch.zeros(1, 3, 256, 384)
        self.axes = {2: 'height', 3: 'width'}

    def forward(self, x):
        """See the class."""
        f4 = self.model.trunk(x)[0]
        head = self.model.head
        return (torch.sigmoid(head['center'](f4).float()), head['regress'](f4).float(),
                torch.sigmoid(head['heatmap'](f4)[:, :17].float()))


def to_onnx(graph, onnxruntime_only=False):
    """A graph as the bytes of an ONNX file, input ``image``, outputs ``graph.names``.

    Args:
        onnxruntime_only: with operations that only onnxruntime has: 4 % faster there.
    """
    out = io.BytesIO()
    first = {0: 'people'} if 0 in graph.axes else {2: 'rows', 3: 'columns'}
    axes = {'image': graph.axes, **dict.fromkeys(graph.names, first)}
    own = for_onnxruntime() if onnxruntime_only else nullcontext()
    with warnings.catch_warnings(), torch.no_grad(), own:
        warnings.simplefilter('ignore')   # the tracer's, on shapes that are fixed by design
        torch.onnx.export(graph.eval(), (graph.example,), out, dynamo=False,
                          opset_version=OPSET, input_names=['image'],
                          output_names=list(graph.names), dynamic_axes=axes)
    return fold_padding(out.getvalue())


def fold_padding(data):
    """A graph with its paddings inside the convolutions that follow them.

    TensorFlow pads right and bottom only, which torch has to do in a step of its own. In ONNX a
    convolution pads each side as it likes; onnxruntime then keeps its own layout throughout,
    which saves a seventh of its time.

    Args:
        data: bytes of an ONNX file as torch writes it.

    Returns:
        bytes of an ONNX file.
    """
    import onnx
    from onnx import helper
    model = onnx.load_from_string(data)
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    readers = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for pad in [n for n in graph.node if n.op_type == 'Pad']:
        amount, after = _padding(pad, made), readers.get(pad.output[0], [])
        if amount is None or not all(n.op_type == 'Conv' for n in after):
            continue
        for conv in after:
            was = next((list(a.ints) for a in conv.attribute if a.name == 'pads'), [0] * 4)
            kept = [a for a in conv.attribute if a.name != 'pads']
            del conv.attribute[:]
            conv.attribute.extend(kept + [helper.make_attribute(
                'pads', [a + b for a, b in zip(was, amount)])])
            conv.input[0] = pad.input[0]
        graph.node.remove(pad)
    return model.SerializeToString()


def crop_side(data):
    """Side of the crops that an exported ONNX file takes, px.

    Raises:
        ValueError: the file takes images of any size.
    """
    import onnx
    shape = onnx.load_from_string(data).graph.input[0].type.tensor_type.shape.dim
    side = shape[-1].dim_value
    if not side:
        raise ValueError('this file takes whole images: export it with --part crops')
    return side


def _padding(pad, made):
    """Zeros that a Pad node adds at top, left, bottom, right; None where that is not known."""
    from onnx import numpy_helper
    if any(a.name == 'mode' and a.s != b'constant' for a in pad.attribute):
        return None
    node = pad          # torch's amounts, last axis first, go through a chain to ONNX's order
    for _ in range(8):
        name = node.input[1] if node is pad else node.input[0]
        node = made.get(name)
        if node is None:
            return None
        if node.op_type == 'Constant':
            amount = numpy_helper.to_array(node.attribute[0].t)
            if amount.shape != (4,) or (amount < 0).any():
                return None
            left, right, top, bottom = (int(v) for v in amount)
            return [top, left, bottom, right]
    return None


def to_torchscript(graph):
    """A graph as a traced TorchScript module."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        return torch.jit.trace(graph.eval(), graph.example, check_trace=False)


class OnnxRunner:
    """An ONNX graph in onnxruntime on the CPU: (N, 3, H, W) float32 array -> list of arrays."""

    def __init__(self, data, threads=0):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # idle threads that spin would take the cores from the node's other work
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        # numbers next to nothing take a processor a hundred times as long
        options.add_session_config_entry('session.set_denormal_as_zero', '1')
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(data, options,
                                                    providers=['CPUExecutionProvider'])

    def __call__(self, x):
        """Run it."""
        return self.session.run(None, {'image': np.ascontiguousarray(x)})


def runners(model, threads=0, int8=()):
    """onnxruntime's (crops, whole) for a network, or None where it is not installed.

    Args:
        int8: which of the two are the shipped int8 files', see :mod:`.int8`.
    """
    try:
        import onnx  # noqa: F401  (torch's exporter needs it)
        import onnxruntime  # noqa: F401
    except ImportError:
        return None
    return tuple(OnnxRunner(read(part) if part in int8 else to_onnx(kind(model), True), threads)
                 for part, kind in (('crops', CropGraph), ('whole', WholeGraph)))
