"""``lifting-ros eval 2d``: keypoints on photographs kept out of training, beside peers.

Every network gets the same boxes and the same square crops. LSPet: PCK@0.2 of the torso over the
twelve limb joints. COCO: mean OKS over nose and limbs of people with five or more labelled
joints, 60 px or taller.
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np

from ..training import photos
from .measures2d import box_area, oks, oks_table, pck_table
from .peers import peers

log = logging.getLogger(__name__)


def add_arguments(parser):
    """Arguments of ``lifting-ros eval 2d``."""
    parser.add_argument('--data', required=True, help='folder of the labelled photos')
    parser.add_argument('--movenet', help='movenet_lightning.npz; default: ../weights of --data')
    parser.add_argument('--peers', help='folder of the .tflite peers')
    parser.add_argument('--weights', help='network weights; default: the shipped ones')
    parser.add_argument('--onnx', nargs='+', default=[], metavar='FILE',
                        help='files of lifting-ros export --format onnx to measure beside it')
    parser.add_argument('--limit', type=int, help='people of each set')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--json', help='write the table here too')


def measure(network, athletes, people, progress=iter):
    """Figures of one network.

    Args:
        network: callable (image, box) -> (17, 2) px.
        athletes: list of Labelled with a torso (PCK); people: list of Labelled (OKS).

    Returns:
        dict of :func:`pck_table` under 'lspet' and of :func:`oks_table` under 'coco'.
    """
    result = {}
    for name, some in (('lspet', athletes), ('coco', people)):
        if not some:
            continue
        found = np.stack([network(p.image, p.box) for p in progress(some)])
        truth = np.stack([p.keypoints for p in some])
        labelled = np.stack([p.visible for p in some]) > 0
        if name == 'lspet':
            result[name] = pck_table(found, truth, labelled)
        else:
            area = box_area(np.stack([p.box for p in some]))
            result[name] = oks_table(oks(found, truth, labelled, area))
    return result


def exported(file, margin):
    """An exported network as the others: callable (image, box) -> (17, 2) px.

    Args:
        file: ONNX file of :class:`~lifting_ros.network.export.CropGraph`; margin: of its crops.
    """
    from ..network.crops import cut, normalise
    from ..network.export import OnnxRunner, crop_side
    data = Path(file).read_bytes()
    runner, size = OnnxRunner(data, 1), crop_side(data)

    def keypoints(image, box):
        crops, scale, offset = cut(image, box[None], size, margin)
        return (runner(normalise(crops).numpy())[0][0].astype(np.float64) - offset) / scale[0]
    return keypoints


def table(results):
    """The figures as a Markdown table; ratios are to the float MoveNet where it was run."""
    joints = ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')
    head = ('network', 'PCK@0.2', 'sides as fit', *joints, 'mean OKS', 'OKS > 0.5')
    rows = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    base = next((r for n, r in results.items() if n.startswith('MoveNet float')), None)
    for name, r in results.items():
        a, b = r.get('lspet'), r.get('coco')
        cells = [name]
        cells += ([f'{a["pck"]:.3f}', f'{a["pck_sides_as_fit"]:.3f}']
                  + [f'{a["by_joint"][j]:.3f}' for j in joints]) if a else ['-'] * 8
        cells += [f'{b["oks"]:.3f}', f'{b["over_half"]:.3f}'] if b else ['-'] * 2
        rows.append('| ' + ' | '.join(cells) + ' |')
    ours = results.get('ours')
    if base and ours:
        ratios = []
        if 'lspet' in ours:
            ratios.append(f'PCK {ours["lspet"]["pck"] / base["lspet"]["pck"]:.3f}')
        if 'coco' in ours:
            ratios.append(f'OKS {ours["coco"]["oks"] / base["coco"]["oks"]:.3f}')
        rows.append('\nours / float MoveNet at 256 px: ' + ', '.join(ratios))
    return '\n'.join(rows)


def run(args):
    """Print the table; write it as JSON where asked."""
    from tqdm import tqdm

    from ..network import Estimator
    data = Path(args.data)
    athletes = photos.lspet(data, True, args.limit)
    people = [p for p in photos.coco(data, True) if photos.measured(p)][:args.limit]
    estimator = Estimator.from_pretrained(args.weights, args.device)
    once = Estimator.from_pretrained(args.weights, args.device, upright=False)
    networks = {'ours': lambda image, box: estimator.keypoints(image, box[None]).xy[0],
                'ours, one look': lambda image, box: once.keypoints(image, box[None]).xy[0]}
    networks |= {f'ours, {Path(file).name}': exported(file, estimator.config.margin)
                 for file in args.onnx}
    networks |= peers(args.movenet or data.parent / 'weights' / 'movenet_lightning.npz',
                      args.peers)
    results = {name: measure(network, athletes, people,
                             lambda it, name=name: tqdm(it, desc=name, leave=False))
               for name, network in networks.items()}
    sys.stdout.write(f'{len(athletes)} LSPet photos, {len(people)} people in '
                     f'{len({p.photo for p in people})} COCO photos, kept out of training\n\n'
                     + table(results) + '\n')
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1) + '\n')
    return 0
