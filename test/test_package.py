"""The package as it is installed: by colcon, by pip, and its files that must agree."""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

import lifting_ros

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = f'lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages'


def run(code, path, cwd, **env):
    """Run Python code with a PYTHONPATH; return what it prints."""
    done = subprocess.run([sys.executable, '-c', code], cwd=cwd, capture_output=True, text=True,
                          timeout=600, env={**os.environ, 'PYTHONPATH': str(path), **env})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def prefix():
    """Where colcon installed this package."""
    ament = pytest.importorskip('ament_index_python.packages', reason='needs ROS 2')
    try:
        return pathlib.Path(ament.get_package_prefix('lifting_ros'))
    except LookupError:
        pytest.skip('the package is not installed by colcon: scripts/setup.sh')


def test_messages_and_library_come_from_the_installed_space(prefix, tmp_path):
    text = run('import lifting_ros, lifting_ros.msg, lifting_ros.pipeline as p\n'
               'print(lifting_ros.__file__, lifting_ros.msg.__file__, p.__file__)\n'
               'print(lifting_ros.__version__, lifting_ros.msg.Skeleton().id == "")',
               os.environ.get('PYTHONPATH', '').replace(str(ROOT) + ':', ''), tmp_path)
    files, values = text.splitlines()
    assert all(f.startswith(str(prefix)) for f in files.split())
    assert values == f'{lifting_ros.__version__} True'  # not the generator's empty __init__.py


def test_everything_is_installed(prefix):
    package = next(prefix.glob('**/lifting_ros/pipeline.py')).parent
    sources = {p.relative_to(ROOT / 'lifting_ros') for p in (ROOT / 'lifting_ros').rglob('*.py')}
    assert all((package / p).is_file() for p in sources)
    for line in (package / 'weights' / 'SHA256SUMS').read_text().splitlines():
        want, name = line.split()
        found = hashlib.sha256((package / 'weights' / name.lstrip('*')).read_bytes()).hexdigest()
        assert found == want, name
    for name in ('pose', 'source', 'recorder', 'lifting-ros'):
        assert os.access(prefix / 'lib' / 'lifting_ros' / name, os.X_OK)
    share = prefix / 'share' / 'lifting_ros'
    for name in ('launch/pose.launch.py', 'launch/demo.launch.py', 'config/pose.yaml',
                 'config/pose.rviz', 'config/fastdds.xml', 'msg/Joint.msg', 'package.xml'):
        assert (share / name).is_file(), name
    if (ROOT / 'resource' / 'demo').is_dir():
        assert (share / 'demo' / 'clip.mp4').is_file()


_NO_ROS = '''
import importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('rclpy', 'sensor_msgs', 'std_msgs', 'geometry_msgs',
                                  'ament_index_python') or name == 'lifting_ros.msg':
            raise ImportError(f'blocked: {name}')
sys.meta_path.insert(0, Block())
'''


def test_the_library_needs_no_ros(tmp_path):
    run(_NO_ROS + 'import lifting_ros.network, lifting_ros.lifting, lifting_ros.pipeline\n'
        'import lifting_ros.cli, lifting_ros.run, lifting_ros.drawing', ROOT, tmp_path)


def test_prior_and_lifting_need_no_torch(tmp_path):
    run(_NO_ROS.replace("'rclpy'", "'torch', 'rclpy'")
        + 'import lifting_ros.lifting, lifting_ros.prior, lifting_ros.tracking', ROOT, tmp_path)


