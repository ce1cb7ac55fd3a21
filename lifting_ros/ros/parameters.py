"""All parameters of the node ``pose``: one table, from which everything else follows.

The node declares from it, ``config/pose.yaml`` and ``docs/parameters.md`` are written from it:
    python -m lifting_ros.ros.parameters --write FOLDER_OF_THE_PROJECT
"""

import argparse
import math
import pathlib
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """One parameter. Its type is that of the default; low and high bound it, ends included."""

    name: str
    default: object
    description: str
    low: float | None = None
    high: float | None = None
    options: tuple = ()
    fixed: bool = False        # read-only: may be set at the start only
    option: str | None = None  # field of pipeline.PipelineOptions it sets
    zero_is_none: bool = False
    frame: bool = False        # the name of a frame, or empty

    @property
    def kind(self):
        """Name of the type, as ROS has it."""
        if isinstance(self.default, (list, tuple)):
            return 'double_array'
        return {bool: 'bool', int: 'integer', float: 'double', str: 'string'}[type(self.default)]

    @property
    def range(self):
        """The allowed values in words."""
        if self.options:
            return ', '.join(self.options)
        return '' if self.low is None else f'{self.low:g} to {self.high:g}'

    def check(self, value):
        """Say in a sentence what is wrong with a value, or return None."""
        if self.options and value not in self.options:
            return f'{self.name} must be one of {self.range}, not {value!r}'
        if self.low is not None and not self.low <= value <= self.high:
            return f'{self.name} must be within {self.range}, not {value!r}'
        if self.kind == 'double_array' and len(value) != len(self.default):
            return f'{self.name} must have {len(self.default)} numbers, not {len(value)}'
        if self.kind == 'double_array' and not all(map(math.isfinite, value)):
            return f'{self.name} must be finite numbers, not {list(value)}'
        if self.frame and (value.startswith('/') or any(c.isspace() for c in value)):
            return f'{self.name} must be the name of a frame without spaces and leading slash, ' \
                   f'not {value!r}'
        return None


PARAMETERS = (
    Parameter('device', 'auto', 'Where the network runs; auto: on CUDA where there is one, else '
              'on the CPU.', options=('auto', 'cpu', 'cuda'), fixed=True),
    Parameter('engine', '', 'Path of a TensorRT engine of the network, built on this machine '
              '(docs/deploy.md); empty: torch runs it.', fixed=True),
    Parameter('int8', 'search', 'What a CPU that is faster so runs in int8: the search of whole '
              'images, all (keypoints, too: a quarter less time, 0.4 points of PCK fewer) or '
              'none; with the weights that ship.', options=('search', 'all', 'none'), fixed=True),
    Parameter('weights', '', 'Path of the network\'s weights (safetensors); empty: those that '
              'ship with the package.', fixed=True),
    Parameter('threads', 0, 'Threads of the network on the CPU; 0: as many as torch takes.',
              0, 64, fixed=True),
    Parameter('threshold', 0.2, 'Least confidence of a person that is published: the mean of the '
              'eight surest joints.', 0.0, 1.0,
              option='threshold'),
    Parameter('find_threshold', 0.1, 'Least height of a peak of the centre map at which a '
              'person is looked for.', 0.0, 1.0, option='find_threshold'),
    Parameter('max_people', 16, 'Most people in an image; the surest are taken.', 1, 64,
              option='max_people'),
    Parameter('search_every', 5, 'Images from one search of the whole image to the next, at most '
              '2 for two seconds after somebody went out of sight; between them, people are '
              'looked for where they are expected.', 1, 100,
              option='search_every'),
    Parameter('stature', 0.0, 'Stature in metres of everybody on the site, where it is known; '
              '0: that of people in general.', 0.0, 2.5, option='stature', zero_is_none=True),
    Parameter('camera_height', 0.0, 'Metres of the camera over the ground, where it is known: '
              'feet that are seen then tell the distance; 0: not known.', 0.0, 100.0),
    Parameter('max_rate', 0.0, 'Most images per second that are processed; the others are '
              'counted as skipped. 0: as many as can be.', 0.0, 1000.0),
    Parameter('image_transport', 'raw', 'raw: images from `image`; compressed: JPEG or PNG from '
              '`image/compressed`.', options=('raw', 'compressed'), fixed=True),
    Parameter('depth', False, 'Take distances from the depth images on `depth`, where there are '
              'any; colour never waits for them.'),
    Parameter('depth_tolerance', 0.04, 'Seconds by which the stamps of a depth image and of the '
              'colour image it is used for may differ.', 0.0, 1.0),
    Parameter('target_frame', '', 'Frame in which people are published and followed, by TF at '
              'the stamp of the image; empty: the camera\'s own.', frame=True),
    Parameter('tf_timeout', 0.1, 'Seconds the transform at the stamp of an image may take to '
              'arrive. Where it does not, people are published in the camera\'s frame and the '
              'header says so.', 0.0, 2.0),
    Parameter('gravity_frame', '', 'Frame of TF whose z axis points against gravity (map, odom, '
              'base_link of a level robot), to tell which way is up in the image at its stamp; '
              'empty: none.', frame=True),
    Parameter('imu', False, 'Take from the topic `imu` (sensor_msgs/Imu) which way is up, where '
              'gravity_frame does not say it.'),
    Parameter('up', [0.0, 0.0, 0.0], 'Direction against gravity in the camera\'s optical frame '
              '(x right, y down, z forward); [0, -1, 0] for a level camera, all 0: not known. '
              'Counts where neither TF nor IMU says it.'),
    Parameter('estimate_up', True, 'Where nothing says which way is up, tell it by how people '
              'stand, for a camera that hangs still or moves slowly.', option='estimate_up'),
    Parameter('tf', 'none', 'Broadcast the frame body_<id> of each person at its pelvis (x '
              'forward, y left, z to the head), or with joints one named <joint>_<id> for each '
              'joint too. Needs tf2_ros.', options=('none', 'body', 'joints')),
    Parameter('publish_tf', False, 'The older name of tf: body.'),
    Parameter('ros4hri', False, 'Publish people as REP-155 has them too, on /humans/bodies/...; '
              'needs hri_msgs.'),
    Parameter('view_frame', '', 'Name of a frame to broadcast once at the camera, with x ahead, y '
              'left and z up (by the parameter up): viewers turn about z. Empty: none. Needs '
              'tf2_ros.', frame=True),
    Parameter('drawing', True, 'Publish `~/image_annotated` while somebody subscribes to it.'),
    Parameter('ellipsoids', 1.0, 'Size of the covariance ellipsoids among the markers, in '
              'standard deviations (2.8 holds 95 %); 0: none.', 0.0, 5.0),
    Parameter('marker_lifetime', 0.5, 'Seconds after which RViz drops a marker that is not '
              'renewed.', 0.05, 10.0),
    Parameter('camera_info_wait', 1.0, 'Seconds from the first image after which the lack of '
              'camera_info is complained about.', 0.0, 60.0, fixed=True),
    Parameter('autostart', True, 'Configure and activate by itself at the start; false: wait for '
              'a life-cycle manager, or `ros2 lifecycle set`.', fixed=True),
)
BY_NAME = {p.name: p for p in PARAMETERS}


