"""Repair the ROS 2 wheels of the running virtual environment, so that packages build on them.

The CMake exports of the message packages name the include folders of the machine on which the
wheels were built, and CMake stops at folders that do not exist. Safe to run again.
"""

import importlib.util
import pathlib
import re
import sys
import sysconfig

#: packages needed to build, which the metadata of the wheels does not name
NEEDED = (
    'ament_package', 'ament_cmake_include_directories', 'ament_cmake_ros', 'ament_cmake_gmock',
    'ament_cmake_gtest', 'ament_cmake_pytest', 'python_cmake_module',
    'rosidl_core_generators',
)
NUMPY = re.compile(
    r'/opt/python/cp\d+-cp\d+/lib/python[\d.]+/site-packages/numpy/_?core/include')
PYTHON = re.compile(r'/opt/python/cp\d+-cp\d+/include/python[\d.]+')


def main():
    """Return the exit status; a message instead where something is lacking."""
    if sys.prefix == sys.base_prefix:
        return 'repair: run this with the Python of the virtual environment'
    prefix = pathlib.Path(sys.prefix)
    lacking = [n for n in NEEDED if not (prefix / 'share' / n / 'package.xml').exists()]
    if lacking:
        return 'repair: not installed: ' + ', '.join('ros-' + n.replace('_', '-')
                                                     for n in lacking)
    if importlib.util.find_spec('em') is None or importlib.util.find_spec('catkin_pkg') is None:
        return 'repair: not installed: empy==3.3.4 and catkin-pkg'
    import em
    import numpy

    if not em.__version__.startswith('3.'):
        return f'repair: empy is {em.__version__}; the message generators need 3.3.4'
    include = sysconfig.get_paths()['include']
    if not pathlib.Path(include, 'Python.h').exists():
        return f'repair: no Python.h in {include}'
    changed = 0
    for path in (prefix / 'share').glob('*/cmake/*.cmake'):
        old = path.read_text()
        new = NUMPY.sub(lambda _: numpy.get_include(), old)
        new = PYTHON.sub(lambda _: include, new)
        if new != old:
            path.write_text(new)
            changed += 1
    # colcon would take the environment for a folder of packages
    (prefix / 'COLCON_IGNORE').touch()
    sys.stdout.write(f'setup: repaired {changed} CMake exports of the ROS wheels\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
