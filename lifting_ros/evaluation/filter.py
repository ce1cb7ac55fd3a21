"""``lifting-ros eval filter``: the tracker's filters: jitter, lag, and how honest they are."""

import json
import time

import numpy as np
from tqdm import tqdm

from ..skeleton import INDEX, JOINTS
from ..tracking.filters import FilterBank
from .consistency import by_ray, clips_nees, nees, pictures_nees, views_nees
from .demo import demo_folder

_WRISTS = (INDEX['left_wrist'], INDEX['right_wrist'])
_SETTLE = 15      # images until a filter has begun


def play(joints, covariance, rate):
    """Run the filters over one person's lifted poses.

    Args:
        joints: (F, 17, 3) m; covariance: (F, 17, 3, 3) m^2; rate: images/s.

    Returns:
        dict of position, covariance, velocity, velocity_covariance (F, ...).
    """
    bank, out = FilterBank(), []
    bank.add(joints[:1], covariance[:1])
    row, dt = np.array([0]), 1 / rate
    for f in range(len(joints)):
        if f:
            bank.predict(row, dt)
            bank.update(row, joints[f:f + 1], covariance[f:f + 1], np.array([dt]))
        out.append((bank.position[0], (bank.bias + bank.own)[0], bank.velocity[0],
                    bank.velocity_covariance()[0]))
    names = ('position', 'covariance', 'velocity', 'velocity_covariance')
    return dict(zip(names, (np.array(x) for x in zip(*out, strict=True)), strict=True))


def white(joints):
    """Standard deviation (17,) m of what is new in each image, by second differences."""
    return np.sqrt((np.diff(joints, n=2, axis=0) ** 2).sum(-1).mean(0) / 6)


def lag(truth, found, rate, joints=_WRISTS):
    """By how much (s) joints come late: the shift at which they are nearest to the truth, over
    the images in which the joint is fast (the upper half of its speeds).
    """
    times = np.arange(len(truth)) / rate
    shifts = np.linspace(-0.1, 0.2, 121)
    cost = np.zeros(len(shifts))
    for j in joints:
        speed = np.linalg.norm(np.gradient(truth[:, j], axis=0), axis=-1)
        use = (speed > np.median(speed)) & (np.arange(len(truth)) >= _SETTLE)
        for c in range(2):      # across the camera: depth is too unsure to be early or late
            for k, shift in enumerate(shifts):
                off = np.interp(times - shift, times, truth[:, j, c]) - found[:, j, c]
                cost[k] += ((off - off[use].mean())[use] ** 2).sum()
    return float(shifts[cost.argmin()])


def still(joints, covariance, rate):
    """Jitter (mm, root mean square over joints about the mean place) of a person at rest: raw
    and filtered, and their ratio.
    """
    found = play(joints, covariance, rate)['position']

    def jitter(x):
        x = x[_SETTLE:]
        return 1e3 * float(np.sqrt(((x - x.mean(0)) ** 2).sum(-1).mean()))
    raw, filtered = jitter(joints), jitter(found)
    step = white(joints[_SETTLE:]).mean(), white(found[_SETTLE:]).mean()
    return {'raw_mm': raw, 'filtered_mm': filtered, 'ratio': filtered / raw,
            'steps_ratio': float(step[1] / step[0])}


def jitter_ratio_of_white(rng, rate=30.0, reach=0.6, duration=0.4):
    """White errors of the usual size on one who stands for 3 s and then reaches (m, s).

    Returns:
        jitter after the filter over that before, and by how much (s) the wrist comes late.
    """
    frames = int(6 * rate)
    truth = np.tile(rng.uniform(-0.5, 0.5, (17, 3)) + [0, 0, 4.0], (frames, 1, 1))
    share = np.clip((np.arange(frames) / rate - 3) / duration, 0, 1)
    truth[:, _WRISTS, 0] += reach * (3 * share ** 2 - 2 * share ** 3)[:, None]
    ray = truth / np.linalg.norm(truth, axis=-1, keepdims=True)
    line = ray[..., :, None] * ray[..., None, :]
    covariance = 0.18 ** 2 * line + 0.025 ** 2 * (np.eye(3) - line)
    # 11 mm along the ray, 2.5 mm across it are new in each image: what the demo clip has
    joints = (truth + 0.011 * ray * rng.normal(size=(frames, 17, 1))
              + 0.0025 * rng.normal(size=truth.shape))
    half = int(3 * rate)
    ratio = still(joints[:half], covariance[:half], rate)['ratio']
    begin = half - _SETTLE - 5
    found = play(joints, covariance, rate)['position'][begin:half + int(rate)]
    return ratio, lag(truth[begin:half + int(rate)], found, rate)


