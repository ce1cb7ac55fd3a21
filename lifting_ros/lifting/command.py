"""``lifting-ros lift``: keypoints of a file to 3D skeletons in metres."""

import json
from pathlib import Path

import numpy as np

from ..camera import Camera
from ..skeleton import JOINTS, ORDERS, convert


def read_camera(words):
    """A camera from the command line.

    Args:
        words: a camera_calibration or CameraInfo file (.yaml, .yml, .json), or the six numbers
            fx fy cx cy width height.

    Returns:
        Camera.

    Raises:
        ValueError: neither a file nor six numbers, or a file without a camera in it.
    """
    if len(words) == 6:
        fx, fy, cx, cy, width, height = map(float, words)
        return Camera([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], int(width), int(height))
    if len(words) != 1 or not Path(words[0]).is_file():
        raise ValueError('--camera takes a calibration file or fx fy cx cy width height, not '
                         + ' '.join(words))
    text = Path(words[0]).read_text()
    if words[0].endswith('.json'):
        data = json.loads(text)
    else:
        import yaml
        data = yaml.safe_load(text)

    def numbers(*names):
        for name in names:
            if name in data:
                value = data[name]
                return value['data'] if isinstance(value, dict) else value
        return None

    k = numbers('camera_matrix', 'k', 'K') if isinstance(data, dict) else None
    if k is None:
        raise ValueError(f'{words[0]} has no camera_matrix and no K')
    size = [data.get(f'image_{n}', data.get(n)) for n in ('width', 'height')]
    if None in size:
        raise ValueError(f'{words[0]} has no image width and height')
    return Camera(k, *size, D=numbers('distortion_coefficients', 'd', 'D'),
                  model=data.get('distortion_model', 'plumb_bob'))


def add_arguments(parser):
    parser.add_argument('poses', help='npz with keypoints (N, J, 2) px (NaN not seen) and, if '
                        'known, confidence (N, J) and covariance (N, J, 2, 2) px^2')
    parser.add_argument('--camera', nargs='+', required=True,
                        help='calibration file, or fx fy cx cy width height')
    parser.add_argument('--order', default='lifting_ros', choices=sorted(ORDERS),
                        help='order of the joints (%(default)s)')
    parser.add_argument('--up', type=float, nargs=3, metavar=('X', 'Y', 'Z'),
                        help='against gravity in the optical frame; 0 -1 0 is a level camera')
    parser.add_argument('--stature', type=float, help='metres, of everybody in the file')
    parser.add_argument('--out', help='npz to write: joints, covariance, log_likelihood, source')


def run(args):
    from .lifter import Lifter
    camera = read_camera(args.camera)
    with np.load(args.poses, allow_pickle=False) as data:
        if 'keypoints' not in data.files:
            raise ValueError(f'{args.poses} has no array "keypoints"')
        keypoints = data['keypoints'].astype(np.float64)
        confidence = (data['confidence'].astype(np.float64) if 'confidence' in data.files
                      else np.isfinite(keypoints).all(-1).astype(np.float64))
        covariance = data['covariance'] if 'covariance' in data.files else None
    if covariance is not None and args.order != 'lifting_ros':
        raise ValueError('covariances are read in the project\'s own order only')
    keypoints, confidence = convert(keypoints, confidence, args.order)
    lifted = Lifter.from_pretrained().lift(keypoints, confidence, camera, args.up, covariance,
                                           args.stature)
    for i in range(len(lifted)):
        joints = lifted.joints[i]
        if np.isnan(joints).all():
            print(f'person {i}: not lifted (fewer than 4 joints seen, or no human pose)')
            continue
        sigma = np.sqrt(np.trace(lifted.covariance[i], axis1=-2, axis2=-1))
        print(f'person {i}: {np.linalg.norm(joints[0]):.2f} m away, log-likelihood '
              f'{lifted.log_likelihood[i]:.2f}')
        for name, at, s in zip(JOINTS, joints, sigma):
            print(f'  {name:<15}{at[0]:8.3f}{at[1]:8.3f}{at[2]:8.3f}  +- {s:.3f} m')
    if args.out:
        np.savez(args.out, joints=lifted.joints, covariance=lifted.covariance,
                 log_likelihood=lifted.log_likelihood, source=lifted.source,
                 scale_source=lifted.scale_source, joint_names=np.array(JOINTS))
    return 0
