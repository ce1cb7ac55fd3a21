"""Labelled data that a user has: options of the training, and the people they stand for."""

from . import coco_json, mpii_labels


def add_arguments(parser):
    """``--coco-json`` and ``--mpii``, each as often as there are such data."""
    parser.add_argument('--coco-json', nargs=2, action='append', default=[],
                        metavar=('JSON', 'FOLDER'),
                        help="further photos labelled in COCO's keypoint format")
    parser.add_argument('--mpii', nargs=2, action='append', default=[],
                        metavar=('FILE', 'FOLDER'), help="MPII's .mat or .json, and its photos")


def read(args, limit=None):
    """People of what was asked for.

    Args:
        args: parsed options of :func:`add_arguments`; limit: people of each source.

    Returns:
        dict source ('coco_json', 'mpii') -> list of Labelled; sources without data are left out.

    Raises:
        ValueError: a file is of another format.
    """
    found = {
        'coco_json': [p for path, folder in args.coco_json
                      for p in coco_json.read(path, folder, 'coco_json', limit=limit)],
        'mpii': [p for path, folder in args.mpii
                 for p in mpii_labels.read(path, folder, limit=limit)]}
    return {source: people for source, people in found.items() if people}