def test_installed_by_pip_it_runs_without_ros(tmp_path):
    source, target = tmp_path / 'source', tmp_path / 'target'
    source.mkdir()
    for name in ('lifting_ros', 'setup.py', 'setup.cfg', 'pyproject.toml', 'MANIFEST.in',
                 'README.md', 'LICENSE', 'NOTICE'):  # a copy: pip builds in the folder itself
        item = ROOT / name
        if item.exists():
            (shutil.copytree if item.is_dir() else shutil.copy)(item, source / name)
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    done = subprocess.run([sys.executable, '-m', 'pip', 'install', '--no-deps', '--no-index',
                           '--no-build-isolation', '--target', target, source],
                          capture_output=True, text=True, timeout=600, env=env)
    assert done.returncode == 0, done.stderr
    assert (target / 'bin' / 'lifting-ros').is_file()
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / 'photo.jpg'), np.full((240, 320, 3), 90, np.uint8))
    text = run(_NO_ROS + 'import sys\nfrom lifting_ros.cli import main\nimport lifting_ros\n'
               'print(lifting_ros.__file__)\nsys.exit(main(["run", "photo.jpg"]))', target,
               tmp_path)
    assert text.startswith(str(target)) and 'frame 0' in text
    assert (tmp_path / 'output' / 'run' / 'photo_people.png').stat().st_size > 1000


def test_versions_agree():
    tree = ElementTree.parse(ROOT / 'package.xml').getroot()
    assert tree.findtext('version') == lifting_ros.__version__
    assert tree.findtext('name') == 'lifting_ros'
    assert tree.findtext('license') == 'Apache-2.0'


def test_package_xml_names_what_is_imported():
    tree = ElementTree.parse(ROOT / 'package.xml').getroot()
    named = {e.text for e in tree if e.tag.endswith('depend')}
    assert {'rclpy', 'sensor_msgs_py', 'cv_bridge', 'tf_transformations', 'tf2_ros',
            'visualization_msgs', 'diagnostic_msgs', 'rosidl_default_generators',
            'rosidl_default_runtime'} <= named
    from test_import_law import ROS, imports_of

    used = {name.split('.')[0] for p in (ROOT / 'lifting_ros').rglob('*.py')
            for _, name in imports_of(p)} & ROS
    # tf2_msgs comes with tf2_ros, ament_index_python with rclpy; rosbags is a Python package
    assert used - {'tf2_msgs', 'ament_index_python', 'rosbags'} <= named


def test_no_ros_name_is_asked_of_the_python_index():
    text = (ROOT / 'setup.py').read_text() + (ROOT / 'requirements.lock').read_text()
    names = set(re.findall(r'^([A-Za-z0-9_.-]+)==', text, re.M))
    assert not names & {'rclpy', 'sensor-msgs', 'sensor_msgs', 'launch', 'cv-bridge'}
    lines = [x for x in (ROOT / 'requirements.lock').read_text().splitlines()
             if x and not x.startswith('#')]
    assert all(re.match(r"^[\w.-]+==[\w.]+(; python_version (<|>=) '3\.11')?$", x) for x in lines)
    assert not any(x.startswith(('torch==', 'nvidia')) for x in lines)


@pytest.mark.parametrize('name', ['setup.sh', 'env.sh', 'demo.sh', 'test.sh'])
def test_scripts_are_bash_without_errors(name):
    path = ROOT / 'scripts' / name
    assert subprocess.run(['bash', '-n', path]).returncode == 0
    assert name == 'env.sh' or os.access(path, os.X_OK)


def test_setup_names_what_is_missing(tmp_path):
    """A machine without cmake and compiler is told so, and nothing is installed."""
    clone = tmp_path / 'clone'
    (clone / 'scripts').mkdir(parents=True)
    shutil.copy(ROOT / 'scripts' / 'setup.sh', clone / 'scripts')
    tools = tmp_path / 'bin'
    tools.mkdir()
    for tool in ('bash', 'dirname', 'flock', 'mkdir', 'sha256sum', 'cut', 'cat', 'uname', 'make'):
        (tools / tool).symlink_to(shutil.which(tool))
    done = subprocess.run(['bash', str(clone / 'scripts' / 'setup.sh')], capture_output=True,
                          text=True, env={'PATH': str(tools), 'PYTHON': sys.executable})
    assert done.returncode == 1
    assert 'missing: cmake, g++' in done.stderr and ', make' not in done.stderr
    assert not (clone / '.venv' / 'bin').exists()
    done = subprocess.run(['bash', str(clone / 'scripts' / 'setup.sh')], capture_output=True,
                          text=True, env={'PATH': str(tools), 'PYTHON': '/no/such/python'})
    assert done.returncode == 1 and '3.10 to 3.13' in done.stderr
