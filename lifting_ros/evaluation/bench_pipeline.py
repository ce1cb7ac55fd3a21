"""Speed of the whole pipeline on the demo clip at 640x480, with one person, with four, 16."""

import statistics

import cv2
import numpy as np

from ..camera import Camera
from ..pipeline import Pipeline
from .demo import demo_folder

FRAMES, WARM_UP = 90, 15
PEOPLE = (1, 4, 16)


def frames(count):
    """Frames of the clip, (480, 640, 3) uint8 each, with its person in it 1, 4 or 16 times.

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
        if count > 1:   # the strip that the person is in, side by side; that four times
            width = image.shape[1] // 4
            strip = image[:, 310 - width // 2:310 - width // 2 + width]
            image = np.concatenate([strip] * 4, axis=1)
        if count > 4:
            image = np.tile(cv2.resize(image, None, fx=0.5, fy=0.5,
                                       interpolation=cv2.INTER_AREA), (2, 2, 1))
        images.append(np.ascontiguousarray(image))
    return images


def measure(args):
    """Milliseconds (median) of the parts, people found and frames a second, searches included."""
    import torch
    torch.set_num_threads(args.threads)
    figures = {'device': args.device, 'threads': args.threads}
    for count in PEOPLE:
        pipeline = Pipeline.from_pretrained(device=args.device)
        rows, people = [], []
        for i, image in enumerate(frames(count)):
            camera = Camera.from_fov(image.shape[1], image.shape[0])
            found = pipeline(image, camera, stamp=i / 30, up=(0, -1, 0))
            if i >= WARM_UP:
                rows.append(dict(pipeline.timing))
                people.append(len(found))
        total, finds = ([r[k] for r in rows] for k in ('total', 'find'))
        figures[f'people_{count}'] = {
            **{k: statistics.median(r[k] for r in rows) for k in rows[0]},
            'search': statistics.median(f for f in finds if f > max(finds) / 3),
            'people_found': statistics.mean(people),
            'frames_per_second': 1000 / statistics.mean(total)}
    return figures


def report(figures):
    """The figures as text."""
    lines = [f'{figures["device"]}, {figures["threads"]} thread(s); milliseconds, median']
    for count in PEOPLE:
        key = f'people_{count}'
        f = figures[key]
        parts = '  '.join(f'{k} {f[k]:.1f}' for k in ('network', 'lift', 'track', 'total'))
        lines.append(f'{key.replace("_", " "):9}  {parts}; every few frames a search '
                     f'{f["search"]:.1f}; found {f["people_found"]:.2f}; '
                     f'{f["frames_per_second"]:.1f} frames/s')
    return '\n'.join(lines)
