"""The message files: constants equal to the library's, every field explained with its unit."""

import pathlib
import re

import pytest

from lifting_ros.person import ScaleSource, Source

FOLDER = pathlib.Path(__file__).resolve().parent.parent / 'msg'
FILES = sorted(FOLDER.glob('*.msg'))
_LINE = re.compile(r'^(?P<type>[\w/]+(\[\d*\])?) (?P<name>\w+)(=(?P<value>\d+))?'
                   r'\s*(?P<note>#.*)?$')


def parse(path):
    """Yield (type, name, value or None, comment) of every line; comments above count."""
    above = []
    for line in path.read_text().splitlines():
        if not line.strip():
            above = []
        elif line.startswith('#'):
            above.append(line.lstrip('# '))
        else:
            m = _LINE.match(line)
            assert m, f'{path.name}: {line!r}'
            note = (m['note'] or '').lstrip('# ') or ' '.join(above)
            yield m['type'], m['name'], None if m['value'] is None else int(m['value']), note


def test_the_files():
    assert [p.stem for p in FILES] == ['Joint', 'LinkSeparation', 'Separation', 'Skeleton',
                                        'SkeletonArray', 'SkeletonModel']


@pytest.mark.parametrize('name, prefix, enum', [('Joint', '', Source),
                                                ('Skeleton', 'SCALE_', ScaleSource)])
def test_constants_are_the_library_s(name, prefix, enum):
    constants = {n: v for _, n, v, _ in parse(FOLDER / f'{name}.msg') if v is not None}
    assert constants == {prefix + e.name: e.value for e in enum}


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.stem)
def test_every_field_and_constant_is_explained(path):
    for _, name, _, note in parse(path):
        assert len(note) > 8, f'{path.name}: {name}'


@pytest.mark.parametrize('name, field, word', [
    ('Joint', 'position', 'metres'), ('Joint', 'covariance', 'metres squared'),
    ('Joint', 'pixel_x', 'pixels'), ('Joint', 'confidence', '0'), ('Skeleton', 'age', 'Seconds'),
    ('Skeleton', 'root', 'metres'), ('Skeleton', 'velocity', 'per second'),
    ('Skeleton', 'roi', 'pixels'), ('SkeletonArray', 'processing_latency', 'Seconds'),
    ('SkeletonArray', 'header', 'optical frame'), ('Joint', 'velocity', 'metres per second'),
    ('LinkSeparation', 'distance', 'metres'), ('LinkSeparation', 'z_d', 'metres'),
    ('LinkSeparation', 'speed', 'metres per second'), ('Separation', 'age', 'Seconds'),
])
def test_units_and_frames_are_named(name, field, word):
    notes = {n: note for _, n, _, note in parse(FOLDER / f'{name}.msg')}
    assert word in notes[field]


def test_built_messages_have_the_same_constants():
    messages = pytest.importorskip('lifting_ros.msg', reason='the messages are not built')
    for source in Source:
        assert getattr(messages.Joint, source.name) == source
    for scale in ScaleSource:
        assert getattr(messages.Skeleton, 'SCALE_' + scale.name) == scale
    assert messages.Joint().covariance.shape == (9,)
