"""The ``lifting-ros`` command: parses, imports what the command needs, and calls it."""

import argparse
import importlib
import logging
import sys

#: command words -> module with add_arguments(parser) and run(args) -> exit status
COMMANDS = {
    ('run',): ('lifting_ros.run', 'people in a photo, a video or a camera: print and draw them'),
    ('lift',): ('lifting_ros.lifting.command', 'keypoints of a file to 3D skeletons in metres'),
    ('train', 'prior'): ('lifting_ros.training.prior', 'fit the pose prior to motion capture'),
    ('train', 'lifter'): ('lifting_ros.training.rays', 'train the learned density of the lifter'),
    ('train', 'calibration'): ('lifting_ros.training.calibrate', 'covariances of the lifter that '
                               'hold what they say'),
    ('train', 'martinez'): ('lifting_ros.training.martinez', 'train the simple baseline, a peer'),
    ('train', 'network'): ('lifting_ros.training.network', 'train the belief-map network'),
    ('train', 'motion'): ('lifting_ros.training.motion', 'how people move, for the tracker'),
    ('train', 'average'): ('lifting_ros.training.average', 'the mean of several trainings'),
    ('train', 'stages'): ('lifting_ros.training.stages', 'stages with fusion and without'),
    ('render',): ('lifting_ros.training.render', 'render people with known joints'),
    ('eval', '2d'): ('lifting_ros.evaluation.keypoints2d', 'PCK and OKS on photographs'),
    ('eval', 'find'): ('lifting_ros.evaluation.finding', 'people in whole photographs'),
    ('eval', '3d'): ('lifting_ros.evaluation.lift3d', 'joint errors and coverage in 3D'),
    ('eval', 'level'): ('lifting_ros.evaluation.level', 'which way is up, told by people'),
    ('eval', 'chain'): ('lifting_ros.evaluation.chain', 'image to joints, on rendered people'),
    ('eval', 'stages'): ('lifting_ros.evaluation.stages', 'the error after every stage'),
    ('eval', 'demo'): ('lifting_ros.evaluation.demo', 'the demo clip against its truth'),
    ('eval', 'identity'): ('lifting_ros.evaluation.identity', 'names over time: IDF1, HOTA'),
    ('eval', 'fusion'): ('lifting_ros.evaluation.fusion', 'several cameras: errors, consistency, '
                         'wrong extrinsics'),
    ('eval', 'filter'): ('lifting_ros.evaluation.filter', 'jitter, lag, honesty of the filters'),
    ('export',): ('lifting_ros.network.command', 'the network as an ONNX or TorchScript file'),
    ('convert', 'caffe'): ('lifting_ros.network.caffe', "the original's Caffe weights into cpm"),
    ('bench',): ('lifting_ros.evaluation.bench', 'speed, beside plain references and peers'),
}


def _wanted(argv):
    words = [a for a in argv if not a.startswith('-')]
    for n in (2, 1):
        if tuple(words[:n]) in COMMANDS:
            return tuple(words[:n])
    return None


def build_parser(wanted=None):
    """The parser; only the module of the ``wanted`` command is imported."""
    parser = argparse.ArgumentParser(
        prog='lifting-ros', description='3D skeletons of the people in front of a camera.')
    parser.add_argument('-v', '--verbose', action='store_true', help='say more on stderr')
    top = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    groups = {}
    for words, (module, text) in COMMANDS.items():
        if len(words) == 1:
            sub = top.add_parser(words[0], help=text, description=text)
        else:
            if words[0] not in groups:
                group = top.add_parser(words[0], help=f'{words[0]} ...')
                groups[words[0]] = group.add_subparsers(dest='subcommand', required=True,
                                                        metavar='WHAT')
            sub = groups[words[0]].add_parser(words[1], help=text, description=text)
        if words == wanted:
            loaded = importlib.import_module(module)
            loaded.add_arguments(sub)
            sub.set_defaults(run=loaded.run)
    return parser


def main(argv=None):
    """Entry point; returns the exit status. Expected errors are one line, without traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        args = build_parser(_wanted(argv)).parse_args(argv)
        logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING,
                            format='%(levelname)s %(name)s: %(message)s')
        return int(args.run(args) or 0)
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        if '-v' in argv or '--verbose' in argv:
            raise
        sys.stderr.write(f'lifting-ros: {error}\n')
        return 1


if __name__ == '__main__':
    sys.exit(main())
