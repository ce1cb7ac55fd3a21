"""Curves of a training: as CSV always, and for TensorBoard where it is installed."""

import csv
import logging
from pathlib import Path

log = logging.getLogger(__name__)


class Curves:
    """Numbers by step.

    Args:
        folder: the CSV is ``curves.csv`` in it, TensorBoard's files are in ``tensorboard``.
        tensorboard: write those too where the package is there; False never.

    Attributes:
        writer: TensorBoard's, or None.
    """

    def __init__(self, folder, tensorboard=True):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / 'curves.csv'
        self.writer = self._writer() if tensorboard else None

    def _writer(self):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log.info('tensorboard is not installed: curves are in %s only', self.file)
            return None
        return SummaryWriter(str(self.folder / 'tensorboard'))

    def write(self, step, values):
        """Add values of a step.

        Args:
            step: int; values: dict name -> float.
        """
        new = not self.file.is_file()
        with self.file.open('a', newline='') as out:
            rows = csv.writer(out)
            if new:
                rows.writerow(('step', 'key', 'value'))
            rows.writerows((step, key, f'{value:.6g}') for key, value in values.items())
        if self.writer is not None:
            for key, value in values.items():
                self.writer.add_scalar(key, value, step)

    def picture(self, step, name, image):
        """Show a picture in TensorBoard (nothing without it).

        Args:
            step: int; name: str; image: (H, W, 3) uint8 BGR.
        """
        if self.writer is not None:
            self.writer.add_image(name, image[..., ::-1].copy(), step, dataformats='HWC')

    def cut_back(self, step):
        """Forget what comes after a step: a training that goes on there writes it again."""
        if not self.file.is_file():
            return
        with self.file.open(newline='') as file:
            rows = list(csv.reader(file))
        kept = rows[:1] + [r for r in rows[1:] if len(r) == 3 and int(r[0]) <= step]
        if len(kept) < len(rows):
            with self.file.open('w', newline='') as out:
                csv.writer(out).writerows(kept)

    def close(self):
        """Write what is left."""
        if self.writer is not None:
            self.writer.close()
