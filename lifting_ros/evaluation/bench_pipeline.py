"""Speed of the whole pipeline on a picture of one person at 640x480, part by part."""

import statistics

import cv2
import numpy as np

from ..camera import Camera
from ..pipeline import Pipeline

WARM_UP, ROUNDS = 5, 60


def synthetic_frame(width=640, height=480):
    """Noise, blurred to the size of things: (height, width, 3) uint8."""
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 5)


def measure(args):
    """Milliseconds (median) of the parts, for 1 and 4 people whose boxes are followed."""
    import torch
    torch.set_num_threads(args.threads)
    pipeline = Pipeline.from_pretrained(device=args.device, threshold=0.0)
    image = synthetic_frame()
    camera = Camera.from_fov(640, 480)
    figures = {'device': args.device, 'threads': args.threads}
    for count in (1, 4):
        boxes = np.array([[160 * i, 60, 150 + 160 * i, 440] for i in range(count)], float)
        rows = []
        for i in range(WARM_UP + ROUNDS):
            # the same people in every image, so that the figures speak of `count` people
            pipeline.reset()
            pipeline.estimator.find = lambda *_, b=boxes: (b, np.ones(len(b)))
            pipeline(image, camera, stamp=float(i), up=(0, -1, 0))
            if i >= WARM_UP:
                rows.append(dict(pipeline.timing))
        del pipeline.estimator.find
        figures[f'people_{count}'] = {k: statistics.median(r[k] for r in rows) for k in rows[0]}
    finds = []
    for i in range(WARM_UP + ROUNDS // 3):
        pipeline.reset()
        pipeline(image, camera, stamp=float(i))
        finds.append(pipeline.timing['find'])
    figures['search_ms'] = statistics.median(finds[WARM_UP:])
    every = pipeline.options.search_every
    total = figures['people_1']['total'] + figures['search_ms'] / every
    figures['frames_per_second_one_person'] = 1000 / total
    return figures


def report(figures):
    """The figures as text."""
    lines = [f'{figures["device"]}, {figures["threads"]} thread(s); milliseconds, median']
    for key in ('people_1', 'people_4'):
        parts = '  '.join(f'{k} {v:.1f}' for k, v in figures[key].items())
        lines.append(f'{key.replace("_", " "):9}  {parts}')
    lines.append(f'search of the whole image {figures["search_ms"]:.1f}; one person, '
                 f'{figures["frames_per_second_one_person"]:.1f} frames/s')
    return '\n'.join(lines)
