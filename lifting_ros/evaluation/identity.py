"""``lifting-ros eval identity``: IDF1 and HOTA of the tracker, beside boxes matched by overlap."""

import contextlib
import io
import json
import time

import numpy as np

from ..skeleton import NUM_JOINTS
from ..tracking import Tracker, TrackerOptions
from ..tracking.association import box_iou, match
from .sequences import size_of

#: kind of scene, people, seeds: none of them was looked at, or had a number chosen by it, before
#: (those that were: 1, 2, 11, 12, 101 to 106)
SCENES = (('apart', 4, (21,)), ('crossing', 2, (21, 22)), ('crossing', 3, (21, 22)),
          ('crossing', 4, (21, 22)), ('crossing', 6, (21,)), ('hidden', 3, (21, 22)),
          ('hidden', 5, (21,)), ('leaving', 3, (21, 22)), ('leaving', 5, (21,)),
          ('strangers', 3, (21, 22)), ('strangers', 5, (21,)))
#: s, who is out of sight for longer is somebody new by the second way to count who comes back
AWAY = 2.0
_FEW = 5    # visible joints; who has fewer is compared by all


class BoxTracker(Tracker):
    """The same births, deaths and filters; who is who by the overlap of boxes alone, and whoever
    overlaps nobody is new.

    Args:
        moving: the boxes go on with their velocity in the image (as SORT's), or stay.
    """

    def __init__(self, options=None, moving=False):
        super().__init__(options)
        self.moving = moving

    def _reunite(self, stamp):
        for track in self._tracks:
            track.settled = True

    def _associate(self, o, stamp, *_):
        if not self._tracks or not len(o):
            return []
        boxes = np.array([t.box_at(stamp) if self.moving else t.person.box
                          for t in self._tracks])
        return match(1 - box_iou(boxes, o.box), 0.7)


def likeness(true, visible, found):
    """How alike people (P, 17, 2) px, of whom joints (P, 17) are visible, are to those found
    (N, 17, 2): (P, N) in 0..1, as object keypoint similarity with 0.08 of the person's size for
    every joint, over visible joints.
    """
    size = size_of(true)[:, None, None]
    gap = np.linalg.norm(true[:, None] - found[None], axis=-1) / np.maximum(size, 1)
    alike = np.exp(-0.5 * (np.nan_to_num(gap, nan=9.0) / 0.08) ** 2) * visible[:, None]
    return alike.sum(-1) / np.maximum(visible.sum(-1), 1)[:, None]


def counted(who, true, visible, names, found, asked=None):
    """One image as :func:`figures` takes it: of whom less than half is visible, nothing is
    asked, and who is given out there is left out (as the MOT challenges do).

    Args:
        who: (P,) numbers; true: (P, 17, 2) px; visible: (P, 17).
        names: of those given out; found: (N, 17, 2) px.
        asked: (P,) bool, whom is asked for; None: of whom more than half is visible.
    """
    counts = visible.sum(-1) > NUM_JOINTS // 2 if asked is None else asked
    # of whom next to nothing is in sight, where all joints are
    by = visible | (visible.sum(-1, keepdims=True) < _FEW)
    alike = likeness(true, by, np.reshape(found, (-1, NUM_JOINTS, 2)))
    idle = {column for row, column in match(1 - alike, 0.5) if not counts[row]}
    left = [i for i in range(len(names)) if i not in idle]
    return who[counts], [names[i] for i in left], alike[counts][:, left]


def given_out(people, camera):
    """Names, and keypoints (17, 2) px each, of all whom the tracker gives out: of those who are
    not seen in this image, where their predicted joints would be seen.
    """
    return ([p.id for p in people],
            [p.keypoints if p.matched else camera.project(p.joints) for p in people])


