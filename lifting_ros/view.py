"""People over time as one page of HTML: it needs no network, no server and no ROS.

Open it in any browser: drag to turn, wheel to come nearer, a slider for the time.
"""

import base64
import json
import pathlib

import numpy as np

from .drawing import bone_colour
from .person import Source
from .skeleton import BONES, HEAD_TOP, INDEX, JOINTS, NUM_JOINTS

_UPPER = np.triu_indices(3)   # xx xy xz yy yz zz
#: Joints whose velocity is drawn.
_MOVING = [INDEX[n] for n in ('pelvis', 'left_wrist', 'right_wrist', 'left_ankle',
                              'right_ankle')]


def axes(up=None):
    """Rows x (ahead), y (left), z (up) of the page's frame in the camera's optical frame.

    Args:
        up: (3,) against gravity in the optical frame (x right, y down, z forward); None: a level
            camera.

    Returns:
        (3, 3) rotation.

    Raises:
        ValueError: ``up`` is no direction.
    """
    up = np.array([0.0, -1, 0]) if up is None else np.asarray(up, dtype=np.float64)
    length = np.linalg.norm(up)
    if not np.isfinite(length) or length < 1e-6:
        raise ValueError(f'up is no direction: {up.tolist()}')
    up = up / length
    ahead = np.array([0.0, 0, 1]) - up[2] * up
    if np.linalg.norm(ahead) < 1e-3:   # the camera looks straight up or down
        ahead = np.array([0.0, 1, 0]) - up[1] * up
    ahead = ahead / np.linalg.norm(ahead)
    return np.stack((ahead, np.cross(up, ahead), up))


def _integers(values, scale):
    return np.round(np.asarray(values, dtype=np.float64) * scale).astype(int).ravel().tolist()


def _person(person, turn):
    """A person as the page wants it: millimetres, millimetres squared, hundredths."""
    seen = np.asarray(person.keypoint_confidence, dtype=np.float64)
    hidden = np.isin(person.source, (Source.LIFTED, Source.PREDICTED)) | (seen <= 0)
    out = {'id': str(person.id), 'confidence': round(100 * float(person.confidence)),
           'matched': bool(person.matched), 'joints': _integers(person.joints @ turn.T, 1e3),
           'trust': _integers(np.where(hidden, 0.3, 0.4 + 0.6 * np.minimum(2 * seen, 1)), 100)}
    covariance = np.asarray(person.covariance, dtype=np.float64)
    if np.isfinite(covariance).all():
        turned = turn @ covariance @ turn.T
        out['covariance'] = _integers(turned[(slice(None), *_UPPER)], 1e6)
    if np.isfinite(person.velocity).any():   # messages have that of the pelvis alone
        out['velocity'] = _integers(np.nan_to_num(np.asarray(person.velocity)) @ turn.T, 1e3)
    return out


def scene(frames, up=None, title='', camera=None, pictures=None):
    """What the page shows, as plain lists and numbers.

    Args:
        frames: list of (seconds, list of :class:`~lifting_ros.person.Person`), in order of time;
            positions in the optical frame, metres. Those without positions are left out.
        up: as of :func:`axes`.
        title: of the page.
        camera: :class:`~lifting_ros.camera.Camera` to be drawn, or None: one of 55 degrees.
        pictures: a JPEG (bytes) or None for each frame, or None.

    Returns:
        dict.
    """
    turn = axes(up)
    start = frames[0][0] if frames else 0.0
    out, roots, feet, longest = [], [], [], 0.0
    for n, (seconds, people) in enumerate(frames):
        people = [p for p in people if np.isfinite(p.joints).all()]
        frame = {'t': round(float(seconds - start), 4),
                 'people': [_person(p, turn) for p in people]}
        if pictures is not None and pictures[n] is not None:
            frame['image'] = base64.b64encode(bytes(pictures[n])).decode()
        out.append(frame)
        for p in people:
            points = p.joints @ turn.T
            roots.append(points[0])
            feet.append(points[:, 2].min())
    roots = np.array(roots).reshape(-1, 3)
    middle = np.median(roots, axis=0) if len(roots) else np.array([3.0, 0, 0])
    if len(roots):
        longest = np.percentile(np.linalg.norm(roots - middle, axis=1), 95)
    rim = np.array([[-0.52, -0.39, 1], [0.52, -0.39, 1], [0.52, 0.39, 1], [-0.52, 0.39, 1]])
    if camera is not None:
        corners = np.array([[0, 0], [camera.width, 0], [camera.width, camera.height],
                            [0, camera.height]])
        rim = np.concatenate(((corners - camera.K[:2, 2]) / np.diag(camera.K)[:2],
                              np.ones((4, 1))), axis=1)
    return {'title': str(title), 'frames': out, 'names': list(JOINTS),
            'bones': [list(bone) for bone in BONES], 'top': HEAD_TOP, 'moving': _MOVING,
            'colours': ['#{2:02x}{1:02x}{0:02x}'.format(*bone_colour(j))
                        for j in range(NUM_JOINTS)],
            'floor': round(float(np.median(feet)) - 0.08 if feet else -1.5, 3),
            'middle': np.round(middle, 3).tolist(),
            'reach': round(float(min(2.5 + 0.7 * np.linalg.norm(middle) + 2 * longest, 15.0)), 2),
            'camera': np.round(rim @ turn.T, 3).tolist()}


def write(path, frames, up=None, title='', camera=None, pictures=None):
    """Write the page; arguments as of :func:`scene`.

    Returns:
        pathlib.Path of the file.
    """
    template = (pathlib.Path(__file__).resolve().parent / 'view.html').read_text(encoding='utf-8')
    data = json.dumps(scene(frames, up, title, camera, pictures), separators=(',', ':'))
    # nothing in a name or title may end the script that holds the data
    data = data.replace('<', '\\u003c').replace('\u2028', '\\u2028').replace('\u2029', '\\u2029')
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(template.replace('/*DATA*/', data), encoding='utf-8')
    return path