def of_film(folder, pipeline):
    """A rendered film of one person through network and lifter.

    Returns:
        truth (F, 17, 3), joints, covariance, rate; images in which nobody was found are left
        out.
    """
    from pathlib import Path

    import cv2

    from ..camera import Camera
    from .demo import nearest, read_truth
    folder, seen = Path(folder), []
    truth = read_truth(folder / 'truth.npz')
    if truth['joints'].ndim == 4:          # people second: films of several have them so
        truth = {k: v[:, 0] if k in ('joints', 'keypoints', 'visible') else v
                 for k, v in truth.items()}
    clip = folder / 'clip.mp4'
    video = cv2.VideoCapture(str(clip)) if clip.exists() else None
    camera = Camera(truth['K'], *(int(n) for n in truth['size']))
    update, rows = pipeline.tracker.update, []

    def watch(observation, stamp):
        seen.append(observation)
        return update(observation, stamp)
    pipeline.reset()
    pipeline.tracker.update = watch
    for f in range(len(truth['joints'])):
        image = video.read()[1] if video else cv2.imread(str(folder / f'{f:04d}.jpg'))
        pipeline(image, camera, f / float(truth['fps']), truth['up'])
        people = [_Found(*p) for p in zip(seen[-1].keypoints, seen[-1].joints,
                                          seen[-1].covariance, strict=True)]
        person, _ = nearest(people, truth['keypoints'][f], truth['size'])
        if person is not None and np.isfinite(person.joints).all():
            rows.append((truth['joints'][f], person.joints, person.covariance))
    pipeline.tracker.update = update
    return (*(np.array(x) for x in zip(*rows, strict=True)), float(truth['fps']))


class _Found:
    def __init__(self, keypoints, joints, covariance):
        self.keypoints, self.joints, self.covariance = keypoints, joints, covariance


def reaches(mocap, lifter, rng, count=6):
    """Lag on the fastest reaches of the held-out clips, with the errors the network makes."""
    from .sequences import clips, lift, shoot
    found = [c for c in clips(mocap) if c.kind in ('reach', 'sports', 'martial')]
    peak = [np.linalg.norm(np.diff(c.joints[:, _WRISTS], axis=0), axis=-1).max() * c.rate
            for c in found]
    rows = []
    for i in np.argsort(peak)[::-1][:count]:
        shot = shoot(found[i], rng)
        joints, covariance = lift(lifter, shot)
        if not np.isfinite(joints).all():
            continue
        filtered = play(joints, covariance, shot.rate)['position']
        rows.append({'clip': found[i].name, 'speed': float(peak[i]),
                     'raw_ms': 1e3 * lag(shot.joints, joints, shot.rate),
                     'filtered_ms': 1e3 * lag(shot.joints, filtered, shot.rate)})
    return rows


