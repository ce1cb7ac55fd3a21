"""``lifting-ros run``: people in a photo, a video or a camera, printed and drawn. No ROS."""

import json
import pathlib

import numpy as np


def add_arguments(parser):
    """Arguments of the command."""
    parser.add_argument('source', help='photo, video, GIF, or the number of a camera')
    parser.add_argument('--device', choices=('auto', 'cpu', 'cuda'), default='auto')
    parser.add_argument('--output', type=pathlib.Path, default=pathlib.Path('output/run'),
                        help='folder of the pictures (default: output/run)')
    parser.add_argument('--camera', nargs=4, type=float, metavar=('FX', 'FY', 'CX', 'CY'),
                        help='intrinsics of the source as it is, px; default: a field of view of '
                        '55 degrees is assumed, and distances are as good as that is')
    parser.add_argument('--up', nargs=3, type=float, metavar=('X', 'Y', 'Z'),
                        help='direction against gravity in the optical frame (x right, y down, z '
                        'forward); 0 -1 0 for a level camera. Where it is not given, it is '
                        'estimated by how people stand')
    parser.add_argument('--stature', type=float, help='stature of everybody, m')
    parser.add_argument('--threshold', type=float, help='least confidence of a person, 0 to 1')
    parser.add_argument('--longest-side', type=int, default=1280, metavar='PX',
                        help='larger pictures are shrunk to this (default: 1280)')
    parser.add_argument('--frames', type=int, default=0, help='most frames (default: all)')
    parser.add_argument('--view', action='store_true', help='write a page too that shows the '
                        'people in 3D in any browser')
    parser.add_argument('--json', type=pathlib.Path, help='write joints and covariances here, a '
                        'line for each frame')


def run(args):
    """Run the command; returns the exit status."""
    from .camera import Camera
    from .pipeline import Pipeline
    from .video import Frames

    frames = Frames(args.source, args.longest_side)
    camera = Camera.from_fov(frames.width, frames.height)
    if args.camera is not None:
        fx, fy, cx, cy = args.camera
        camera = Camera([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], round(frames.width / frames.scale),
                        round(frames.height / frames.scale)).scaled(frames.width, frames.height)
    up = None if args.up is None else np.array(args.up) / np.linalg.norm(args.up)
    options = {'stature': args.stature}
    if args.threshold is not None:
        options['threshold'] = args.threshold
    pipeline = Pipeline.from_pretrained(args.device, **options)
    args.output.mkdir(parents=True, exist_ok=True)
    seen, lines = [], None
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        lines = open(args.json, 'w')
    pictures = _Pictures(args.output, args.source, frames)
    try:
        n = 0
        while (image := frames.read()) is not None and not (args.frames and n >= args.frames):
            stamp = None if frames.kind == 'photo' else n / frames.rate
            people = pipeline(image, camera, stamp, up)
            _print(n, people)
            pictures.add(image, people, pipeline.up)
            if args.view:
                seen.append((n / frames.rate if stamp is not None else 0.0, people,
                             _thumbnail(image)))
            if lines is not None:
                lines.write(json.dumps({'frame': n, 'stamp': stamp,
                                        'people': [_plain(p) for p in people]}) + '\n')
            n += 1
            if frames.kind == 'photo':
                break
    finally:
        frames.close()
        pictures.close()
        if lines is not None:
            lines.close()
    print(f'drawn: {pictures.path}')
    if args.view:
        from . import view

        path = view.write(pictures.path.with_suffix('.html'), [(t, p) for t, p, _ in seen],
                          pipeline.up, pathlib.Path(args.source).name, camera,
                          [jpeg for _, _, jpeg in seen])
        print(f'in 3D: {path}')
    return 0


def _print(number, people):
    """Say in a line for each person where it is."""
    if not people:
        print(f'frame {number}: nobody')
    for p in people:
        x0, y0, x1, y1 = np.round(p.box).astype(int).tolist()
        where = 'no position'
        if np.isfinite(p.joints[0]).all():
            sigma = np.sqrt(np.diag(p.covariance[0]))
            where = 'pelvis at ' + ', '.join(
                f'{axis} {v:+.2f}' for axis, v in zip('xyz', p.joints[0])
            ) + f' m (sigma {sigma[0]:.2f}, {sigma[1]:.2f}, {sigma[2]:.2f})'
        print(f'frame {number}: {p.id} confidence {p.confidence:.2f}, box {x0} {y0} {x1} {y1} px, '
              f'{int((p.keypoint_confidence > 0.15).sum())} joints seen, {where}')


def _thumbnail(image, width=320):
    """JPEG bytes of a picture, at most so many pixels wide."""
    import cv2

    scale = min(1.0, width / image.shape[1])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()


def _plain(person):
    """Return a person as lists and numbers; unknown is null."""
    def known(array, digits):
        return [[None if not np.isfinite(v) else round(float(v), digits) for v in row]
                for row in np.asarray(array).reshape(len(array), -1)]

    return {'id': person.id, 'confidence': round(float(person.confidence), 4),
            'box': np.round(person.box, 1).tolist(), 'keypoints': known(person.keypoints, 2),
            'keypoint_confidence': np.round(person.keypoint_confidence, 4).tolist(),
            'joints': known(person.joints, 4), 'covariance': known(person.covariance, 6),
            'source': np.asarray(person.source).tolist(),
            'scale_source': int(person.scale_source)}


class _Pictures:
    """Writes the pictures: a PNG of a photo, an MP4 of all else."""

    def __init__(self, folder, source, frames):
        name = f'camera{source}' if frames.kind == 'camera' else pathlib.Path(source).stem
        self._photo, self._rate = frames.kind == 'photo', frames.rate
        self.path = folder / f'{name}_people.{"png" if self._photo else "mp4"}'
        self._writer = None

    def add(self, image, people, up):
        import cv2

        from .drawing import draw_people, draw_view

        height, width = (n - n % 2 for n in image.shape[:2])
        picture = np.concatenate((draw_people(image, people)[:height, :width],
                                  draw_view(people, (height, height), up=up)), axis=1)
        if self._photo:
            cv2.imwrite(str(self.path), picture)
            return
        if self._writer is None:
            self._writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter_fourcc(*'mp4v'),
                                           self._rate, picture.shape[1::-1])
        self._writer.write(picture)

    def close(self):
        if self._writer is not None:
            self._writer.release()