def figures(frames):
    """IDF1, HOTA and more by trackeval.

    Args:
        frames: of each image: truth's numbers (P,), the tracker's names (N,), and how alike
            they are (P, N), 0..1.

    Returns:
        dict of hota, assa, deta, idf1, mota in percent, switches, ids, people; and of what idf1
        lacks to 100 the points for people in sight who were not given out (missed), for people
        given out where nobody was asked for (extra), and the rest, for names that are not the
        one the person bears for the longest time (names).
    """
    with contextlib.redirect_stdout(io.StringIO()):     # it tells of data sets it has not
        from trackeval.metrics import CLEAR, HOTA, Identity
        numbers = {n: i for i, n in enumerate(sorted({int(n) for f in frames for n in f[0]}))}
        names = {n: i for i, n in enumerate(sorted({n for f in frames for n in f[1]}))}
        data = {'num_gt_ids': len(numbers), 'num_tracker_ids': len(names),
                'num_timesteps': len(frames),
                'num_gt_dets': sum(len(f[0]) for f in frames),
                'num_tracker_dets': sum(len(f[1]) for f in frames),
                'gt_ids': [np.array([numbers[int(n)] for n in f[0]], int) for f in frames],
                'tracker_ids': [np.array([names[n] for n in f[1]], int) for f in frames],
                'similarity_scores': [f[2] for f in frames]}
        quiet = {'PRINT_CONFIG': False, 'THRESHOLD': 0.5}
        hota = HOTA().eval_sequence(data)
        identity = Identity(quiet).eval_sequence(data)
        clear = CLEAR(quiet).eval_sequence(data)
    idf1 = 100 * float(identity['IDF1'])
    whole = 2 * identity['IDTP'] + identity['IDFP'] + identity['IDFN']
    missed, extra = (100 * float(clear[n] / max(whole, 1)) for n in ('CLR_FN', 'CLR_FP'))
    return {'idf1': idf1, 'missed': missed, 'extra': extra, 'names': 100 - idf1 - missed - extra,
            'hota': 100 * float(np.mean(hota['HOTA'])),
            'assa': 100 * float(np.mean(hota['AssA'])),
            'deta': 100 * float(np.mean(hota['DetA'])), 'mota': 100 * float(clear['MOTA']),
            'switches': int(clear['IDSW']), 'ids': len(names), 'people': len(numbers)}


def merged(frames, least=10):
    """How many people too many bear a name that was another's, for ``least`` images or more."""
    count = {}
    for who, names, alike in frames:
        for row, column in match(1 - alike, 0.5):
            key = names[column], int(who[row])
            count[key] = count.get(key, 0) + 1
    worn = [name for (name, _), n in count.items() if n >= least]
    return len(worn) - len(set(worn))


def renumbered(frames, rate, away=AWAY):
    """The same with truth's people who come back after more than ``away`` s as new ones."""
    last, number, out = {}, {}, []
    for f, (who, names, alike) in enumerate(frames):
        for w in map(int, who):
            if f - last.get(w, f) > away * rate:
                number[w] = number.get(w, 0) + 1
            last[w] = f
        out.append((np.array([int(w) + 100 * number.get(int(w), 0) for w in who], int), names,
                    alike))
    return out


def follow(tracker, crowd):
    """Run a tracker over a scene; returns what :func:`figures` takes, the same with everybody
    asked for whose pelvis is in the image, and seconds an image.

    ``tracker`` None names everybody by the truth: the best there can be of those who were found.
    """
    from .crowds import observation, truth
    frames, everybody, spent = [], [], 0.0
    for f in range(len(crowd.seen)):
        o = observation(crowd, f)
        if tracker is None:
            true = np.flatnonzero(crowd.seen[f][3] >= 0)
            names, found = [str(w) for w in crowd.seen[f][3][true]], o.keypoints[true]
        else:
            begin = time.process_time()
            people = tracker.update(o, 1.0 + f / crowd.rate)
            spent += time.process_time() - begin
            names, found = given_out(people, crowd.camera)
        who, true, visible, inside = truth(crowd, f)
        frames.append(counted(who, true, visible, names, found))
        everybody.append(counted(who, true, visible, names, found, inside))
    return frames, everybody, spent / len(crowd.seen)


def trackers():
    """Name -> a new tracker of each kind in the table."""
    return {'this tracker': Tracker(TrackerOptions()),
            'without clothes': Tracker(TrackerOptions(appearance=0.0)),
            'boxes by overlap': BoxTracker(TrackerOptions()),
            'moving boxes by overlap': BoxTracker(TrackerOptions(), moving=True),
            'named by the truth': None}


def join(parts):
    """Frames of several scenes as one sequence, nobody of one being anybody of another."""
    out = []
    for k, frames in enumerate(parts):
        out += [([1000 * k + int(n) for n in who], [f'{k}{n}' for n in names], alike)
                for who, names, alike in frames]
    return out


