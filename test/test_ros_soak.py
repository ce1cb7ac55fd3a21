"""What a soak says of a run: its own arithmetic, on runs that are known."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
import ros_support  # noqa: F401

from lifting_ros.evaluation import bench_soak
from lifting_ros.ros import soak


def run(drop=5, growth=0.0, more_threads=0, more_files=0, forget=0):
    """Figures of a run of 1000 images with so many dropped and so much grown."""
    rng = np.random.default_rng(2)
    sent = 10**18 + 33_333_333 * np.arange(1000)
    answered = np.delete(sent, rng.choice(998, drop, replace=False))
    listener = SimpleNamespace(
        stamps=answered.tolist(), latency=rng.normal(40, 3, len(answered)).tolist(),
        messages={'running'},
        node={'frames processed': str(len(answered)), 'frames dropped': str(drop - forget),
              'frames rejected': '0', 'frames skipped': '0'})
    t = np.arange(200.0)
    rows = np.stack((t, 500 + 100 * np.minimum(t, 50) / 50 + growth * np.maximum(t - 100, 0) / 100,
                     20 + more_threads * (t > 150), 30 + more_files * (t > 150), 0.2 * t), 1)
    return listener, sent, {'pose': rows.tolist()}


def figures(*args):
    return {'minutes': 3, 'rate_hz': 30, 'device': 'cpu', **soak.summary(*args, 60.0)}


def test_a_good_run_passes_and_is_told():
    f = figures(*run())
    assert f['passed'] and f['unaccounted'] == 0 and f['dropped'] == 5
    assert f['images_in'] == 1000 and f['answers_out'] == 995
    assert abs(f['latency_ms']['p50'] - 40) < 1 and abs(f['latency_p50_last_tenth_ms'] - 40) < 2
    text = bench_soak.report(f)
    assert '1000 images in, 995 answers out, 5 dropped' in text and text.endswith('\npassed')


@pytest.mark.parametrize('change', [{'growth': 30.0}, {'more_threads': 1}, {'more_files': 2},
                                    {'forget': 1}])
def test_whatever_grows_or_is_missing_fails(change):
    f = figures(*run(**change))
    assert not f['passed'] and 'NOT passed' in bench_soak.report(f)


def test_stamps_of_nobody_s_image_and_out_of_order_fail():
    for spoil in (lambda s: s.__setitem__(7, s[7] + 1),
                  lambda s: s.__setitem__(slice(3, 5), s[3:5][::-1])):
        listener, sent, samples = run()
        spoil(listener.stamps)
        f = figures(listener, sent, samples)
        assert not f['passed'] and not (f['stamps_are_inputs'] and f['stamps_increase'])


def test_each_minute_is_told_of():
    listener, sent, samples = run(drop=0)
    sent = 10**18 + 180_000_000 * np.arange(1000)        # three minutes
    listener.stamps = sent.tolist()
    listener.latency = np.where(np.arange(1000) < 334, 40.0, 50.0).tolist()
    rows = soak.by_minute(listener, sent, samples, [(t, 1.0 + (t >= 60)) for t in range(200)])
    assert [r['minute'] for r in rows] == [0, 1] and [r['load'] for r in rows] == [1.0, 2.0]
    assert [r['latency_p50_ms'] for r in rows] == [40.0, 50.0]
    assert sum(r['answers'] for r in rows) == 667
    # 0.2 s of CPU a second, 1000 answers in 180 s
    assert all(abs(r['cpu_ms_per_answer'] - 36) < 0.2 for r in rows)
    assert rows[1]['memory_mb'] == 600 and (rows[1]['threads'], rows[1]['files']) == (20, 30)
    text = bench_soak.report(figures(listener, sent, samples) | {'by_minute': rows})
    assert 'of each minute: minute, answers' in text


def test_usage_is_of_this_process():
    memory, threads, files, cpu = soak.usage(os.getpid())
    with open(os.devnull) as _:
        assert soak.usage(os.getpid())[2] == files + 1
    assert 20 < memory < 10_000 and threads >= 1 and abs(cpu - time.process_time()) < 0.5
