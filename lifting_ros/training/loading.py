"""Batches ahead of the training: by one thread, or by worker processes."""

import pickle
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import DataLoader, Dataset

_STUCK = 600    # s without a batch: the workers are not coming back
_ALIGN = 64     # bytes, of arrays in a file


class _Steps(Dataset):
    """What a mixture makes for each step, in processes that share its arrays.

    Workers are started afresh, not forked: threads of OpenCV and OpenMP that ran before a fork
    are gone in the child, which then waits for them for ever. What a fork would have shared, the
    decoded photos, lies in one file that all of them map.

    Args:
        mixture: callable (step, size) -> dict of tensors, to be pickled;
        sizes: (steps,) side of the crops of each step, px; file: where the arrays go.
    """

    def __init__(self, mixture, sizes, file):
        arrays = []
        self.sizes, self.file = sizes, file
        self.pickled = pickle.dumps(mixture, protocol=5, buffer_callback=arrays.append)
        self.places = []
        with open(file, 'wb') as out:
            for array in arrays:
                start = out.tell()
                self.places.append((start, start + out.write(array.raw())))
                out.write(bytes(-out.tell() % _ALIGN))
            out.write(bytes(_ALIGN))        # an empty file can't be mapped
        self._mixture = None

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, step):
        if self._mixture is None:
            self._mixture = self._load()
        return self._mixture(step, self.sizes[step])

    def _load(self):
        data = memoryview(np.memmap(self.file, np.uint8, 'c'))
        return pickle.loads(self.pickled, buffers=[data[a:b] for a, b in self.places])


def _one_thread(_):
    cv2.setNumThreads(1)


class Ahead:
    """Batches by step, which are made while others are trained on. Which they are depends on the
    step alone, not on who makes them.

    Args:
        mixture: callable (step, size) -> dict of tensors; size: callable step -> side, px.
        steps: of the whole training.
        workers: processes; 0: one thread of this one.
        pin: pinned memory, from which a GPU fetches by itself; with workers.
    """

    def __init__(self, mixture, size, steps, workers=0, pin=False):
        self.mixture, self.size, self.steps = mixture, size, steps
        self.workers, self.pin = workers, pin
        self._thread = None if workers else ThreadPoolExecutor(1)
        self._next, self._stream, self._at = {}, None, None
        self._made = self._folder = None

    def __call__(self, step):
        """Batch of a step, and a start on those that follow.

        Raises:
            RuntimeError: a worker ended, or none has made a batch for ten minutes.
        """
        if self.workers:
            if self._at != step:
                self._stream = iter(DataLoader(
                    self._shared(), batch_size=None, sampler=range(step, self.steps),
                    num_workers=self.workers, pin_memory=self.pin, timeout=_STUCK,
                    worker_init_fn=_one_thread, multiprocessing_context='spawn'))
            self._at = step + 1
            return next(self._stream)
        now = self._next.pop(step, None) or self._submit(step)
        self._next = {step + 1: self._submit(step + 1)}
        return now.result()

    def _shared(self):
        if self._made is None:
            self._folder = tempfile.TemporaryDirectory(prefix='lifting_ros_')
            self._made = _Steps(self.mixture, [self.size(s) for s in range(self.steps)],
                                Path(self._folder.name) / 'arrays')
        return self._made

    def _submit(self, step):
        return self._thread.submit(self.mixture, step, self.size(step))
