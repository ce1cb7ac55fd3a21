"""Draw docs/images/markers.png and rep155.png: what RViz shows, drawn from the messages.

. scripts/env.sh && python scripts/marker_pictures.py [FRAME_OF_THE_CLIP]
"""

import pathlib
import sys

import cv2
import matplotlib
import numpy as np

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from visualization_msgs.msg import Marker  # noqa: E402

from lifting_ros import human_model, kinematics, view  # noqa: E402
from lifting_ros.camera import Camera  # noqa: E402
from lifting_ros.pipeline import Pipeline  # noqa: E402
from lifting_ros.ros.markers import Markers  # noqa: E402
from lifting_ros.ros.source_node import clip  # noqa: E402

FOLDER = pathlib.Path(__file__).resolve().parent.parent / 'docs' / 'images'


def people_at(frame, before=12):
    """The image and the people of a frame of the demo clip, followed for some frames."""
    path, truth = clip()
    with np.load(truth, allow_pickle=False) as data:
        k, up, (width, height) = data['K'], data['up'], data['size']
    pipeline, camera = Pipeline.from_pretrained(), Camera(k, int(width), int(height))
    video = cv2.VideoCapture(str(path))
    video.set(cv2.CAP_PROP_POS_FRAMES, frame - before)
    for n in range(before):
        image = video.read()[1]
        people = pipeline(image, camera, n / 30, up)
    return image, people, up


def axes_3d(figure, place, title):
    """An empty scene, z up."""
    ax = figure.add_subplot(*place, projection='3d')
    ax.set_title(title, fontsize=10)
    ax.set_xlabel('ahead, m', fontsize=8)
    ax.set_ylabel('left, m', fontsize=8)
    ax.tick_params(labelsize=7)
    ax.view_init(elev=14, azim=-150)
    for pane in (ax.xaxis, ax.yaxis, ax.zaxis):
        pane.set_pane_color('#3c424c')
        pane._axinfo['grid']['color'] = '#5a626e'
    return ax


def fit(ax, points):
    """Show all of some points, in equal scales."""
    middle, reach = (points.min(0) + points.max(0)) / 2, np.ptp(points, axis=0).max() / 2
    for k, set_limits in enumerate((ax.set_xlim, ax.set_ylim, ax.set_zlim)):
        set_limits(middle[k] - reach, middle[k] + reach)
    ax.set_box_aspect((1, 1, 1))


def xyz(points):
    return np.array([(p.x, p.y, p.z) for p in points])


def draw_markers(ax, array, turn):
    """Draw a MarkerArray as a viewer does."""
    globe = np.stack(np.meshgrid(np.linspace(0, 2 * np.pi, 17), np.linspace(0, np.pi, 9)))
    ball = np.stack((np.cos(globe[0]) * np.sin(globe[1]), np.sin(globe[0]) * np.sin(globe[1]),
                     np.cos(globe[1])), axis=-1) / 2
    for m in array.markers:
        if m.type == Marker.LINE_LIST:
            ends = xyz(m.points).reshape(-1, 2, 3) @ turn.T
            colours = m.colors[::2] or [m.color] * len(ends)
            for pair, c in zip(ends, colours):
                ax.plot(*pair.T, color=(c.r, c.g, c.b, c.a), linewidth=130 * m.scale.x)
        elif m.type == Marker.SPHERE_LIST:
            ax.scatter(*(xyz(m.points) @ turn.T).T, s=14, depthshade=False,
                       c=[(c.r, c.g, c.b, c.a) for c in m.colors])
        elif m.type == Marker.SPHERE:
            q, p = m.pose.orientation, m.pose.position
            x, y, z, w = q.x, q.y, q.z, q.w
            rotation = np.array([
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])
            surface = (ball * [m.scale.x, m.scale.y, m.scale.z]) @ rotation.T + [p.x, p.y, p.z]
            c = m.color
            ax.plot_surface(*np.moveaxis(surface @ turn.T, -1, 0), color=(c.r, c.g, c.b),
                            alpha=c.a, linewidth=0)
        elif m.type == Marker.TEXT_VIEW_FACING:
            ax.text(*(xyz([m.pose.position])[0] @ turn.T), m.text, fontsize=8, ha='center')


def draw_model(ax, person, turn):
    """Draw the model of REP-155 by its links, their axes, and the joints that were measured."""
    posture = kinematics.inverse(person.joints[None])
    position, rotation = kinematics.forward(posture)
    there = dict(zip((link.name for link in human_model.LINKS), position[0] @ turn.T))
    there['body'] = posture.position[0] @ turn.T
    turned = dict(zip((link.name for link in human_model.LINKS), turn @ rotation[0]))
    turned['body'] = turn @ posture.rotation[0]
    for link in human_model.LINKS:
        ax.plot(*np.stack((there[link.parent], there[link.name])).T, color='0.35', linewidth=2)
    for name in ('body', 'torso', 'head', 'l_shoulder', 'r_shoulder', 'l_elbow', 'r_elbow',
                 'l_wrist', 'r_wrist', 'l_hip', 'r_hip', 'l_knee', 'r_knee', 'l_ankle',
                 'r_ankle'):
        for axis, colour in zip(turned[name].T, ('tab:red', 'tab:green', 'tab:blue')):
            ax.plot(*np.stack((there[name], there[name] + 0.08 * axis)).T, color=colour,
                    linewidth=1.2)
    measured = person.joints[list(kinematics.MODELLED)] @ turn.T
    ax.scatter(*measured.T, s=22, facecolors='none', edgecolors='tab:orange')
    residual = 1e3 * posture.residual[0, list(kinematics.MODELLED)]
    ax.text2D(0.02, 0.0, 'orange: the joints that were published; the model is off by '
              f'{residual.mean():.0f} mm in the mean, {residual.max():.0f} at most', fontsize=8,
              transform=ax.transAxes)
    return measured


def main():
    image, people, up = people_at(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
    turn = view.axes(up)
    people = [p for p in people if np.isfinite(p.joints).all()]
    points = np.concatenate([p.joints for p in people]) @ turn.T
    figure = plt.figure(figsize=(9.6, 4.6))
    picture = figure.add_subplot(1, 2, 1)
    picture.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    picture.set_axis_off()
    picture.set_title('the image', fontsize=10)
    ax = axes_3d(figure, (1, 2, 2), '~/markers, ellipsoids of 1 sigma')
    draw_markers(ax, Markers().update(people, Header(), 0.5, sigmas=1.0), turn)
    fit(ax, points)
    figure.tight_layout()
    figure.savefig(FOLDER / 'markers.png', dpi=110)

    figure = plt.figure(figsize=(5.6, 5.2))
    ax = axes_3d(figure, (1, 1, 1), 'frames of REP-155 (x red, y green, z blue)')
    fit(ax, draw_model(ax, people[0], turn))
    figure.tight_layout()
    figure.savefig(FOLDER / 'rep155.png', dpi=110)


if __name__ == '__main__':
    main()
