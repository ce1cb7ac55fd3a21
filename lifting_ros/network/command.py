"""``lifting-ros export``: the network as a file for other runtimes."""

import dataclasses
import sys
from pathlib import Path


def add_arguments(parser):
    """Arguments of ``lifting-ros export``."""
    parser.add_argument('--format', choices=('onnx', 'torchscript'), default='onnx')
    parser.add_argument('--out', required=True, help='file to write')
    parser.add_argument('--part', choices=('crops', 'whole'), default='crops',
                        help='crops: crops of people to keypoints; whole: an image to the maps '
                             'that people are found in')
    parser.add_argument('--onnxruntime-only', action='store_true', help='with operations that '
                        'only onnxruntime has: 4 %% faster there')
    parser.add_argument('--weights', help='network weights; default: the shipped ones')
    parser.add_argument('--size', type=int,
                        help='side of the crops, px, a multiple of 32; default: as trained')
    parser.add_argument('--int8', action='store_true',
                        help='onnx: convolutions in int8, calibrated on pictures of people')
    parser.add_argument('--calibrate', metavar='PATH',
                        help='folder or zip of pictures with people, for --int8')
    parser.add_argument('--calibration-crops', type=int, default=64, metavar='N',
                        help='crops, or whole images, that ranges are taken from (%(default)s)')
    parser.add_argument('--int8-parts', nargs='+', choices=('trunk', 'heads', 'stages'),
                        default=['trunk'], help='what becomes int8; the lift stays float')


def run(args):
    """Write the file and say what goes in and comes out.

    Raises:
        WeightsError: the weights are missing or damaged.
        RuntimeError: the format is onnx and the package onnx is not installed.
        ValueError: options that do not go together, or nobody in the pictures of --calibrate.
    """
    from . import weights
    from .export import CropGraph, WholeGraph, to_onnx, to_torchscript
    if args.int8 and (args.format != 'onnx' or not args.calibrate):
        raise ValueError('--int8 goes with --format onnx --calibrate PATH')
    if args.size is not None and (args.size < 64 or args.size % 32):
        raise ValueError(f'--size is a multiple of 32 from 64 on, not {args.size}')
    model, _ = weights.load(args.weights)
    if args.size:
        model.config = dataclasses.replace(model.config, size=args.size)
    graph = {'crops': CropGraph, 'whole': WholeGraph}[args.part](model.requires_grad_(False))
    out = Path(args.out)
    if args.format == 'onnx':
        try:
            import onnx  # noqa: F401  (torch's exporter needs it)
        except ImportError as error:
            raise RuntimeError('--format onnx needs the package onnx: pip install onnx, or take '
                               '--format torchscript') from error
        data = to_onnx(graph, args.onnxruntime_only)
        out.write_bytes(_int8(data, model, args) if args.int8 else data)
    else:
        to_torchscript(graph).save(str(out))
    side = model.config.size
    shape = f'(N, 3, {side}, {side})' if args.part == 'crops' else (
        '(1, 3, H, W), H and W multiples of 32')
    sys.stdout.write(f'{out}: {out.stat().st_size / 1e6:.1f} MB; in: image {shape} float32, '
                     f'RGB / 127.5 - 1; out: {", ".join(graph.names)}\n')
    return 0


def _int8(data, model, args):
    from ..prior.file import digest
    from .estimator import Estimator
    from .quantise import crops_of, pictures, quantised, whole_of
    from .weights import DEFAULT
    count = args.calibration_crops
    if args.part == 'whole':
        inputs = whole_of(pictures(args.calibrate, count))
    else:
        inputs = crops_of(Estimator(model), pictures(args.calibrate, 4 * count), count)
    if not inputs:
        raise ValueError(f'no pictures, or nobody in them: {args.calibrate}')
    return quantised(data, inputs, args.int8_parts,
                     about={'weights_sha256': digest(args.weights or DEFAULT)})
