"""Who may import whom (docs/architecture.md), read off the syntax trees."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / 'lifting_ros'

_GROUND = {'skeleton', 'camera', 'person', 'body_frame', 'rigid', 'frame_tree', 'human_model',
           'human_angles', 'kinematics', 'matrices'}
_CORE = _GROUND | {'prior', 'lifting', 'network', 'tracking', 'pipeline', 'drawing', 'view',
                   'video', 'prediction', 'fusion', 'separation'}
#: room -> rooms of the project it may import besides itself
LAW = {
    '__init__': set(),
    'skeleton': set(),
    'matrices': set(),
    'video': set(),
    'camera': {'skeleton'},
    'person': {'skeleton', 'camera'},
    'body_frame': {'skeleton', 'matrices'},
    'rigid': {'person'},
    'frame_tree': {'rigid'},
    'human_model': {'skeleton'},
    'human_angles': {'human_model'},
    'kinematics': {'skeleton', 'matrices', 'body_frame', 'human_model', 'human_angles'},
    'drawing': {'skeleton', 'camera', 'person'},
    'view': {'skeleton', 'camera', 'person', 'drawing'},
    'prediction': _GROUND | {'tracking'},
    'fusion': _GROUND | {'tracking', 'prediction'},
    'separation': {'skeleton', 'person'},
    'prior': _GROUND,
    'lifting': _GROUND | {'prior'},
    'network': _GROUND | {'prior', 'lifting'},
    'tracking': _GROUND,
    'pipeline': _CORE - {'drawing', 'view', 'video', 'prediction', 'fusion',
                                          'separation'},
    'run': _CORE,
    'ros': _CORE | {'msg'},
    # the two workshops beside the core share readers and measures
    'training': _CORE | {'evaluation'},
    'evaluation': _CORE | {'training'},
    'cli': set(),
}
#: packages that only some rooms may import
ROS = {'rclpy', 'rcl_interfaces', 'sensor_msgs', 'std_msgs', 'geometry_msgs', 'diagnostic_msgs',
       'visualization_msgs', 'builtin_interfaces', 'ament_index_python', 'cv_bridge',
       'lifecycle_msgs', 'tf2_ros', 'tf2_msgs', 'tf_transformations', 'sensor_msgs_py', 'launch',
       'rosbags', 'shape_msgs'}
ONLY = {**{name: {'ros'} for name in ROS},
        'torch': {'network', 'training', 'evaluation', 'ros', 'pipeline'}}


def imports_of(path):
    """Yield (line, absolute module name) of every import of a file, lazy ones too."""
    package = ('lifting_ros', *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else ()
            module = '.'.join((*base, *([node.module] if node.module else [])))
            if module == 'lifting_ros' or (node.level and not node.module):
                for alias in node.names:  # from . import name: the name may be a module
                    yield node.lineno, f'{module}.{alias.name}'
            else:
                yield node.lineno, module


def room_of(path):
    """Name of the room a file is in."""
    return pathlib.PurePath(path.relative_to(PACKAGE).parts[0]).stem


FILES = sorted(p for p in PACKAGE.rglob('*.py'))


def breaches(path):
    """Imports of a file that the law forbids, as text."""
    room = room_of(path)
    out = []
    for line, name in imports_of(path):
        parts = name.split('.')
        if parts[0] == 'lifting_ros':
            other = parts[1] if len(parts) > 1 else '__init__'
            if other not in LAW and other != 'msg':
                other = '__init__'  # a name of the package itself, as __version__
            if other not in ({room, '__init__'} | LAW[room]):
                out.append(f'{path.relative_to(PACKAGE)}:{line} imports {name}')
        elif room not in ONLY.get(parts[0], {room}):
            out.append(f'{path.relative_to(PACKAGE)}:{line} imports {name}')
    return out


def test_every_room_is_in_the_law():
    assert {room_of(p) for p in FILES} <= set(LAW)


@pytest.mark.parametrize('room', sorted(LAW))
def test_imports(room):
    assert not [b for p in FILES if room_of(p) == room for b in breaches(p)]


@pytest.mark.parametrize('room, text', [
    ('lifting', 'import torch'), ('pipeline', 'import rclpy'),
    ('network', 'from ..training import x'), ('network', 'def f():\n    from .. import ros'),
    ('prior', 'from lifting_ros.lifting import Lifter'), ('tracking', 'import sensor_msgs.msg'),
    ('training', 'from ..ros import x'), ('ros', 'from .. import cli'), ('cli', 'import torch'),
    ('pipeline', 'from ..evaluation import measures'), ('skeleton', 'from ..camera import Camera'),
])
def test_a_breach_is_found(room, text, tmp_path, monkeypatch):
    monkeypatch.setattr('test_import_law.PACKAGE', tmp_path)
    path = tmp_path / room / 'bad.py'
    path.parent.mkdir()
    path.write_text(text)
    assert breaches(path)


def test_commands_of_the_command_line_exist_in_their_rooms():
    from lifting_ros.cli import COMMANDS

    for module, _ in COMMANDS.values():
        parts = module.split('.')
        assert parts[0] == 'lifting_ros' and parts[1] in (
            'run', 'lifting', 'network', 'training', 'evaluation')
        base = PACKAGE.joinpath(*parts[1:])
        assert base.with_suffix('.py').is_file() or (base / '__init__.py').is_file(), module
