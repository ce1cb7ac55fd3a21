"""docs/topics.md names what the nodes have."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import pathlib
import re

import ros_support  # noqa: F401
import pytest

from lifting_ros.ros import (
    fuse_node,
    images,
    recorder_node,
    separation_node,
    source_node,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXT = (ROOT / 'docs' / 'topics.md').read_text()


def section(name):
    """Text below a heading."""
    return re.split(r'^## ', TEXT.split(f'\n## {name}\n')[1], flags=re.M)[0]


@pytest.mark.parametrize('name, table', [('source', source_node.PARAMETERS),
                                         ('recorder', recorder_node.PARAMETERS),
                                         ('fuse', fuse_node.PARAMETERS),
                                         ('separation', separation_node.PARAMETERS)])
def test_parameters_of_the_small_nodes(name, table):
    rows = re.findall(r'^\| (`\w+`(?:, `\w+`)*) \| `(.*?)` \|', section(name), re.M)
    told = {n.strip('`'): default for names, default in rows for n in names.split(', ')}
    real = {n: f'"{d}"' if d == '' else str(d).lower() if isinstance(d, bool) else str(d)
            for n, d, _ in table}
    assert told == real


def test_every_encoding_is_named():
    row = next(line for line in TEXT.splitlines() if line.startswith('| `image` |'))
    for encoding in images.ENCODINGS:
        if not encoding.startswith(('bayer', '8U')):
            assert re.search(rf'\b{encoding}\b', row), encoding


def test_every_topic_of_the_pose_node_is_named():
    topics = set()
    for name in ('pose_node', 'outputs', 'diagnostics', 'gravity', 'frames', 'depth'):
        code = (ROOT / 'lifting_ros' / 'ros' / f'{name}.py').read_text()
        topics |= set(re.findall(r"create_(?:publisher|subscription)\(\s*\w+,\s*'([^']+)'", code))
        topics |= set(re.findall(r"qos\.(?:publisher|subscription)\(\s*\w+,\s*\w+,\s*'([^']+)'",
                                 code))
    assert {'camera_info', 'imu', '/tf', '~/skeletons', '~/markers', '/diagnostics'} <= topics
    assert all(f'| `{t}` |' in section('pose') for t in topics)
