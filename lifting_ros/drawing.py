"""Pictures of people: skeletons on the image, and the scene in 3D from beside the camera."""

import cv2
import numpy as np

from .person import Source
from .skeleton import BONES, HIPS, JOINTS, NUM_JOINTS

#: BGR. The person's left is blue, the right is orange, the middle is light: one sees at a
#: glance whether a side was mixed up.
LEFT, RIGHT, MIDDLE = (235, 150, 40), (40, 130, 250), (225, 225, 225)
_BACKGROUND, _GRID, _TEXT = (34, 30, 28), (70, 64, 60), (210, 205, 200)
_SHIFT = 3  # OpenCV draws at eighths of a pixel


def bone_colour(joint):
    """BGR colour of a joint and of the bone that leads to it."""
    name = JOINTS[joint]
    return LEFT if name.startswith('left') else RIGHT if name.startswith('right') else MIDDLE


def id_colour(name):
    """A BGR colour of its own for an id, the same in every picture."""
    hue = (sum(ord(c) * p for c, p in zip(name, (7, 37, 101, 13, 61))) * 47) % 180
    return tuple(int(c) for c in cv2.cvtColor(np.uint8([[[hue, 150, 255]]]),
                                              cv2.COLOR_HSV2BGR)[0, 0])


def _line(image, a, b, colour, width):
    a, b = (tuple(int(v) for v in np.round(np.asarray(p) * (1 << _SHIFT))) for p in (a, b))
    cv2.line(image, a, b, colour, width, cv2.LINE_AA, _SHIFT)


