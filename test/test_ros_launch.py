"""The launch files load, and ask for nodes, topics and files that exist.

The real launch packages are used where they are installed; otherwise classes that record their
arguments (a wrong argument of a real class then goes unseen).
"""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import importlib.util
import pathlib
import sys
import types

import pytest
import ros_support  # noqa: F401
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
HAS_LAUNCH = importlib.util.find_spec('launch_ros') is not None


class Recorded:
    """Keeps what it was made of."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


NAMES = {
    'launch': ('LaunchDescription',),
    'launch.actions': ('DeclareLaunchArgument', 'SetEnvironmentVariable',
                       'IncludeLaunchDescription', 'OpaqueFunction'),
    'launch.conditions': ('IfCondition',),
    'launch.launch_description_sources': ('PythonLaunchDescriptionSource',),
    'launch.substitutions': ('EnvironmentVariable', 'LaunchConfiguration',
                             'PathJoinSubstitution', 'PythonExpression'),
    'launch_ros': (), 'launch_ros.actions': ('Node',),
    'launch_ros.substitutions': ('FindPackageShare',),
    'launch_ros.parameter_descriptions': ('ParameterValue',),
}


def load(name, monkeypatch):
    """Return the entities of a launch file, made with recording classes."""
    for module, names in NAMES.items():
        stub = types.ModuleType(module)
        for n in names:
            setattr(stub, n, type(n, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, module, stub)
    spec = importlib.util.spec_from_file_location(name.replace('.', '_'),
                                                  ROOT / 'launch' / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description().args[0]


def of(entities, kind):
    """Those of a class."""
    return [e for e in entities if type(e).__name__ == kind]


def used(value):
    """Names of the launch arguments that are used anywhere in a value."""
    if type(value).__name__ == 'LaunchConfiguration':
        return {value.args[0]}
    if isinstance(value, Recorded):
        value = (*value.args, *value.kwargs.values())
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)) or type(value).__name__ == 'dict_items':
        return set().union(*(used(v) for v in value)) if value else set()
    return set()


@pytest.mark.parametrize('name', ['pose.launch.py', 'demo.launch.py', 'fuse.launch.py'])
def test_every_argument_is_declared_explained_and_used(name, monkeypatch):
    entities = load(name, monkeypatch)
    declared = {e.args[0]: e.kwargs for e in of(entities, 'DeclareLaunchArgument')}
    rest = [e for e in entities if type(e).__name__ != 'DeclareLaunchArgument']
    assert used(rest) == set(declared)
    assert all(k['description'] and 'default_value' in k for k in declared.values())
    for node in of(entities, 'Node'):
        if node.kwargs['package'] == 'lifting_ros':
            module = f'lifting_ros.ros.{node.kwargs["executable"]}_node'
            assert importlib.util.find_spec(module), module


def test_pose_launch_starts_node_and_rviz(monkeypatch):
    entities = load('pose.launch.py', monkeypatch)
    assert {'image', 'camera_info', 'rviz', 'params', 'profile'} <= {
        e.args[0] for e in of(entities, 'DeclareLaunchArgument')}
    (rviz,) = of(entities, 'Node')
    (pose,) = nodes(entities, '')
    from lifting_ros.ros.parameters import BY_NAME

    assert set(pose.kwargs['parameters'][1]) <= set(BY_NAME)
    assert pose.kwargs['namespace'] == ''
    assert [to.args[0] for _, to in pose.kwargs['remappings']] == [
        name for name, _ in pose.kwargs['remappings']] == ['image', 'camera_info']
    assert rviz.kwargs['package'] == 'rviz2' and rviz.kwargs['condition'].args[0].args == ('rviz',)
    names = {e.args[0] for e in of(entities, 'SetEnvironmentVariable')}
    assert names == {'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'}


def nodes(entities, cameras):
    """The nodes that the function of the launch file returns for a list of cameras."""
    (function,) = of(entities, 'OpaqueFunction')
    values = {'cameras': cameras, 'image': '/camera/image_raw',
              'camera_info': '/camera/camera_info'}
    arguments = function.kwargs['kwargs']
    for name, value in values.items():
        arguments[name].perform = lambda context, value=value: value
    return function.kwargs['function'](None, **arguments)


def test_several_cameras_are_a_process_each(monkeypatch):
    made = nodes(load('pose.launch.py', monkeypatch), 'front, /left/')
    assert [n.kwargs['namespace'] for n in made] == ['front', 'left']
    for node in made:
        assert node.kwargs['remappings'] == [('image', 'image_raw'),
                                             ('camera_info', 'camera_info')]
        assert node.kwargs['executable'] == 'pose'


def test_demo_launch_includes_the_other_with_its_arguments(monkeypatch):
    other = {e.args[0] for e in of(load('pose.launch.py', monkeypatch), 'DeclareLaunchArgument')}
    entities = load('demo.launch.py', monkeypatch)
    (include,) = of(entities, 'IncludeLaunchDescription')
    assert include.args[0].args[0].endswith('pose.launch.py')
    assert {name for name, _ in include.kwargs['launch_arguments']} <= other
    (source,) = of(entities, 'Node')
    from lifting_ros.ros.source_node import PARAMETERS

    assert set(source.kwargs['parameters'][0]) <= {name for name, _, _ in PARAMETERS}


def test_fuse_launch_starts_fuse_and_separation_where_it_is_asked_for(monkeypatch):
    entities = load('fuse.launch.py', monkeypatch)
    fuse, apart = of(entities, 'Node')
    from lifting_ros.ros import fuse_node, separation_node

    for node, module in ((fuse, fuse_node), (apart, separation_node)):
        assert set(node.kwargs['parameters'][0]) <= {name for name, *_ in module.PARAMETERS}
        assert node.kwargs['executable'] == node.kwargs['name']
    assert {'topics', 'target_frame'} <= set(fuse.kwargs['parameters'][0])
    # what fuse publishes is what separation takes
    assert apart.kwargs['remappings'] == [('skeletons', '/fuse/skeletons')]
    assert apart.kwargs['condition'].args[0].args == ('separation',)
    assert 'condition' not in fuse.kwargs
    # whoever turns separation on gets it in the frame in which people are fused
    assert used(apart.kwargs['parameters'][0]['frame']) == {'target_frame'}


def test_rviz_shows_the_node_s_topics():
    config = yaml.safe_load((ROOT / 'config' / 'pose.rviz').read_text())
    displays = config['Visualization Manager']['Displays']
    topics = {d['Class'].split('/')[1]: d['Topic']['Value'] for d in displays if 'Topic' in d}
    assert topics == {'MarkerArray': '/pose/markers', 'Image': '/pose/image_annotated'}
    assert config['Visualization Manager']['Global Options']['Fixed Frame'] == 'people_view'
    assert 'rviz_default_plugins/TF' in {d['Class'] for d in displays}


@pytest.mark.skipif(not HAS_LAUNCH, reason='launch and launch_ros are not installed')
@pytest.mark.parametrize('name', ['pose.launch.py', 'demo.launch.py', 'fuse.launch.py'])
def test_real_launch_loads_the_file(name):
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    source = PythonLaunchDescriptionSource(str(ROOT / 'launch' / name))
    assert source.get_launch_description(LaunchContext()).entities