def show(rows):
    """The table as text."""
    columns = ('idf1', 'all', 'missed', 'extra', 'names', 'hota', 'assa', 'deta', 'mota',
               'switches', 'ids', 'people', 'merged', 'ms')
    lines = [' ' * 46 + ''.join(f'{c:>9}' for c in columns)]
    for scene, tracker, row in rows:
        lines.append(f'{scene:<22}{tracker:<24}' + ''.join(
            f'{row[c]:>9.1f}' if isinstance(row.get(c), float) else f'{row.get(c, "-"):>9}'
            for c in columns))
    return '\n'.join(lines)


def add_arguments(parser):
    """Arguments of the command."""
    parser.add_argument('--mocap', default='../shared/data/mocap',
                        help='folder of motion capture (%(default)s)')
    parser.add_argument('--seconds', type=float, default=20.0, help='of each scene')
    parser.add_argument('--kinds', nargs='*', help='of scenes (all)')
    parser.add_argument('--film', help='folder of a rendered film (see --make-film), through '
                        'the whole pipeline, instead of the scenes')
    parser.add_argument('--make-film', metavar='FOLDER', help='render four people who go to '
                        'and fro (needs requirements/render.txt)')
    parser.add_argument('--seed', type=int, default=1, help='of that film')
    parser.add_argument('--json', help='write the table here')


def run(args):
    """Run the command; returns the exit status."""
    if args.make_film:
        from .films import make
        make('crowd', args.make_film, args.mocap, args.seed, seconds=6.0, fps=15)
        return 0
    rows = _film(args.film) if args.film else _scenes(args)
    print(show(rows))
    if args.json:
        with open(args.json, 'w') as f:
            json.dump(rows, f, indent=1)
    return 0


def _scenes(args):
    from ..lifting import Lifter
    from . import crowds
    lifter, done = Lifter.from_pretrained(), {}
    scenes = [s for s in SCENES if not args.kinds or s[0] in args.kinds]
    for kind, people, seeds in scenes:
        for seed in seeds:
            crowd = crowds.make(kind, people, seed, args.mocap, seconds=args.seconds)
            crowds.lift(crowd, lifter)
            for name, tracker in trackers().items():
                frames, everybody, spent = follow(tracker, crowd)
                done.setdefault((kind, people, name), []).append((frames, everybody, spent))
                if kind == 'leaving':
                    done.setdefault((f'new after {AWAY:g} s', people, name), []).append(
                        (renumbered(frames, crowd.rate), renumbered(everybody, crowd.rate),
                         spent))

    def row(parts):
        frames, everybody = (join(x) for x in list(zip(*parts, strict=True))[:2])
        return figures(frames) | {'merged': merged(frames), 'all': figures(everybody)['idf1']}
    rows = [(f'{kind}, {people}', name, row(parts) | {'ms': 1e3 * parts[0][2]})
            for (kind, people, name), parts in done.items()]
    for kind in dict.fromkeys(k for k, _, _ in done):
        for name in trackers():
            rows.append((f'{kind}, all', name, row([
                part for (k, _, n), parts in done.items() if (k, n) == (kind, name)
                for part in parts])))
    return rows


def _film(folder):
    """A rendered film through the whole pipeline."""
    from pathlib import Path

    import cv2

    from ..camera import Camera
    from ..pipeline import Pipeline
    truth = np.load(Path(folder) / 'truth.npz', allow_pickle=False)
    camera = Camera(truth['K'], *(int(n) for n in truth['size']))
    pipeline, rows = Pipeline.from_pretrained(), []
    for name, tracker in trackers().items():
        if tracker is None:
            continue
        pipeline.tracker, frames = tracker, []
        pipeline.reset()
        for f in range(len(truth['joints'])):
            image = cv2.imread(str(Path(folder) / f'{f:04d}.jpg'))
            people = pipeline(image, camera, f / float(truth['fps']), truth['up'])
            visible = truth['visible'][f]
            frames.append(counted(np.arange(len(visible)), truth['keypoints'][f], visible,
                                  *given_out(people, camera)))
        rows.append(('film', name, figures(frames)))
    return rows
