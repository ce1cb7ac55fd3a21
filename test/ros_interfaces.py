"""Message packages that are not installed here, made from their field lists for the tests.

The names and fields are the interface of hri_msgs (REP-155) and tf2_msgs; the types are equal on
the wire. Where the real packages are installed, those are used. For a shell that runs what needs
them:

    eval "$(python test/ros_interfaces.py runs/interfaces)"
    lifting-ros bench outputs
"""

import fcntl
import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

FIELDS = {
    'tf2_msgs': ('geometry_msgs', {
        'TFMessage': 'geometry_msgs/TransformStamped[] transforms'}),
    'hri_msgs': ('std_msgs', {
        'IdsList': 'std_msgs/Header header\nstring[] ids',
        'NormalizedPointOfInterest2D': 'float32 x\nfloat32 y\nfloat32 c',
        'NormalizedRegionOfInterest2D': 'std_msgs/Header header\nfloat32 xmin\nfloat32 ymin\n'
                                        'float32 xmax\nfloat32 ymax\nfloat32 c',
        'Skeleton2D': 'std_msgs/Header header\n'
                      'hri_msgs/NormalizedPointOfInterest2D[18] skeleton'}),
}
_CMAKE = """cmake_minimum_required(VERSION 3.16)
project({name})
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package({needs} REQUIRED)
rosidl_generate_interfaces({name} {files} DEPENDENCIES {needs})
ament_package()
"""
_XML = """<package format="3"><name>{name}</name><version>0.0.1</version>
<description>For tests only.</description><maintainer email="a@b.invalid">a</maintainer>
<license>Apache-2.0</license><buildtool_depend>ament_cmake</buildtool_depend>
<buildtool_depend>rosidl_default_generators</buildtool_depend><depend>{needs}</depend>
<exec_depend>rosidl_default_runtime</exec_depend>
<member_of_group>rosidl_interface_packages</member_of_group>
<export><build_type>ament_cmake</build_type></export></package>
"""


def environment(config):
    """Environment variables with which processes find these packages; built once and kept.

    Args:
        config: of pytest, for its cache folder.
    """
    if colcon() is None and missing():
        pytest.skip(f'{", ".join(missing())} not installed, and no colcon to build the like')
    return built(pathlib.Path(config.cache.mkdir('interfaces')))


def missing():
    """Names of the packages that are not installed."""
    return [n for n in FIELDS if importlib.util.find_spec(n) is None]


def colcon():
    """Path of colcon, or None."""
    return shutil.which('colcon') or shutil.which('colcon', path=os.path.dirname(sys.executable))


def built(where):
    """Build what is missing into a folder, if that is not done yet.

    Args:
        where: pathlib.Path.

    Returns:
        dict of environment variables.
    """
    absent = missing()
    if not absent:
        return {}
    key = hashlib.sha256(repr((absent, FIELDS, _CMAKE, _XML, sys.version,
                               os.environ.get('AMENT_PREFIX_PATH'))).encode()).hexdigest()[:12]
    folder = where.resolve() / key
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / 'done').exists():
            _build(folder, absent, colcon())
            (folder / 'done').touch()
    prefix = folder / 'install'
    python = next(prefix.glob('lib/python3*/*-packages'), None) or next(
        prefix.glob('local/lib/python3*/*-packages'))

    def before(variable, value):
        return os.pathsep.join([str(value)] + [os.environ[variable]] * bool(
            os.environ.get(variable)))
    return {'PYTHONPATH': before('PYTHONPATH', python),
            'LD_LIBRARY_PATH': before('LD_LIBRARY_PATH', prefix / 'lib'),
            'AMENT_PREFIX_PATH': before('AMENT_PREFIX_PATH', prefix)}


def _build(folder, packages, colcon):
    for name in packages:
        needs, messages = FIELDS[name]
        source = folder / 'src' / name
        (source / 'msg').mkdir(parents=True, exist_ok=True)
        for message, fields in messages.items():
            (source / 'msg' / f'{message}.msg').write_text(fields + '\n')
        files = ' '.join(f'"msg/{message}.msg"' for message in messages)
        (source / 'CMakeLists.txt').write_text(
            _CMAKE.format(name=name, needs=needs, files=files))
        (source / 'package.xml').write_text(_XML.format(name=name, needs=needs))
    done = subprocess.run(
        [colcon, 'build', '--merge-install', '--base-paths', 'src', '--executor', 'sequential',
         '--cmake-args', '-DBUILD_TESTING=OFF', f'-DPython3_EXECUTABLE={sys.executable}'],
        cwd=folder, capture_output=True, text=True, timeout=900)
    if done.returncode:
        pytest.fail('the message packages for the tests do not build:\n' + done.stdout
                    + done.stderr)


if __name__ == '__main__':
    for variable, value in built(pathlib.Path(sys.argv[1])).items():
        print(f"export {variable}='{value}'")
