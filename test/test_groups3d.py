"""Rows of the 3D evaluation about some of the joints or people, and statures of adults."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from test_evaluation_3d import DATA

from lifting_ros.evaluation import groups3d
from lifting_ros.skeleton import INDEX, LSP_JOINTS
from lifting_ros.training.mocap import ADULTS, adult_statures, resized, stature


def people(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 17, 3)) + [0, 0, 5.0]


def test_statures_are_those_of_men_and_women():
    got = adult_statures(200000, np.random.default_rng(0))
    mean, sigma = np.array(ADULTS).T
    assert got.mean() == pytest.approx(mean.mean(), abs=1e-3)
    # law of total variance
    assert got.std() == pytest.approx(np.sqrt((sigma ** 2).mean() + mean.var()), abs=1e-3)


def test_resized_people_have_the_stature_and_the_shape():
    joints, size = people(5), np.linspace(1.4, 2.0, 5)
    got = resized(joints, size)
    np.testing.assert_allclose(stature(got), size)
    np.testing.assert_allclose(got / joints, np.broadcast_to((got / joints)[:, :1, :1],
                                                             got.shape))


def test_what_is_spared_and_what_is_taken():
    """One centimetre off where all was seen; where some is not, 2 cm where a joint is still
    seen, 3 where it was taken away, 1.5 where it was never given.
    """
    truth = people(40)
    truth[:, 0] = [0, 0, 5.0]
    given = np.zeros((40, 17))
    given[:, LSP_JOINTS] = 1
    left = given.copy()
    left[:, [INDEX['left_wrist'], INDEX['right_knee']]] = 0
    error = np.where(left > 0, 0.02, np.where(given > 0, 0.03, 0.015))
    error[:, 0] = 0
    once = np.where(np.arange(17) > 0, 0.01, 0)

    def lifted(off):
        return SimpleNamespace(joints=truth + np.broadcast_to(off, (40, 17))[..., None]
                               * [0.6, 0, 0.8])
    table = groups3d.spared_and_taken(lifted(once), lifted(error),
                                      SimpleNamespace(joints=truth, confidence=given), left)
    still, taken, never = (table[f'six joints missing: {k}'] for k in
                           ('still seen', 'taken away', 'never given'))
    assert (still['joints'], taken['joints'], never['joints']) == (480, 80, 120)
    assert (still['mpjpe_before'], still['mpjpe'], still['more_percent']) == (10, 20, 100)
    assert (taken['mpjpe'], taken['more_percent']) == (30, 200)
    # the pelvis is one of the three, and the origin
    assert (never['mpjpe'], never['more_percent']) == (10, 50)


def test_legs_of_who_sits_are_apart():
    truth = people(3000)
    seated = np.arange(3000) % 3 == 0
    sigma = np.where(seated, 0.3, 0.1)[:, None, None]
    lifted = SimpleNamespace(
        joints=truth + sigma * np.random.default_rng(1).normal(size=truth.shape),
        covariance=np.broadcast_to(0.01 * np.eye(3), (3000, 17, 3, 3)))
    table = groups3d.legs_of_seated(lifted, truth, seated)
    sits, stands = (table[f'legs not seen, theirs: {k}'] for k in ('seated', 'others'))
    assert (sits['joints'], stands['joints']) == (4000, 8000)
    assert sits['nees'] == pytest.approx(9, rel=0.1)
    assert stands['nees'] == pytest.approx(1, rel=0.1)
    assert stands['within_95'] == pytest.approx(95, abs=1.5)


def test_roots_are_told_subject_by_subject():
    truth = people(9)
    subject = np.array(['a', 'b', 'c'] * 3)
    by = np.select([subject == 'a', subject == 'b'], [1.05, 0.96], 1.0)
    joints = truth * by[:, None, None]
    joints[0] = np.nan
    table = groups3d.of_subjects(joints, truth, subject)
    a, b, c = (table[f'stature given: {k}'] for k in 'abc')
    assert (a['bias_percent'], a['root_percent']) == (5, 5)
    assert (b['bias_percent'], b['root_percent']) == (-4, 4)
    assert c['root_mm'] == 0 and a['people'] == 3


@pytest.mark.skipif(not DATA.is_dir(), reason=f'no motion capture at {DATA}')
def test_the_second_table_is_of_adults(tmp_path, capsys):
    """Ellipsoids that know adults hold what they say of adults."""
    from lifting_ros.cli import main
    out = tmp_path / 'table.json'
    assert main(['eval', '3d', '--mocap', str(DATA), '--people', '200', '--json',
                 str(out)]) == 0
    text, table = capsys.readouterr().out, json.loads(out.read_text())
    own, drawn = text.index("The subjects' own statures"), text.index('those of adults (men 1.756')
    assert own < text.index('all, gravity known') < drawn < text.index('adults: gravity known')
    known = table['adults: gravity known']
    assert known['people'] == 200 and known['ece'] < 0.08 and 90 < known['within_95'] < 99
    assert table['adults: stature given']['root_percent'] < known['root_percent']
    assert table['adults: seen: all']['joints'] == 200 * (14 + 8 + 10)
    assert 'stature given: hdm05_mm' in table
