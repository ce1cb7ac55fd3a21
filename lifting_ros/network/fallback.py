"""Goes on where the GPU's memory ends: smaller batches first, then the CPU."""

import logging

import numpy as np

log = logging.getLogger(__name__)


def is_out_of_memory(error):
    """Is it the GPU's memory that was too small? (torch.OutOfMemoryError, and what CUDA's other
    libraries raise, which is a RuntimeError.)
    """
    return isinstance(error, RuntimeError) and 'out of memory' in str(error).lower()


class Fallback:
    """An estimator that halves its batch, and at last moves to the CPU, when memory runs out.

    Stays at what worked: somebody else holds that memory, most likely.

    Args:
        estimator: :class:`~lifting_ros.network.Estimator`, or the like of it.
        on_cpu: called without arguments, returns the estimator for the CPU.
        empty: called when memory has run out, gives back what is only kept in reserve.

    Attributes:
        problem: what has happened, in words, or None.
    """

    def __init__(self, estimator, on_cpu, empty=None):
        """See the class."""
        self._estimator, self._on_cpu, self._empty = estimator, on_cpu, empty
        self.batch, self.problem = None, None

    def __getattr__(self, name):
        """Whatever else an estimator has."""
        return getattr(self._estimator, name)

    def find(self, *args, **kwargs):
        """As :meth:`Estimator.find`."""
        try:
            return self._estimator.find(*args, **kwargs)
        except RuntimeError as error:
            if not self._can_help(error):
                raise
        self._to_cpu()  # one image is the least there is
        return self._estimator.find(*args, **kwargs)

    def keypoints(self, image, boxes):
        """As :meth:`Estimator.keypoints`, in as many batches as it takes."""
        while True:
            try:
                return self._in_batches(image, boxes)
            except RuntimeError as error:
                if not self._can_help(error):
                    raise
            n = min(len(boxes), self.batch or len(boxes))
            if n > 1:
                self.batch = n // 2
                self._say(f'the GPU\'s memory is full: at most {self.batch} people at once')
            else:
                self._to_cpu()

    def _in_batches(self, image, boxes):
        n = self.batch or max(len(boxes), 1)
        parts = [self._estimator.keypoints(image, boxes[i:i + n])
                 for i in range(0, max(len(boxes), 1), n)]
        if len(parts) == 1:
            return parts[0]
        return type(parts[0])(*(np.concatenate([getattr(p, name) for p in parts])
                                for name in ('xy', 'confidence', 'covariance')))

    def _can_help(self, error):
        on_gpu = str(self._estimator.device).startswith('cuda')
        if not on_gpu or not is_out_of_memory(error):
            return False
        if self._empty is not None:
            self._empty()
        return True

    def _to_cpu(self):
        self._estimator, self.batch = self._on_cpu(), None
        self._say('the GPU\'s memory is full: the network runs on the CPU now')

    def _say(self, text):
        self.problem = text
        log.warning(text)
