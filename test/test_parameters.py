"""One table of parameters: the node, config/pose.yaml and docs/parameters.md agree with it."""

import pathlib

import pytest

from lifting_ros.pipeline import PipelineOptions
from lifting_ros.ros import parameters

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_the_yaml_file_is_the_table():
    yaml = pytest.importorskip('yaml', reason='PyYAML comes with ROS 2')
    text = (ROOT / 'config' / 'pose.yaml').read_text()
    assert text == parameters.yaml_text(), 'run: python -m lifting_ros.ros.parameters --write .'
    values = yaml.safe_load(text)['/**']['ros__parameters']
    assert values == {p.name: p.default for p in parameters.PARAMETERS}
    assert all(type(values[p.name]) is type(p.default) for p in parameters.PARAMETERS)
    flat = ' '.join(line.strip().lstrip('# ') for line in text.splitlines())
    for p in parameters.PARAMETERS:
        assert p.description in flat and p.range in flat


def test_the_page_is_the_table():
    text = (ROOT / 'docs' / 'parameters.md').read_text()
    assert text == parameters.markdown_text()
    rows = [line for line in text.splitlines() if line.startswith('| `')]
    assert len(rows) == len(parameters.PARAMETERS)
    for p, row in zip(parameters.PARAMETERS, rows):
        assert p.name in row and p.description in row and p.range in row


def test_every_default_is_allowed():
    for p in parameters.PARAMETERS:
        assert p.check(p.default) is None
        assert len(p.description) > 15


@pytest.mark.parametrize('name, value', [('threshold', -0.1), ('threshold', 1.1),
                                         ('max_people', 0), ('device', 'tpu'), ('up', [0.0, 1.0]),
                                         ('stature', 9.0)])
def test_values_out_of_range_are_named(name, value):
    assert name in parameters.BY_NAME[name].check(value)


def test_options_of_the_pipeline():
    values = {p.name: p.default for p in parameters.PARAMETERS}
    options = parameters.pipeline_options(values)
    assert PipelineOptions(**options) == PipelineOptions()
    assert set(options) == set(PipelineOptions.__dataclass_fields__)
    assert parameters.pipeline_options({**values, 'stature': 1.8})['stature'] == 1.8
    assert parameters.pipeline_options({**values, 'stature': 0.0})['stature'] is None
