"""``lifting-ros eval 3d``: errors and calibration of the lifter on poses it has not seen."""

import json
import sys
import time

import numpy as np

from .tables3d import evaluate, measure, show

__all__ = ['evaluate', 'measure', 'show']


def add_arguments(parser):
    parser.add_argument('--mocap', default='../shared/data/mocap',
                        help='folder or npz of motion capture (%(default)s)')
    parser.add_argument('--source', help='evaluate on this source alone, whole: give a prior '
                        'and a lifter that were fitted without it')
    parser.add_argument('--subject', nargs='*', help='subjects to evaluate on (those held out)')
    parser.add_argument('--prior', help='a prior\'s file (the shipped one)')
    parser.add_argument('--lifter', '--density', dest='lifter', help='a learned density\'s file '
                        '(the shipped one); "none" for the prior alone')
    parser.add_argument('--peer', help='a file of "train martinez", measured beside')
    parser.add_argument('--people', type=int, help='how many (500); with --h36m at most so '
                        'many of each clip and camera (all)')
    parser.add_argument('--batch', type=int, default=64, help='people a call of the lifter')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--ablation', action='store_true',
                        help='what each part is worth, instead of the tables')
    parser.add_argument('--bodies', type=int, metavar='N', help='instead, N adult shapes of the '
                        'body model anny in poses of the subjects held out')
    parser.add_argument('--h36m', metavar='FOLDER', help='instead, the Human3.6M that you have: '
                        'folder of its JSON files, see docs/lifting.md')
    parser.add_argument('--noise', type=float, default=0.0,
                        help='with --h36m: sigma of the keypoints, px')
    parser.add_argument('--protocol', type=int, nargs='*', default=(1, 2, 3),
                        help='with --h36m: which of the protocols 1 to 3')
    parser.add_argument('--json', help='write the tables here')
    parser.add_argument('--plots', help='folder for pictures of them')


def held_out(poses, source, subject):
    """The poses to measure on.

    Raises:
        ValueError: none.
    """
    from ..training.mocap import HELD_OUT_SUBJECTS
    if source:
        poses = poses[poses.source == source]
    else:
        poses = poses[np.isin(poses.subject, subject or HELD_OUT_SUBJECTS)]
    if not len(poses):
        raise ValueError('no such source or subject in the motion capture')
    return poses


def bar(items):
    """A progress bar on stderr where that is a terminal."""
    from tqdm import tqdm
    return tqdm(items, disable=not sys.stderr.isatty())


def knows(lifter, source):
    """Parts of a lifter whose fit has seen a source (or does not say)."""
    parts = {'prior': lifter.prior, 'learned density': lifter.density}
    return [n for n, p in parts.items()
            if p is not None and source not in p.metadata.get('held_out', '').split(', ')]


def run(args):
    from ..lifting import Lifter
    from ..training.mocap import read
    begin, people = time.process_time(), args.people or 500
    lifter = Lifter.from_pretrained(args.prior, args.lifter)
    curves, adults = {}, {}
    if args.h36m:
        from .human36m import evaluate as protocols
        table = protocols(lifter, args.h36m, args.protocol, args.people, args.seed,
                          args.noise, bar)
    elif args.bodies is not None:
        from .bodies3d import evaluate as on_bodies
        from .bodies3d import made
        if args.bodies < 1:
            raise ValueError(f'--bodies must be 1 or more, not {args.bodies}')
        rng = np.random.default_rng(args.seed)
        table = on_bodies(lifter, *made(args.mocap, args.bodies, rng, bar), args.seed,
                          args.batch)
        people = args.bodies
    else:
        everything = read(args.mocap)
        poses = held_out(everything, args.source, args.subject)
        if args.source and knows(lifter, args.source):
            sys.stderr.write(f'mind: {" and ".join(knows(lifter, args.source))} may have seen '
                             f'{args.source}; give --prior and --lifter fitted without it\n')
        if args.ablation:
            from .ablation import evaluate as ablation
            table = ablation(lifter, poses, everything, people, args.seed, bar,
                             args.source)
        else:
            peer = None
            if args.peer:
                from ..training.martinez import Peer
                peer = Peer.load(args.peer)
            table, curves = evaluate(lifter, poses, people, args.seed, args.batch, peer, bar)
            from .adults3d import evaluate as on_adults
            # of few subjects' statures the curve says little
            adults, curves['calibration'] = on_adults(lifter, poses, people, args.seed,
                                                      args.batch)
    table['about'] = {'people': args.people if args.h36m else people, 'seed': args.seed,
                      'source': args.source,
                      'prior': args.prior or 'shipped', 'lifter': args.lifter or 'shipped',
                      'cpu_seconds': round(time.process_time() - begin, 1)}
    if adults:
        print("The subjects' own statures")
    print(show(table))
    if adults:
        from ..training.mocap import ADULTS
        print('\nThe same poses, statures drawn from those of adults ('
              + ', '.join(f'{who} {mean} +- {sigma} m' for who, (mean, sigma) in
                          zip(('men', 'women'), ADULTS, strict=True)) + ')')
        print(show(adults))
        table |= adults
    if args.json:
        with open(args.json, 'w') as f:
            json.dump(table | ({'curves': curves} if curves else {}), f, indent=1)
    if args.plots and curves:
        from .plots3d import plot
        for path in plot(curves, args.plots):
            print(path)
    return 0
