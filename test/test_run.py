"""Reading videos and photos, and the command that runs on them, with a pipeline of a few lines."""

import json

import cv2
import numpy as np
import pytest

from lifting_ros import pipeline
from lifting_ros.cli import main
from lifting_ros.person import Person
from lifting_ros.video import Frames


@pytest.fixture
def film(tmp_path):
    """A video of 6 frames at 10 Hz, 160 x 120, brighter from frame to frame."""
    path = str(tmp_path / 'film.mp4')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'mp4v'), 10, (160, 120))
    for n in range(6):
        writer.write(np.full((120, 160, 3), 20 + 30 * n, np.uint8))
    writer.release()
    return path


@pytest.fixture
def photo(tmp_path):
    """A grey photo of 101 x 75 pixels."""
    path = str(tmp_path / 'photo.png')
    cv2.imwrite(path, np.full((75, 101, 3), 90, np.uint8))
    return path


def test_a_video_is_read_to_its_end_and_again(film):
    f = Frames(film)
    assert (f.kind, f.count, f.width, f.height) == ('video', 6, 160, 120)
    assert f.rate == pytest.approx(10)
    for _ in range(2):
        frames = [f.read() for _ in range(6)]
        assert f.read() is None
        assert np.allclose([x.mean() for x in frames], 20 + 30 * np.arange(6), atol=6)
        f.rewind()
    f.close()


def test_large_pictures_are_shrunk(film, photo):
    f = Frames(film, longest=80)
    assert (f.width, f.height, f.scale) == (80, 60, 0.5) and f.read().shape == (60, 80, 3)
    f.close()
    p = Frames(photo, longest=640)
    assert (p.kind, p.scale, p.count) == ('photo', 1.0, 1) and p.read().shape == (75, 101, 3)
    assert p.read() is not None  # a photo has no end


@pytest.mark.parametrize('name, content', [('nothing.mp4', None), ('text.mp4', 'no video'),
                                           ('text.jpg', 'no picture')])
def test_what_cannot_be_read_is_named(tmp_path, name, content, capsys):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(OSError, match=name):
        Frames(path)
    assert main(['run', str(path)]) == 1
    assert name in capsys.readouterr().err


class Fake:
    """Stands for the pipeline; keeps what it was called with."""

    def __init__(self):
        self.calls, self.options, self.up = [], None, None

    def from_pretrained(self, device, **options):
        self.options = options
        return self

    def __call__(self, image, camera, stamp, up):
        self.calls.append((image.shape, camera, stamp, up))
        self.up = up
        p = Person(id='abcde', confidence=0.5, box=np.array([5.0, 5, 50, 70]))
        p.keypoints, p.keypoint_confidence = np.full((17, 2), 30.0), np.ones(17)
        p.joints = np.tile([0.0, 0.0, 3.0], (17, 1)) + 0.1 * np.arange(17)[:, None]
        p.covariance = np.tile(0.01 * np.eye(3), (17, 1, 1))
        p.joints[3], p.covariance[3] = np.nan, np.nan
        return [p] if len(self.calls) != 2 else []


@pytest.fixture
def fake(monkeypatch):
    made = Fake()
    monkeypatch.setattr(pipeline, 'Pipeline', made)
    return made


def test_photo_is_printed_and_drawn(fake, photo, tmp_path, capsys):
    assert main(['run', photo, '--output', str(tmp_path / 'out'), '--camera', '80', '82', '50',
                 '37', '--up', '0', '-2', '0', '--stature', '1.8']) == 0
    text = capsys.readouterr().out
    assert 'abcde' in text and 'z +3.00' in text and 'sigma 0.10' in text
    ((shape, camera, stamp, up),) = fake.calls
    assert shape == (75, 101, 3) and stamp is None and np.array_equal(up, [0, -1, 0])
    assert camera.K[1, 1] == 82 and fake.options == {'stature': 1.8}
    assert cv2.imread(str(tmp_path / 'out' / 'photo_people.png')).shape == (74, 174, 3)


def test_video_is_followed_and_written_as_json(fake, film, tmp_path, capsys):
    assert main(['run', film, '--output', str(tmp_path), '--frames', '4', '--json',
                 str(tmp_path / 'a.jsonl')]) == 0
    assert 'frame 1: nobody' in capsys.readouterr().out
    assert [c[2] for c in fake.calls] == pytest.approx([0, 0.1, 0.2, 0.3])
    lines = [json.loads(x) for x in (tmp_path / 'a.jsonl').read_text().splitlines()]
    assert [len(x['people']) for x in lines] == [1, 0, 1, 1]
    person = lines[0]['people'][0]
    assert person['joints'][3] == [None] * 3 and person['joints'][1] == [0.1, 0.1, 3.1]
    assert np.shape(person['covariance']) == (17, 9)
    video = cv2.VideoCapture(str(tmp_path / 'film_people.mp4'))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 4


def test_the_view_is_written_where_it_is_asked_for(fake, film, photo, tmp_path, capsys):
    assert main(['run', film, '--output', str(tmp_path), '--frames', '3', '--view']) == 0
    assert str(tmp_path / 'film_people.html') in capsys.readouterr().out
    text = (tmp_path / 'film_people.html').read_text()
    data = json.loads(text.split('type="application/json">')[1].split('</script>')[0])
    assert [f['t'] for f in data['frames']] == [0, 0.1, 0.2] and data['title'] == 'film.mp4'
    assert all(f['image'] for f in data['frames'])
    assert main(['run', photo, '--output', str(tmp_path), '--view']) == 0
    assert (tmp_path / 'photo_people.html').is_file()
