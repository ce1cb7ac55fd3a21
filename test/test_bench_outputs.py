"""``lifting-ros bench outputs``: the least of several runs counts; the measured process works."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import json
import os
import subprocess
import sys

import ros_support
import numpy as np
import pytest

from lifting_ros.evaluation import bench_outputs
from lifting_ros.ros import cost

PARTS = ('tracking', 'messages', 'tf', 'rep155', 'markers', 'asked for')


def test_the_best_run_counts(monkeypatch):
    times = iter([3.0, 1.5, 2.0, 0.9, 0.8, 0.7])

    def run(extra):
        t = next(times)
        return {'people': 4, 'frames': 9, 'notes': [], 'parts': {
            part: {'least': 0.1, 'mean': 0.0, 'p50': t, 'p99': 9.0} for part in PARTS}}

    monkeypatch.setattr(bench_outputs, '_run', run)
    figures = bench_outputs.measure(None)
    assert [run['parts']['asked for']['p50'] for run in figures.values()] == [1.5, 0.7]
    text = bench_outputs.report(figures)
    assert 'the four together' in text and '1.50' in text and '3.00' not in text


def test_observations_are_people_side_by_side():
    first, *_, last = cost.observations(3, 20)
    assert len(first) == 3 and first.joints.shape == (3, 17, 3)
    roots = first.joints[:, 0]
    assert np.diff(roots[:, 0]).min() > 0.9                    # nobody stands in another
    assert np.linalg.eigvalsh(first.covariance).min() > 0
    assert np.abs(last.joints - first.joints).max() < 1.0


def test_the_process_prints_what_was_spent(tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'lifting_ros.ros.cost', '--nobody', '--frames', '5', '--people',
         '2'], capture_output=True, text=True, timeout=400, cwd=tmp_path,
        env={**os.environ, 'ROS_DOMAIN_ID': str(ros_support.new_domain())})
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert set(figures['parts']) == set(PARTS) and figures['people'] == 2
    spent = {k: v['mean'] for k, v in figures['parts'].items()}
    assert spent['asked for'] == pytest.approx(
        spent['tracking'] + spent['tf'] + spent['rep155'] + spent['markers'], abs=0.01)
    assert spent['tracking'] > 0 and spent['markers'] > 0