def _dot(image, p, radius, colour):
    centre = tuple(int(v) for v in np.round(np.asarray(p) * (1 << _SHIFT)))
    cv2.circle(image, centre, int(radius * (1 << _SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)


def _near(p, shape):
    return np.isfinite(p).all() and (np.abs(p) < 4 * max(shape)).all()


def draw_people(image, people, least=0.15, labels=True):
    """Draw 2D skeletons on a copy of an image.

    Args:
        image: (H, W, 3) uint8 BGR.
        people: list of :class:`~lifting_ros.person.Person`.
        least: keypoints below this confidence are left out; between it and 1 they fade in.
        labels: write id, confidence and distance at the box.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    out = np.ascontiguousarray(image).copy()
    width = max(2, round(max(image.shape[:2]) / 260))
    for person in people:
        layer = out.copy()
        xy, seen = person.keypoints, person.keypoint_confidence
        for child, parent in BONES:
            sure = min(seen[child], seen[parent])
            if sure > least and _near(xy[child], image.shape) and _near(xy[parent], image.shape):
                _line(layer, xy[parent], xy[child], (20, 20, 20), width + 2)
                _line(layer, xy[parent], xy[child], bone_colour(child), width)
        for j in range(NUM_JOINTS):
            if seen[j] > least and _near(xy[j], image.shape):
                _dot(layer, xy[j], width + 1, (20, 20, 20))
                _dot(layer, xy[j], width, bone_colour(j))
        out = cv2.addWeighted(layer, 0.35 + 0.65 * min(1.0, 1.5 * person.confidence), out,
                              0.65 - 0.65 * min(1.0, 1.5 * person.confidence), 0)
        if labels:
            _label(out, person)
    return out


def _label(image, person):
    x0, y0, x1, y1 = np.clip(person.box, 0, np.tile(image.shape[1::-1], 2) - 1).astype(int)
    colour = id_colour(person.id)
    cv2.rectangle(image, (x0, y0), (x1, y1), colour, 1, cv2.LINE_AA)
    text = f'{person.id} {person.confidence:.2f}'
    root = person.joints[0]
    if np.isfinite(root).all():
        text += f' {np.linalg.norm(root):.1f}m'
    if not person.matched:
        text += ' (predicted)'
    scale = max(0.4, image.shape[0] / 1200)
    (w, h), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    top = max(y0, h + base + 2)
    cv2.rectangle(image, (x0, top - h - base - 2), (x0 + w + 4, top), colour, -1)
    cv2.putText(image, text, (x0 + 2, top - base), cv2.FONT_HERSHEY_SIMPLEX, scale, (10, 10, 10),
                1, cv2.LINE_AA)


def _view_rotation(up, turn, lift):
    """Rows: right, down, forward of a viewer turned about the vertical and raised by ``lift``."""
    up = np.array([0.0, -1.0, 0.0]) if up is None else np.asarray(up, float)
    up = up / np.linalg.norm(up)
    ahead = np.array([0.0, 0.0, 1.0]) - up[2] * up
    ahead = ahead / max(np.linalg.norm(ahead), 1e-6)
    right = np.cross(ahead, up)
    ahead = np.cos(turn) * ahead - np.sin(turn) * right
    forward = np.cos(lift) * ahead - np.sin(lift) * up
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return np.stack((right, np.cross(forward, right), forward)), up


def draw_view(people, size=(480, 480), up=None, turn=0.6, lift=0.35, centre=None, reach=None,
              sigmas=1.0):
    """Draw the people in 3D as seen by a viewer beside and above the camera.

    The grid is the floor below the lowest foot, in metres; the small pyramid is the camera. A
    joint's covariance is drawn as the outline of its ``sigmas`` ellipsoid.

    Args:
        people: list of :class:`~lifting_ros.person.Person` with joints in the optical frame, m.
        size: (width, height) of the picture, px.
        up: (3,) against gravity in the optical frame; None: a level camera.
        turn, lift: of the viewer about the vertical and above the horizon, rad.
        centre: (3,) m the viewer looks at; None: the people's middle.
        reach: metres that fit into the picture; None: as the people need.
        sigmas: size of the ellipsoids; 0 leaves them out.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    width, height = size
    image = np.full((height, width, 3), _BACKGROUND, np.uint8)
    shown = [p for p in people if np.isfinite(p.joints).all()]
    roots = np.array([p.joints[0] for p in shown]).reshape(-1, 3)
    if centre is None:
        centre = roots.mean(axis=0) if len(roots) else np.array([0, 0, 2.5])
    if reach is None:
        reach = 2 * np.linalg.norm(roots - centre, axis=1).max(initial=0.0) + 2.8
    view, up = _view_rotation(up, turn, lift)
    zoom = min(width, height) / reach

    def see(points):
        p = (np.asarray(points, float) - centre) @ view.T
        return p[..., :2] * zoom + np.array([width / 2, height / 2])

    _draw_floor(image, see, shown, up, centre, reach)
    for p in sorted(shown, key=lambda p: -float((p.joints[0] - centre) @ view[2])):
        xy = see(p.joints)
        faint = 0.45 if not p.matched else 1.0
        if sigmas:
            _draw_ellipses(image, xy, view, p.covariance, zoom * sigmas)
        for child, parent in BONES:
            unseen = p.source[child] in (Source.LIFTED, Source.PREDICTED)
            colour = np.array(bone_colour(child)) * (0.55 if unseen else 1.0) * faint
            _line(image, xy[parent], xy[child], tuple(int(c) for c in colour), 3)
        top = xy[:, 1].min()
        cv2.putText(image, p.id, (int(xy[10, 0]) - 16, int(top) - 8), cv2.FONT_HERSHEY_SIMPLEX,
                    0.42, id_colour(p.id), 1, cv2.LINE_AA)
    _draw_camera(image, see)
    note = 'metres, grid 0.5 m' if shown else 'nobody in 3D'
    cv2.putText(image, note, (8, height - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _TEXT, 1,
                cv2.LINE_AA)
    return image


def _draw_floor(image, see, people, up, centre, reach):
    ahead = np.array([0.0, 0.0, 1.0]) - up[2] * up
    ahead /= max(np.linalg.norm(ahead), 1e-6)
    right = np.cross(ahead, up)
    heights = [float((p.joints @ up).min()) - 0.06 for p in people]
    floor = min(heights) if heights else -1.5
    middle = centre - (centre @ up) * up + floor * up
    n = int(np.ceil(reach / 0.5))
    base = np.round(np.array([middle @ right, middle @ ahead]) / 0.5) * 0.5
    for k in range(-n, n + 1):
        for along, across, b_along, b_across in ((right, ahead, base[0], base[1]),
                                                 (ahead, right, base[1], base[0])):
            start = along * (b_along - 0.5 * n) + across * (b_across + 0.5 * k) + floor * up
            a, b = see(np.stack((start, start + along * n)))
            _line(image, a, b, _GRID, 1)
    for p in people:  # where the person stands
        foot = p.joints[list(HIPS)].mean(axis=0)
        foot = foot + (floor - foot @ up) * up
        _dot(image, see(foot), 4, id_colour(p.id))


def _draw_ellipses(image, xy, view, covariance, zoom):
    flat = view[:2] @ covariance @ view[:2].T                            # (17, 2, 2)
    values, vectors = np.linalg.eigh(np.where(np.isfinite(flat), flat, 0.0))
    axes = zoom * np.sqrt(np.maximum(values, 0))
    angles = np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]))
    layer = image.copy()
    for j in range(len(xy)):
        a, b = float(min(axes[j, 1], 2000)), float(min(axes[j, 0], 2000))
        centre = (int(xy[j, 0]), int(xy[j, 1]))
        cv2.ellipse(layer, centre, (max(int(a), 1), max(int(b), 1)), float(angles[j]), 0, 360,
                    bone_colour(j), 1, cv2.LINE_AA)
    cv2.addWeighted(layer, 0.4, image, 0.6, 0, dst=image)


def _draw_camera(image, see):
    corner = 0.16 * np.array([[-1, -0.75, 1.4], [1, -0.75, 1.4], [1, 0.75, 1.4], [-1, 0.75, 1.4]])
    tip, rim = see(np.zeros(3)), see(corner)
    for k in range(4):
        _line(image, tip, rim[k], _TEXT, 1)
        _line(image, rim[k], rim[(k + 1) % 4], _TEXT, 1)
