"""Speed of the whole pipeline on the demo clip at 640x480, with one person and with four."""

import statistics

import cv2
import numpy as np

from ..camera import Camera
from ..pipeline import Pipeline
from .demo import demo_folder

FRAMES, WARM_UP = 90, 15


def frames(count):
    """Frames of the clip, (480, 640, 3) uint8 each, with its person in it ``count`` times.

    Raises:
        FileNotFoundError: the clip is not there.
    """
    clip = demo_folder() / 'clip.mp4'
    video = cv2.VideoCapture(str(clip))
    if not video.isOpened():
        raise FileNotFoundError(f'{clip} is not there: run the bench from the repository')
    images = []
    while len(images) < FRAMES:
        image = video.read()[1]
        if count > 1:   # the strip that the person is in, side by side
            width = image.shape[1] // count
            strip = image[:, 310 - width // 2:310 - width // 2 + width]
            image = np.concatenate([strip] * count, axis=1)
        images.append(np.ascontiguousarray(image))
    return images


def measure(args):
    """Milliseconds (median) of the parts, people found and frames a second, searches included."""
    import torch
    torch.set_num_threads(args.threads)
    figures = {'device': args.device, 'threads': args.threads}
    for count in (1, 4):
        pipeline = Pipeline.from_pretrained(device=args.device)
        rows, people = [], []
        for i, image in enumerate(frames(count)):
            camera = Camera.from_fov(image.shape[1], image.shape[0])
            found = pipeline(image, camera, stamp=i / 30, up=(0, -1, 0))
            if i >= WARM_UP:
                rows.append(dict(pipeline.timing))
                people.append(len(found))
        total = [r['total'] for r in rows]
        figures[f'people_{count}'] = {
            **{k: statistics.median(r[k] for r in rows) for k in rows[0]},
            'search': statistics.median(r['find'] for r in rows if r['find'] > 1.0),
            'people_found': statistics.mean(people),
            'frames_per_second': 1000 / statistics.mean(total)}
    return figures


def report(figures):
    """The figures as text."""
    lines = [f'{figures["device"]}, {figures["threads"]} thread(s); milliseconds, median']
    for key in ('people_1', 'people_4'):
        f = figures[key]
        parts = '  '.join(f'{k} {f[k]:.1f}' for k in ('network', 'lift', 'track', 'total'))
        lines.append(f'{key.replace("_", " "):9}  {parts}; every few frames a search '
                     f'{f["search"]:.1f}; found {f["people_found"]:.2f}; '
                     f'{f["frames_per_second"]:.1f} frames/s')
    return '\n'.join(lines)
