"""``lifting-ros bench``: how fast the parts are, beside plain references and peers."""

import importlib
import json
import pathlib

#: part -> module with measure(args) -> dict of figures, and report(figures) -> str
PARTS = {
    'lift': 'lifting_ros.evaluation.bench_lift',
    'network': 'lifting_ros.evaluation.bench_network',
    'pipeline': 'lifting_ros.evaluation.bench_pipeline',
    'tf': 'lifting_ros.evaluation.bench_tf',
    'node': 'lifting_ros.evaluation.bench_node',
    'outputs': 'lifting_ros.evaluation.bench_outputs',
    'soak': 'lifting_ros.evaluation.bench_soak',
}


def add_arguments(parser):
    """Arguments of the command."""
    parser.add_argument('parts', nargs='*', choices=[*PARTS, []], default=[], metavar='PART',
                        help=f'any of {", ".join(PARTS)}; none: all but '
                        'node, outputs and soak')
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'))
    parser.add_argument('--threads', type=int, default=1, help='threads of the CPU')
    parser.add_argument('--seconds', type=float, default=20, help='length of the node run')
    parser.add_argument('--minutes', type=float, default=30, help='length of the soak')
    parser.add_argument('--peers', type=pathlib.Path, help='folder of peer networks (.tflite)')
    parser.add_argument('--json', type=pathlib.Path, help='write the figures to this file')


def run(args):
    """Measure the parts that were asked for and print them."""
    figures = {}
    for part in args.parts or [p for p in PARTS if p not in ('node', 'outputs', 'soak')]:
        module = importlib.import_module(PARTS[part])
        figures[part] = module.measure(args)
        print(f'== {part}\n{module.report(figures[part])}\n')
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures, indent=1) + '\n')
    return 0
