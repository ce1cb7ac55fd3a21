"""Photos without people, and the textures cut from them or made."""

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np

from .renderer import TEXTURE_SIZE


class Photos:
    """Photos without people, and patches of them.

    Args:
        folder: where ``background.zip`` is, and ``coco_more`` (zip and json: those of its photos
            that have nobody in them); missing ones give grey noise instead.
        limit: at most so many of each.
    """

    def __init__(self, folder=None, limit=None):
        self.images = []
        for path, names in _without_people(folder):
            with zipfile.ZipFile(path) as z:
                for name in sorted(names or z.namelist())[:limit]:
                    image = cv2.imdecode(np.frombuffer(z.read(name), np.uint8), 1)
                    if image is not None:
                        self.images.append(_trimmed(image))

    def draw(self, rng):
        """A photo (h, w, 3) uint8 BGR."""
        if not self.images:
            small = rng.integers(40, 220, (6, 8, 3)).astype(np.uint8)
            return cv2.resize(small, (384, 288), interpolation=cv2.INTER_CUBIC)
        image = self.images[rng.integers(len(self.images))]
        return image[:, ::-1] if rng.random() < 0.5 else image

    def patches(self, rng, photos=48, made=32):
        """Textures (L, TEXTURE_SIZE, TEXTURE_SIZE, 3) uint8 RGB: cut from photos, and made."""
        n, out = TEXTURE_SIZE, []
        for _ in range(photos):
            image = self.draw(rng)
            side = int(rng.uniform(0.2, 0.7) * min(image.shape[:2]))
            y, x = (rng.integers(s - side + 1) for s in image.shape[:2])
            patch = cv2.resize(image[y:y + side, x:x + side], (n // 2, n // 2),
                               interpolation=cv2.INTER_AREA)[:, :, ::-1]
            patch = np.concatenate((patch, patch[:, ::-1]), 1)      # mirrored, so that it tiles
            out.append(np.concatenate((patch, patch[::-1]), 0))
        out += [_pattern(rng, n) for _ in range(made)]
        return np.stack(out).astype(np.uint8)


def _without_people(folder):
    """(zip, names in it or None for all) of the photos in which nobody is."""
    if folder is None:
        return
    folder = Path(folder)
    if (folder / 'background.zip').is_file():
        yield folder / 'background.zip', None
    if (folder / 'coco_more.zip').is_file() and (folder / 'coco_more.json').is_file():
        table = json.loads((folder / 'coco_more.json').read_text())
        empty = [r['file'] for r in table['images'] if not r['people'] and r['other_people'] == []]
        if empty:
            yield folder / 'coco_more.zip', empty


def _trimmed(image):
    """The photo without the even border that pads it to a square at the bottom or right."""
    for axis in (0, 1):
        rows = np.moveaxis(image, axis, 0).astype(np.float32)
        last = np.median(rows[-1], axis=0)
        even = np.abs(rows - last).mean((1, 2)) < 4
        end = len(rows)
        while end > 60 and even[end - 1]:
            end -= 1
        if end < len(rows):
            end -= 4
        image = np.moveaxis(np.moveaxis(image, axis, 0)[:end], 0, axis)
    return image


def _pattern(rng, n):
    """Stripes, checks, dots, grain: (n, n, 3) uint8."""
    y, x = np.mgrid[:n, :n] / n
    a, b = rng.integers(10, 245, 3), rng.integers(10, 245, 3)
    k = int(rng.integers(2, 13))
    kind = rng.integers(5)
    if kind == 0:
        mask = (np.sin(2 * np.pi * k * x) > rng.uniform(-0.7, 0.7))
    elif kind == 1:
        mask = (np.sin(2 * np.pi * k * y) > rng.uniform(-0.7, 0.7))
    elif kind == 2:
        mask = ((np.sin(2 * np.pi * k * x) > 0.3) * 0.5 + (np.sin(2 * np.pi * k * y) > 0.3) * 0.5)
    elif kind == 3:
        mask = ((x * k % 1 - 0.5)**2 + (y * k % 1 - 0.5)**2 < 0.08)
    else:
        grain = rng.random((k + 2, k + 2)).astype(np.float32)
        mask = cv2.resize(grain, (n, n), interpolation=cv2.INTER_CUBIC) > 0.5
        mask = mask * 0.8
    mask = np.asarray(mask, dtype=float)[..., None]
    grain = rng.normal(0, 6, (n, n, 1))
    return np.clip(a * (1 - mask) + b * mask + grain, 0, 255)