def cost(people=4, images=300):
    """CPU milliseconds an image of the filters of so many people (the least of five)."""
    rng = np.random.default_rng(0)
    joints = rng.normal(size=(people, 17, 3)) * 0.3 + [0, 0, 4]
    covariance = np.tile(np.diag([0.02, 0.02, 0.2]) ** 2, (people, 17, 1, 1))
    rows, gap, best = np.arange(people), np.full(people, 1 / 30), np.inf
    for _ in range(5):
        bank = FilterBank()
        bank.add(joints, covariance)
        begin = time.process_time()
        for _ in range(images // 5):
            bank.predict(rows, 1 / 30)
            bank.update(rows, joints, covariance, gap)
        best = min(best, (time.process_time() - begin) / (images // 5))
    return 1e3 * best


def add_arguments(parser):
    """Arguments of the command."""
    parser.add_argument('--mocap', default='../shared/data/mocap',
                        help='folder of motion capture (%(default)s)')
    parser.add_argument('--still', help='folder of a rendered film of somebody who stands still')
    parser.add_argument('--film', nargs='*', default=[str(demo_folder())], help='folders of '
                        'rendered films of one person, through the whole pipeline (%(default)s)')
    parser.add_argument('--make-film', nargs=2, metavar=('KIND', 'FOLDER'), help='render a film: '
                        'still, or the name of a captured clip (needs requirements/render.txt)')
    parser.add_argument('--others', type=int, default=0, metavar='N', help='N clips of the '
                        'subjects of the fits, too: many people, of many statures')
    parser.add_argument('--rendered', help='folder of "lifting-ros render crops --held-out": '
                        'single pictures, too')
    parser.add_argument('--views', help='folder of "lifting-ros render views --held-out '
                        '--seconds 10": people in motion, through the whole pipeline, too')
    parser.add_argument('--keypoint-errors', metavar='FOLDER', help='of "lifting-ros render '
                        'crops": print what sequences.py makes keypoint errors of, nothing else')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--quick', action='store_true', help='without the clips')
    parser.add_argument('--json', help='write the figures here')


def run(args):
    """Run the command; returns the exit status."""
    if args.make_film:
        from .films import make
        make(*args.make_film, args.mocap, seconds=3.0)
        return 0
    from ..lifting import Lifter
    from ..pipeline import Pipeline
    if args.keypoint_errors:
        from .errors2d import of_crops, show
        print(show(of_crops(Pipeline.from_pretrained().estimator, args.keypoint_errors)))
        return 0
    out = {'cost_ms': cost()}
    print(f'filters of 4 people: {out["cost_ms"]:.2f} ms of CPU an image')
    pipeline = Pipeline.from_pretrained()
    if args.still:
        _, joints, covariance, rate = of_film(args.still, pipeline)
        out['still'] = still(joints, covariance, rate)
        print('still: ' + ', '.join(f'{k} {v:.2f}' for k, v in out['still'].items()))
    out['films'] = {}
    for folder in args.film:
        truth, joints, covariance, rate = of_film(folder, pipeline)
        found = play(joints, covariance, rate)
        row = {'nees_raw': nees(joints - truth, covariance),
               'nees': nees(found['position'] - truth, found['covariance']),
               **dict(zip(('raw_along', 'raw_across'), by_ray(truth, joints, covariance),
                          strict=True)),
               'lag_raw_ms': 1e3 * lag(truth, joints, rate),
               'lag_ms': 1e3 * lag(truth, found['position'], rate), 'images': len(truth)}
        out['films'][str(folder)] = row
        print(f'{folder}: ' + ', '.join(f'{k} {v:.2f}' for k, v in row.items()))
        noise = 1e3 * white(joints - truth)
        print('  new in each image, mm: ' + ', '.join(
            f'{n} {v:.0f}' for n, v in zip(JOINTS, noise, strict=True)))
    if args.rendered:
        out['pictures'] = pictures_nees(args.rendered, pipeline)
        print('NEES of single pictures: {:.2f}; along the ray {:.2f} of 1, across {:.2f} of 2'
              .format(*out['pictures']))
    if args.views:
        out['views'] = views_nees(args.views, pipeline, lambda it: tqdm(it, desc='scenes'))
        print('NEES of {clips} rendered clips ({found} of {images} images found): raw {raw:.2f}, '
              'filtered {filtered:.2f}; 50, 90, 95 % ellipsoids hold {within_50:.1f}, '
              '{within_90:.1f}, {within_95:.1f} %'.format(**out['views']))
    if not args.quick:
        lifter, rng = Lifter.from_pretrained(), np.random.default_rng(args.seed)
        out['reaches'] = reaches(args.mocap, lifter, rng)
        for row in out['reaches']:
            print('reach {clip}: {speed:.1f} m/s, late by {filtered_ms:.0f} ms, raw {raw_ms:.0f} '
                  'ms'.format(**row))
        names = ('raw', 'filtered', 'velocity', 'raw_along', 'raw_across')
        made = [('held-out clips as captured', False, False, 0),
                ('held-out clips, statures of adults', False, True, 0),
                ('held-out clips of other bodies', True, False, 0),
                ('held-out clips of other bodies, statures of adults', True, True, 0)]
        if args.others:
            made.append(('clips of other subjects', True, False, args.others))
        for which, bodies, adults, others in made:
            rng = np.random.default_rng([args.seed, bodies, others])
            table = clips_nees(args.mocap, lifter, rng, bodies=bodies, others=others,
                               adults=adults)
            row = dict(zip(names, map(float, table.mean(0)), strict=True), clips=len(table))
            out.setdefault('nees', {})[which] = row
            print('NEES of {clips} {which}: raw {raw:.2f}, filtered {filtered:.2f} '
                  '({ratio:.3f} of it), velocity {velocity:.2f}; raw along the ray '
                  '{raw_along:.2f} of 1, across {raw_across:.2f} of 2'.format(
                      **row, which=which, ratio=row['filtered'] / row['raw']))
    if args.json:
        with open(args.json, 'w') as f:
            json.dump(out, f, indent=1)
    return 0