def descriptor(parameter):
    """rcl_interfaces/ParameterDescriptor of a parameter."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    out = ParameterDescriptor(description=parameter.description, read_only=parameter.fixed)
    if parameter.options:
        out.additional_constraints = 'one of: ' + parameter.range
    if parameter.low is not None and parameter.kind == 'integer':
        out.integer_range = [IntegerRange(from_value=int(parameter.low),
                                          to_value=int(parameter.high), step=1)]
    elif parameter.low is not None:
        out.floating_point_range = [FloatingPointRange(from_value=float(parameter.low),
                                                       to_value=float(parameter.high))]
    return out


def declare(node):
    """Declare all parameters on a node; return their values by name.

    Raises:
        ValueError: a value from outside (launch file, command line) is out of range.
    """
    from rclpy.exceptions import ParameterException

    values = {}
    for p in PARAMETERS:
        default = list(p.default) if p.kind == 'double_array' else p.default
        try:
            values[p.name] = node.declare_parameter(p.name, default, descriptor(p)).value
        except ParameterException as error:
            raise ValueError(f'parameter {p.name} ({p.kind}, {p.range or "any"}): '
                             f'{error}') from error
        wrong = p.check(values[p.name])
        if wrong:
            raise ValueError(wrong)
    return values


def pipeline_options(values):
    """Keyword arguments of pipeline.PipelineOptions from the values of the parameters."""
    return {p.option: None if p.zero_is_none and not values[p.name] else values[p.name]
            for p in PARAMETERS if p.option}


def _yaml_value(value):
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _wrapped(text, width):
    lines, line = [], ''
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f'{line} {word}'.strip()
    return lines + [line]


def yaml_text():
    """The text of config/pose.yaml."""
    out = ['# Parameters of the node `pose`, with their defaults. Written from the table in',
           '# lifting_ros/ros/parameters.py; a test holds both equal.', '/**:',
           '  ros__parameters:']
    for p in PARAMETERS:
        notes = [p.kind] + [p.range] * bool(p.range) + ['read-only'] * p.fixed
        out += [f'    # {line}' for line in _wrapped(p.description, 92)]
        out += [f'    # ({"; ".join(notes)})', f'    {p.name}: {_yaml_value(p.default)}', '']
    return '\n'.join(out[:-1]) + '\n'


def markdown_text():
    """The text of docs/parameters.md."""
    out = ['# Parameters of the node `pose`', '',
           'Written from the table in `lifting_ros/ros/parameters.py`; a test holds both equal. '
           'Read-only ones are set at the start, all others may be changed while the node runs '
           '(`ros2 param set /pose threshold 0.4`).', '',
           '| name | type | default | allowed | read-only | what it does |',
           '|---|---|---|---|---|---|']
    for p in PARAMETERS:
        default = '""' if p.default == '' else _yaml_value(p.default).replace('"', '')
        out.append(f'| `{p.name}` | {p.kind} | `{default}` | {p.range or "any"} | '
                   f'{"yes" if p.fixed else "no"} | {p.description} |')
    return '\n'.join(out) + '\n'


def main(argv=None):
    """Write config/pose.yaml and docs/parameters.md."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--write', type=pathlib.Path, required=True, metavar='FOLDER')
    folder = parser.parse_args(argv).write
    (folder / 'config' / 'pose.yaml').write_text(yaml_text())
    (folder / 'docs' / 'parameters.md').write_text(markdown_text())
    return 0


if __name__ == '__main__':
    sys.exit(main())
