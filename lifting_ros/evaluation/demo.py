"""``lifting-ros eval demo``: the demo clip, whose truth is known, through the pipeline."""

from pathlib import Path

import numpy as np

from ..skeleton import PELVIS

#: 95 % of a chi-squared variable of three degrees of freedom lie below this.
_CHI2_95 = 7.814728


def demo_folder():
    """Of the demo clip and its truth: in the repository, or where colcon has put it."""
    here = Path(__file__).resolve().parents
    places = [here[2] / 'resource' / 'demo',
              *(place / 'share' / 'lifting_ros' / 'demo' for place in here[3:7])]
    return next((p for p in places if (p / 'truth.npz').is_file()), places[0])


def read_truth(path):
    """Truth of a rendered clip.

    Args:
        path: npz with joints (F, 17, 3) m in the optical frame, keypoints (F, 17, 2) px,
            visible (F, 17), K (3, 3), fps (), up (3,), size (2,), stature ().

    Returns:
        dict of arrays.

    Raises:
        ValueError: something is missing.
    """
    with np.load(path, allow_pickle=False) as data:
        missing = {'joints', 'keypoints', 'visible', 'K', 'fps', 'up', 'size'} - set(data.files)
        if missing:
            raise ValueError(f'{path} lacks {", ".join(sorted(missing))}')
        return {k: data[k] for k in data.files}


def errors(joints, covariance, truth):
    """Errors of one pose.

    Args:
        joints: (17, 3) m, NaN where unknown; covariance: (17, 3, 3) m^2; truth: (17, 3) m.

    Returns:
        mean root-relative joint error m, root error m, share of joints (position and all)
        inside of their 95 % ellipsoids.
    """
    off = joints - truth
    relative = np.linalg.norm(off - off[PELVIS], axis=-1)
    known = np.isfinite(off).all(-1)
    inside = np.full(len(off), np.nan)
    for j in np.flatnonzero(known):
        inside[j] = off[j] @ np.linalg.solve(covariance[j], off[j]) <= _CHI2_95
    return (float(np.nanmean(relative)), float(np.linalg.norm(off[PELVIS])),
            float(np.nanmean(inside)))


def nearest(people, keypoints, size):
    """The person (or None) whose keypoints are nearest to the truth's (17, 2) px.

    Nobody further off than a quarter of the picture's height (mean over joints) counts.
    """
    best, least = None, size[1] / 4
    for person in people:
        away = np.linalg.norm(person.keypoints - keypoints, axis=-1)
        if np.isfinite(away).sum() >= 4 and np.nanmean(away) < least:
            best, least = person, float(np.nanmean(away))
    return best, least


def evaluate(pipeline, clip, truth, limit=None, use_up=True):
    """Run the pipeline over the clip.

    Args:
        pipeline: Pipeline. clip: path of the video. truth: dict of read_truth.
        limit: at most so many frames. use_up: whether gravity is told.

    Returns:
        dict of figures: frames, found (share), mpjpe_mm, root_m, coverage_95, pixels,
        people_per_frame, ids, and per_frame (F, 4) for plots.

    Raises:
        ValueError: the clip cannot be read.
    """
    import cv2

    from ..camera import Camera
    video = cv2.VideoCapture(str(clip))
    if not video.isOpened():
        raise ValueError(f'{clip} cannot be read as a video')
    size = truth['size']
    camera = Camera(truth['K'], int(size[0]), int(size[1]))
    up = truth['up'] if use_up else None
    rows, people_seen, ids = [], 0, set()
    for f in range(min(len(truth['joints']), limit or len(truth['joints']))):
        ok, image = video.read()
        if not ok:
            break
        people = pipeline(image, camera, f / float(truth['fps']), up)
        people_seen += len(people)
        person, away = nearest(people, truth['keypoints'][f], size)
        if person is None or not np.isfinite(person.joints[PELVIS]).all():
            rows.append((np.nan,) * 4)
            continue
        ids.add(person.id)
        rows.append((*errors(person.joints, person.covariance, truth['joints'][f]), away))
    if not rows:
        raise ValueError(f'{clip} has no frames')
    table = np.array(rows)
    found = np.isfinite(table[:, 0])
    mean = np.nanmean(table, axis=0) if found.any() else np.full(4, np.nan)
    return {'frames': len(table), 'found': float(found.mean()), 'mpjpe_mm': 1000 * mean[0],
            'root_m': mean[1], 'coverage_95': mean[2], 'pixels': mean[3],
            'people_per_frame': people_seen / len(table), 'ids': len(ids), 'per_frame': table}


def add_arguments(parser):
    """Command line of ``lifting-ros eval demo``."""
    folder = demo_folder()
    parser.add_argument('--clip', default=str(folder / 'clip.mp4'))
    parser.add_argument('--truth', default=str(folder / 'truth.npz'))
    parser.add_argument('--weights', default=None, help='another network')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--frames', type=int, default=None)
    parser.add_argument('--no-gravity', action='store_true', help="don't tell the camera's tilt")


def run(args):
    """Run it; status 1 where the demo does not hold what it promises."""
    from ..pipeline import Pipeline
    pipeline = Pipeline.from_pretrained(device=args.device, weights=args.weights)
    figures = evaluate(pipeline, args.clip, read_truth(args.truth), args.frames,
                       not args.no_gravity)
    print(f'frames {figures["frames"]}, with a skeleton {100 * figures["found"]:.1f} %, '
          f'identities {figures["ids"]}, people a frame {figures["people_per_frame"]:.2f}')
    print(f'mean joint error, root-relative {figures["mpjpe_mm"]:.1f} mm; in the image '
          f'{figures["pixels"]:.1f} px')
    print(f'root error {figures["root_m"]:.3f} m')
    print(f'joints inside of their 95 % ellipsoids {100 * figures["coverage_95"]:.1f} %')
    good = (figures['found'] >= 0.95 and figures['mpjpe_mm'] < 100 and figures['root_m'] < 0.5)
    return 0 if good else 1
