"""Batches ahead of the training: by one thread, or by worker processes."""

from concurrent.futures import ThreadPoolExecutor

import cv2
from torch.utils.data import DataLoader, Dataset


class _Steps(Dataset):
    """What a mixture makes for each step."""

    def __init__(self, mixture, size, steps):
        self.mixture, self.size, self.steps = mixture, size, steps

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        return self.mixture(step, self.size(step))


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

    def __call__(self, step):
        """Batch of a step, and a start on those that follow."""
        if self.workers:
            if self._at != step:
                self._stream = iter(DataLoader(
                    _Steps(self.mixture, self.size, self.steps), batch_size=None,
                    sampler=range(step, self.steps), num_workers=self.workers,
                    pin_memory=self.pin, worker_init_fn=_one_thread))
            self._at = step + 1
            return next(self._stream)
        now = self._next.pop(step, None) or self._submit(step)
        self._next = {step + 1: self._submit(step + 1)}
        return now.result()

    def _submit(self, step):
        return self._thread.submit(self.mixture, step, self.size(step))
