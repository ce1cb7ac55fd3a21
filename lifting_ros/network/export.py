"""The network in other forms: ONNX for onnxruntime and TensorRT, TorchScript.

On a CPU onnxruntime runs the same network in about half of torch's time, so the estimator takes
it there where ``onnx`` and ``onnxruntime`` are installed, exported in memory from the weights.
"""

import io
import warnings

import numpy as np
import torch
from torch import nn

from .decode import calibrated, decode

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
        return (torch.sigmoid(head['center'](f4)), head['regress'](f4),
                torch.sigmoid(head['heatmap'](f4)[:, :17]))


def to_onnx(graph):
    """A graph as the bytes of an ONNX file, input ``image``, outputs ``graph.names``."""
    out = io.BytesIO()
    first = {0: 'people'} if 0 in graph.axes else {2: 'rows', 3: 'columns'}
    axes = {'image': graph.axes, **dict.fromkeys(graph.names, first)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')   # the tracer's, on shapes that are fixed by design
        torch.onnx.export(graph.eval(), (graph.example,), out, dynamo=False,
                          opset_version=OPSET, input_names=['image'],
                          output_names=list(graph.names), dynamic_axes=axes)
    return out.getvalue()


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
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(data, options,
                                                    providers=['CPUExecutionProvider'])

    def __call__(self, x):
        """Run it."""
        return self.session.run(None, {'image': np.ascontiguousarray(x)})


def runners(model, threads=0):
    """onnxruntime's (crops, whole) for a network, or None where it is not installed."""
    try:
        import onnx  # noqa: F401  (torch's exporter needs it)
        import onnxruntime  # noqa: F401
    except ImportError:
        return None
    return tuple(OnnxRunner(to_onnx(kind(model)), threads) for kind in (CropGraph, WholeGraph))
