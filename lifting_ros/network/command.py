"""``lifting-ros export``: the network as a file for other runtimes."""

import sys
from pathlib import Path


def add_arguments(parser):
    """Arguments of ``lifting-ros export``."""
    parser.add_argument('--format', choices=('onnx', 'torchscript'), default='onnx')
    parser.add_argument('--out', required=True, help='file to write')
    parser.add_argument('--part', choices=('crops', 'whole'), default='crops',
                        help='crops: crops of people to keypoints; whole: an image to the maps '
                             'that people are found in')
    parser.add_argument('--weights', help='network weights; default: the shipped ones')


def run(args):
    """Write the file and say what goes in and comes out.

    Raises:
        WeightsError: the weights are missing or damaged.
        RuntimeError: the format is onnx and the package onnx is not installed.
    """
    from . import weights
    from .export import CropGraph, WholeGraph, to_onnx, to_torchscript
    model, _ = weights.load(args.weights)
    graph = {'crops': CropGraph, 'whole': WholeGraph}[args.part](model.requires_grad_(False))
    out = Path(args.out)
    if args.format == 'onnx':
        try:
            import onnx  # noqa: F401  (torch's exporter needs it)
        except ImportError as error:
            raise RuntimeError('--format onnx needs the package onnx: pip install onnx, or take '
                               '--format torchscript') from error
        out.write_bytes(to_onnx(graph))
    else:
        to_torchscript(graph).save(str(out))
    side = model.config.size
    shape = f'(N, 3, {side}, {side})' if args.part == 'crops' else (
        '(1, 3, H, W), H and W multiples of 32')
    sys.stdout.write(f'{out}: {out.stat().st_size / 1e6:.1f} MB; in: image {shape} float32, '
                     f'RGB / 127.5 - 1; out: {", ".join(graph.names)}\n')
    return 0
