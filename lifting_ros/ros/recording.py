"""What a run has shown: kept in memory, then made into a table, a summary and pictures."""

import json
import pathlib
import sys

import cv2
import numpy as np

from .. import view
from ..drawing import draw_people, draw_view
from ..skeleton import PELVIS
from .conversions import to_person

#: pictures kept for the overlay; more than these only go to the bag
MOST_PICTURES = 3000


def nanoseconds(stamp):
    """Whole nanoseconds of a builtin_interfaces/Time."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


class Recording:
    """Images and answers of a run, by the stamp of the image in nanoseconds."""

    def __init__(self, keep_pictures=True):
        self.keep_pictures = keep_pictures
        self.pictures = {}    # stamp -> JPEG bytes
        self.images = 0
        self.people = {}      # stamp -> list of Person
        self.received = {}    # stamp -> ns
        self.processing = {}  # stamp -> s in the node
        self.node = {}        # what the node said last of itself on /diagnostics
        self.out_of_order = 0
        self._last = None

    def add_image(self, stamp, jpeg):
        """Take an image as it arrived."""
        self.images += 1
        if self.keep_pictures and len(self.pictures) < MOST_PICTURES:
            self.pictures[nanoseconds(stamp)] = jpeg

    def add_skeletons(self, msg, now):
        """Take a SkeletonArray that arrived at ``now``, ns."""
        stamp = nanoseconds(msg.header.stamp)
        if self._last is not None and stamp <= self._last:
            self.out_of_order += 1
        self._last = stamp
        people = self.people[stamp] = [to_person(s) for s in msg.skeletons]
        for person, skeleton in zip(people, msg.skeletons):
            v = skeleton.velocity.twist.linear
            person.velocity[PELVIS] = v.x, v.y, v.z
        self.received[stamp] = now
        self.processing[stamp] = msg.processing_latency


def read(path):
    """Return the arrays of an npz as a dict; None without a path or a file."""
    if not path or not pathlib.Path(path).is_file():
        return None
    with np.load(path, allow_pickle=False) as data:
        return {k: data[k] for k in data.files}


def summarise(recording, sent=None):
    """The figures of a run by name.

    Args:
        recording: :class:`Recording`.
        sent: dict with ``stamp`` (N,) ns of the images that the source published, or None: then
            those that arrived at the recorder count.
    """
    stamps = np.array(sorted(recording.received), dtype=np.int64)
    latency = 1e-6 * np.array([recording.received[s] - s for s in stamps.tolist()])
    work = 1e3 * np.array([recording.processing[s] for s in stamps.tolist()])
    frames_in = len(sent['stamp']) if sent is not None else recording.images
    counts = [len(recording.people[s]) for s in stamps.tolist()]
    span = 1e-9 * (stamps[-1] - stamps[0]) if len(stamps) > 1 else float('nan')

    def percentile(values, q):
        return round(float(np.percentile(values, q)), 2) if len(values) else None

    return {
        # what is not the node's own work: transport, and waiting for the frame before. A queue
        # would show here, also where the machine's load changes during the run
        'waiting_ms': {f'p{q}': percentile(latency - work, q) for q in (50, 90, 99)},
        'waiting_drift_ms': _drift(stamps, latency - work),
        'latency_drift_ms': _drift(stamps, latency), 'node': recording.node,
        'frames_in': int(frames_in), 'frames_out': len(stamps),
        'frames_dropped': int(frames_in - len(stamps)),
        'stamps_out_of_order': recording.out_of_order,
        'rate_hz': round((len(stamps) - 1) / span, 2) if len(stamps) > 1 else None,
        'people_mean': round(float(np.mean(counts)), 3) if counts else None,
        'people_max': max(counts, default=0),
        'ids': len({p.id for people in recording.people.values() for p in people}),
        'frames_with_people': round(float(np.mean([c > 0 for c in counts])), 4) if counts
        else None,
        'latency_ms': {f'p{q}': percentile(latency, q) for q in (50, 90, 99)},
        'processing_ms': {f'p{q}': percentile(work, q) for q in (50, 90, 99)},
    }


def _drift(stamps, latency, part=10.0):
    """Median latency of the last ``part`` seconds less that of the first, ms; None if short."""
    t = 1e-9 * (stamps - stamps[0]) if len(stamps) else stamps
    if not len(stamps) or t[-1] < 2 * part:
        return None
    return round(float(np.median(latency[t > t[-1] - part]) - np.median(latency[t < part])), 2)


def compare(recording, sent, truth):
    """Errors against the truth of the clip, which shows one person.

    Where several are found, the one nearest to the truth in the image counts.

    Args:
        recording: :class:`Recording`.
        sent: dict with ``stamp`` (N,) ns and ``frame`` (N,) of the images published.
        truth: dict with ``joints`` (F, 17, 3) m in the optical frame, ``keypoints`` (F, 17, 2)
            px of the clip, ``size`` (2,) px.

    Returns:
        dict: mean root-relative joint error (MPJPE, pelvis at the origin) in mm, mean error of
        the root in m and as a share of its distance, share of answered frames with a skeleton.
    """
    joints, keypoints = truth['joints'], truth['keypoints']
    relative, root, share, found, answered = [], [], [], 0, 0
    for stamp, frame in zip(sent['stamp'].tolist(), sent['frame'].tolist()):
        people = recording.people.get(stamp)
        if people is None:
            continue
        answered += 1
        people = [p for p in people if np.isfinite(p.joints).all()]
        if not people:
            continue
        found += 1
        mid = np.nanmean(keypoints[frame], axis=0)
        person = min(people, key=lambda p: np.linalg.norm(
            np.array([p.box[:2], p.box[2:]]).mean(axis=0) - mid))
        want = joints[frame]
        error = (person.joints - person.joints[0]) - (want - want[0])
        relative.append(np.linalg.norm(error, axis=1).mean())
        root.append(np.linalg.norm(person.joints[0] - want[0]))
        share.append(root[-1] / np.linalg.norm(want[0]))

    def mean(values, scale, digits):
        return round(scale * float(np.mean(values)), digits) if values else None

    return {'joint_error_mm': mean(relative, 1e3, 1), 'root_error_m': mean(root, 1, 3),
            'root_error_share': mean(share, 1, 4), 'frames_compared': found,
            'frames_with_skeleton': round(found / answered, 4) if answered else None}


def table(summary):
    """The figures as lines of text."""
    latency, work = summary['latency_ms'], summary['processing_ms']

    def three(d):
        return ' / '.join('-' if v is None else f'{v:.1f}' for v in d.values()) + ' ms'

    rows = [('frames in', summary['frames_in']), ('frames out', summary['frames_out']),
            ('frames dropped', summary['frames_dropped']),
            ('people, mean / most', f'{summary["people_mean"]} / {summary["people_max"]}'),
            ('ids given', summary['ids']), ('rate', f'{summary["rate_hz"]} Hz'),
            ('latency p50 / p90 / p99', three(latency) + ', image stamp to receipt'),
            ('in the node p50 / p90 / p99', three(work))]
    if 'joint_error_mm' in summary:
        share = summary['frames_with_skeleton']
        rows += [('frames with a skeleton', 'none' if share is None else f'{100 * share:.1f} %'),
                 ('mean joint error', f'{summary["joint_error_mm"]} mm, root-relative'),
                 ('mean root error', f'{summary["root_error_m"]} m')]
    wide = max(len(name) for name, _ in rows)
    return [f'  {name:<{wide}}  {value}' for name, value in rows]


def _side_by_side(recording, stamp, up):
    image = cv2.imdecode(recording.pictures[stamp], cv2.IMREAD_COLOR)
    people = recording.people[stamp]
    height = image.shape[0] - image.shape[0] % 2
    image = draw_people(image, people)[:height, :image.shape[1] - image.shape[1] % 2]
    return np.concatenate((image, draw_view(people, (height, height), up=up)), axis=1)


def write_pictures(recording, output, up=None):
    """Write overlay.mp4 (image with 2D skeletons beside the 3D view) and still.png.

    Only the frames that were answered are in the video, which plays at their rate.

    Returns:
        names of the files written.
    """
    stamps = sorted(set(recording.people) & set(recording.pictures))
    if not stamps:
        return []
    span = 1e-9 * (stamps[-1] - stamps[0])
    rate = min(60.0, max(1.0, (len(stamps) - 1) / span)) if span > 0 else 10.0
    writer, still = None, None
    # the still: the frame with most people, of those the one nearest to the middle of the run
    best = min(range(len(stamps)), key=lambda i: (-len(recording.people[stamps[i]]),
                                                  abs(i - len(stamps) / 2)))
    for i, stamp in enumerate(stamps):
        picture = _side_by_side(recording, stamp, up)
        if writer is None:
            writer = cv2.VideoWriter(str(output / 'overlay.mp4'),
                                     cv2.VideoWriter_fourcc(*'mp4v'), rate,
                                     (picture.shape[1], picture.shape[0]))
        writer.write(picture)
        if i == best:
            still = picture
    writer.release()
    cv2.imwrite(str(output / 'still.png'), still)
    return ['overlay.mp4', 'still.png']


def write_view(recording, output, up=None, title=''):
    """Write view.html: the people of the run in 3D, to be turned in a browser.

    Returns:
        names of the files written.
    """
    stamps = sorted(recording.people)
    pictures = []
    for stamp in stamps:
        jpeg = recording.pictures.get(stamp)
        if jpeg is not None:
            image = cv2.imdecode(jpeg, cv2.IMREAD_REDUCED_COLOR_2)
            jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()
        pictures.append(jpeg)
    view.write(output / 'view.html', [(1e-9 * s, recording.people[s]) for s in stamps], up, title,
               pictures=pictures)
    return ['view.html']


def report(recording, output, values):
    """Write summary.json and the pictures, print the table.

    Args:
        recording: :class:`Recording`.
        output: folder, pathlib.Path.
        values: dict with ``stamps``, ``truth``, ``video``, ``view``, ``title`` as the
            recorder's parameters.
    """
    sent, truth = read(values['stamps']), read(values['truth'])
    summary = {'source': values['title'], **summarise(recording, sent)}
    up = None
    if truth is not None:
        up = truth.get('up')
        if sent is not None:
            summary.update(compare(recording, sent, truth))
    if values['video']:
        summary['files'] = write_pictures(recording, output, up)
    if values.get('view'):
        summary['files'] = summary.get('files', []) + write_view(recording, output, up,
                                                                 values['title'])
    (output / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    sys.stdout.write('\n'.join([f'\n{values["title"] or "result"}:', *table(summary), '']) + '\n')
    sys.stdout.flush()
