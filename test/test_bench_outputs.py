"""``lifting-ros bench outputs``: the least of several runs counts; the measured process works."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import json
import os
import subprocess
import sys

import ros_support
import numpy as np
import pytest
import ros_interfaces
from scipy.spatial.transform import Rotation

from lifting_ros.evaluation import bench_outputs
from lifting_ros.ros import cost

PARTS = ('tracking', 'messages', 'tf', 'rep155', 'markers', 'asked for')


def test_the_best_run_counts(monkeypatch):
    times = iter([3.0, 1.5, 2.0, 0.9, 0.8, 0.7, 4.5, 4.25, 5.0])

    def run(extra):
        t = next(times)
        if '--fuse' in extra:
            return {'people': 6, 'cameras': 3, 'frames': 9, 'notes': [], 'parts': {
                'fuse': {'least': 0.1, 'mean': 0.0, 'p50': t, 'p99': 9.0}}}
        return {'people': 4, 'frames': 9, 'notes': [], 'parts': {
            part: {'least': 0.1, 'mean': 0.0, 'p50': t, 'p99': 9.0} for part in PARTS}}

    monkeypatch.setattr(bench_outputs, '_run', run)
    figures = bench_outputs.measure(None)
    assert [bench_outputs._whole(run) for run in figures.values()] == [1.5, 0.7, 4.25]
    text = bench_outputs.report(figures)
    assert 'the four together' in text and '1.50' in text and '3.00' not in text
    assert '6 people, 3 cameras' in text and '4.25' in text


def test_observations_are_people_side_by_side():
    first, *_, last = cost.observations(3, 20)
    assert len(first) == 3 and first.joints.shape == (3, 17, 3)
    roots = first.joints[:, 0]
    assert np.diff(roots[:, 0]).min() > 0.9                    # nobody stands in another
    assert np.linalg.eigvalsh(first.covariance).min() > 0
    assert np.abs(last.joints - first.joints).max() < 1.0


def test_a_crowd_is_seen_alike_by_all_cameras():
    turn = Rotation.from_euler('z', 120, degrees=True).as_matrix()
    look = np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]])       # at the origin, from +x
    mounts = [(look, np.array([4.0, 0, 1])), (turn @ look, turn @ [4.0, 0, 1])]
    said = list(cost.crowd(mounts, 6, 3))[-1]
    places = [np.array([r @ p.joints[0] + t for p in who])
              for who, (r, t) in zip(said, mounts)]
    for ours in places:
        assert len(ours) == 6 and np.linalg.norm(ours - places[0], axis=1).max() < 0.8
    for who in said:
        assert all(p.joints[:, 2].min() > 1 for p in who)        # in front of the camera
        assert np.linalg.eigvalsh(np.array([p.covariance for p in who])).min() > 0


def test_the_process_prints_what_was_spent(tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'lifting_ros.ros.cost', '--nobody', '--frames', '5', '--people',
         '2'], capture_output=True, text=True, timeout=ros_support.LONG, cwd=tmp_path,
        env={**os.environ, 'ROS_DOMAIN_ID': str(ros_support.new_domain())})
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert set(figures['parts']) == set(PARTS) and figures['people'] == 2
    spent = {k: v['mean'] for k, v in figures['parts'].items()}
    assert spent['asked for'] == pytest.approx(
        spent['tracking'] + spent['tf'] + spent['rep155'] + spent['markers'], abs=0.01)
    assert spent['tracking'] > 0 and spent['markers'] > 0


def test_the_node_fuse_is_measured_with_its_messages(tmp_path, request):
    done = subprocess.run(
        [sys.executable, '-m', 'lifting_ros.ros.cost', '--fuse', '--nobody', '--frames', '5',
         '--people', '2'], capture_output=True, text=True, timeout=400, cwd=tmp_path,
        env={**os.environ, **ros_interfaces.environment(request.config),
             'ROS_DOMAIN_ID': str(ros_support.new_domain())})
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures['fused'] == 2 and figures['cameras'] == 3    # each of them once
    assert figures['parts']['fuse']['least'] > 0
