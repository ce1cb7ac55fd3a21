"""The network as a TensorRT engine, where the package ``tensorrt`` is installed (Jetson, CUDA).

The engine is built once on the machine that runs it, from the exported ONNX file (docs/deploy.md
has the ``trtexec`` line), and read here. What cannot be read is said, and torch runs instead.
"""

import logging
from pathlib import Path

import torch

log = logging.getLogger(__name__)


class EngineError(RuntimeError):
    """The engine cannot be used; the message says why and what to do."""


def _package():
    try:
        import tensorrt
    except ImportError as error:
        raise EngineError('the package tensorrt is not installed (on a Jetson it comes with '
                          'JetPack: install python3-libnvinfer, and let a virtual environment '
                          'see it with --system-site-packages)') from error
    return tensorrt


class Engine:
    """An engine of :class:`.export.CropGraph`: a callable like that graph.

    Its outputs stay on the GPU; batches that are larger than the engine was built for are cut.

    Args:
        path: engine file of ``trtexec --saveEngine``.
        names: outputs in order, see ``CropGraph.names``.
        package: the module tensorrt (for tests).

    Raises:
        EngineError: tensorrt or CUDA is missing, or the file was built elsewhere.
    """

    def __init__(self, path, names=('xy', 'confidence', 'covariance'), package=None):
        trt = package or _package()
        if not torch.cuda.is_available():
            raise EngineError('a TensorRT engine needs CUDA, and torch finds no CUDA device')
        path = Path(path)
        runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise EngineError(f'{path} is no engine of this TensorRT {trt.__version__} and this '
                              'GPU: build it again on this machine, see docs/deploy.md')
        have = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
        if not {'image', *names} <= have:
            raise EngineError(f'{path} has {", ".join(sorted(have))}, not image and '
                              f'{", ".join(names)}: export it with lifting-ros export')
        self.trt, self.engine, self.names = trt, engine, tuple(names)
        self.context = engine.create_execution_context()
        self.most = int(engine.get_tensor_profile_shape('image', 0)[2][0])
        self.stream = torch.cuda.Stream()

    def __call__(self, x):
        """(N, 3, S, S) float32 on the GPU -> list of tensors, as of ``CropGraph``."""
        parts = [self._run(part) for part in x.contiguous().split(self.most)]
        return [torch.cat(some) if len(some) > 1 else some[0] for some in zip(*parts)]

    def _run(self, x):
        context = self.context
        if not context.set_input_shape('image', tuple(x.shape)):
            raise EngineError(f'the engine does not take crops {tuple(x.shape)}: build it with '
                              'this size among its shapes, see docs/deploy.md')
        context.set_tensor_address('image', x.data_ptr())
        out = [torch.empty(tuple(context.get_tensor_shape(n)), dtype=torch.float32,
                           device=x.device) for n in self.names]
        for name, value in zip(self.names, out):
            context.set_tensor_address(name, value.data_ptr())
        self.stream.wait_stream(torch.cuda.current_stream())
        if not context.execute_async_v3(self.stream.cuda_stream):
            raise EngineError('TensorRT could not run the engine; its own message is above')
        torch.cuda.current_stream().wait_stream(self.stream)
        return out


def engine_or_torch(path, graph, package=None):
    """The engine of a file, or the graph it stands for, with a message why.

    Args:
        path: engine file, or None for none.
        graph: CropGraph on the GPU, or on the CPU.
        package: the module tensorrt (for tests).

    Returns:
        callable (N, 3, S, S) tensor -> outputs; the name of what runs, 'tensorrt' or 'torch'.
    """
    if path is None:
        return graph, 'torch'
    try:
        return Engine(path, graph.names, package), 'tensorrt'
    except (EngineError, OSError) as error:
        log.warning('no TensorRT engine, torch runs the network: %s', error)
        return graph, 'torch'
