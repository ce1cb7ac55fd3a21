"""Losses and gradients of a training step, on a GPU as one CUDA graph.

Forward and backward of six stages with their lifts are some thousands of kernels of a few
microseconds each, which a GPU finishes sooner than Python can ask for them.
"""

import logging

import torch

from ..network.fallback import is_out_of_memory

log = logging.getLogger(__name__)


class Gradients:
    """Losses of a batch, and their gradients.

    Args:
        losses: callable, batch (dict of tensors) -> dict of scalars, of which ``loss`` is what is
            differentiated; asks the device for nothing.
        parameters: list of those that have gradients.
        record: replay a CUDA graph; a batch of another shape is recorded anew, and where that
            fails a warning says so and kernels are launched one by one.
        pool: of memory, which several that never run at the same time may share
            (``torch.cuda.graph_pool_handle()``).
    """

    def __init__(self, losses, parameters, record=False, pool=None):
        self.losses, self.parameters = losses, parameters
        self.record, self.pool = record, pool
        self._shape = self._graph = self._given = self._said = self._grads = None

    def __call__(self, batch):
        """Losses, detached and valid until the next call; gradients of this batch alone are in
        ``grad`` of the parameters.
        """
        shape = batch['image'].shape
        if self.record and shape != self._shape:
            self._try_to_record(batch)
            self._shape = shape
        if not self.record:
            return self._launch(batch)
        for name, value in batch.items():
            self._given[name].copy_(value)
        # where the graph writes them, whatever was put into their place
        for parameter, grad in zip(self.parameters, self._grads):
            parameter.grad = grad
        self._graph.replay()
        return self._said

    def _launch(self, batch):
        for parameter in self.parameters:
            parameter.grad = None
        said = self.losses(batch)
        said['loss'].backward()
        return {name: value.detach() for name, value in said.items()}

    def _try_to_record(self, batch):
        try:
            self._record(batch)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            log.warning('no CUDA graph of a training step (%s): kernel by kernel, slower',
                        str(error).splitlines()[0])
            self.record, self._graph, self._given = False, None, None

    def _record(self, batch):
        self._graph = self._given = self._said = self._grads = None    # of another shape
        self._given = {name: value.clone() for name, value in batch.items()}
        # libraries choose their kernels: not while it is recorded
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._launch(self._given)
        torch.cuda.current_stream().wait_stream(side)
        for parameter in self.parameters:
            parameter.grad = None
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode='thread_local'):
            self._said = self._launch(self._given)
        self._grads = [parameter.grad for parameter in self.parameters]
        self._graph = graph
