"""What several tests share."""

import pathlib

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def shared():
    """The folder of read-only data beside the repository, where there is one."""
    folder = ROOT.parent / 'shared'
    if not (folder / 'data').is_dir():
        pytest.skip('no ../shared/data beside the repository')
    return folder


@pytest.fixture
def rng():
    """A seeded generator."""
    return np.random.default_rng(7)


@pytest.fixture
def graph(tmp_path):
    """A node of the test's own and the processes it starts, in a ROS domain of their own."""
    from ros_support import Graph  # here: it skips where there is no ROS
    g = Graph(tmp_path)
    yield g
    g.close()
