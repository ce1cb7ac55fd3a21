"""The page that shows people in 3D: what is in it, and what its script draws."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from lifting_ros import view
from lifting_ros.camera import Camera
from lifting_ros.person import Person, Source
from lifting_ros.skeleton import BONES, INDEX

NODE = shutil.which('node') or shutil.which('nodejs')


def person(rng, name='abcde'):
    p = Person(id=name, confidence=0.8, box=np.array([0.0, 0, 9, 9]))
    p.joints = 0.4 * rng.normal(size=(17, 3)) + [0.3, 0, 4]
    a = 0.05 * rng.normal(size=(17, 3, 3))
    p.covariance = a @ a.swapaxes(1, 2)
    p.velocity = rng.normal(size=(17, 3))
    p.keypoint_confidence = np.full(17, 0.5)
    p.source = np.full(17, Source.OBSERVED, np.uint8)
    return p


def data_of(text):
    return json.loads(text.split('type="application/json">')[1].split('</script>')[0])


def full(six):
    xx, xy, xz, yy, yz, zz = np.array(six, float)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def test_axes_are_ahead_left_up():
    assert np.allclose(view.axes(), [[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    tilt = 0.4  # the camera looks down: up leans back
    got = view.axes([0, -np.cos(tilt), -np.sin(tilt)])
    assert np.allclose(got @ got.T, np.eye(3)) and np.linalg.det(got) > 0
    assert np.allclose(got[1], [-1, 0, 0])
    assert np.allclose(got @ [0, 0, 1], [np.cos(tilt), 0, -np.sin(tilt)])
    assert np.allclose(view.axes([0, 0, -1]) @ [0, 0, 1], [0, 0, -1])  # looks straight down
    for bad in ([0, 0, 0], [np.nan, 0, 1]):
        with pytest.raises(ValueError, match='no direction'):
            view.axes(bad)


def test_the_page_says_what_it_was_given(rng, tmp_path):
    up = [0.05, -1, -0.2]
    people = [[person(rng), person(rng, 'fghij')], [], [person(rng)]]
    people[0][1].matched = False
    people[2][0].source[3], people[2][0].keypoint_confidence[3] = Source.LIFTED, 0
    frames = [(100.0 + 0.5 * n, crowd) for n, crowd in enumerate(people)]
    flat = person(rng, 'flat1')
    flat.joints = np.full((17, 3), np.nan)
    frames[1][1].append(flat)
    path = view.write(tmp_path / 'sub' / 'v.html', frames, up, 'x', pictures=[b'jpeg', None, b''])
    text = path.read_text()
    data = data_of(text)
    assert [f['t'] for f in data['frames']] == [0.0, 0.5, 1.0]
    assert [[p['id'] for p in f['people']] for f in data['frames']] == [['abcde', 'fghij'], [],
                                                                       ['abcde']]
    turn = view.axes(up)
    shown, p = data['frames'][0]['people'][0], people[0][0]
    joints = np.reshape(shown['joints'], (17, 3)) / 1e3
    assert np.abs(joints - p.joints @ turn.T).max() < 0.00051
    for j in range(17):
        want = turn @ p.covariance[j] @ turn.T
        assert np.allclose(full(shown['covariance'][6 * j:6 * j + 6]) * 1e-6, want, atol=6e-7)
    assert np.abs(np.reshape(shown['velocity'], (17, 3)) / 1e3 - p.velocity @ turn.T).max() < 6e-4
    trust = data['frames'][2]['people'][0]['trust']
    assert trust[3] < 50 < trust[4]
    assert [tuple(b) for b in data['bones']] == list(BONES)
    assert data['frames'][0]['image'] == 'anBlZw==' and 'image' not in data['frames'][1]


def test_the_page_stands_alone(rng, tmp_path):
    text = view.write(tmp_path / 'v.html', [(0.0, [person(rng, '</script><b>')])],
                      title='<img src=x onerror=alert(1)>').read_text()
    page = text.replace(json.dumps(data_of(text)['title']).replace('<', '\\u003c'), '')
    assert not re.search(r'https?://|\bsrc=|@import|url\(', page), 'it asks for something outside'
    assert text.count('</script>') == 2 and '<img src' not in text
    assert data_of(text)['frames'][0]['people'][0]['id'] == '</script><b>'
    assert '/*DATA*/' not in text


def test_a_run_with_nobody_is_a_page_too(tmp_path):
    for frames in ([], [(0.0, [])]):
        data = data_of(view.write(tmp_path / 'v.html', frames).read_text())
        assert np.isfinite([*data['middle'], data['floor'], data['reach']]).all()


def test_the_camera_is_drawn_as_it_is():
    camera = Camera([[500, 0, 300], [0, 500, 200], [0, 0, 1]], 640, 480)
    rim = np.array(view.scene([], camera=camera)['camera'])
    # ahead 1 m; the upper left corner of the image is to the left and above
    assert np.allclose(rim[:, 0], 1) and np.allclose(rim[0], [1, 0.6, 0.4])
    assert np.allclose(rim[2], [1, -(640 - 300) / 500, -(480 - 200) / 500])


_HARNESS = """
const fs = require('fs'), vm = require('vm');
const html = fs.readFileSync(process.argv[2], 'utf8');
const part = id => html.split('id="' + id + '"')[1].split('>').slice(1).join('>')
  .split('</script>')[0];
const data = JSON.parse(part('data')), box = { Math };
vm.createContext(box);
vm.runInContext(part('app') + ';this.draw = draw; this.makeEye = makeEye;', box);
const calls = [];
const ctx = new Proxy({}, { get: (o, k) => k in o ? o[k] : (...a) => {
  calls.push([k, o.globalAlpha ?? 1, o.fillStyle ?? null, o.strokeStyle ?? null, ...a]); },
  set: (o, k, v) => { o[k] = v; return true; } });
const out = {}, view = JSON.parse(process.argv[3]);
for (const sigmas of [0, 1, 2]) {
  calls.length = 0;
  box.draw(ctx, 800, 600, data, 0, view, { sigmas, arrows: true, paths: true });
  out[sigmas] = calls.slice();
}
const eye = box.makeEye(view, 800, 600);
const person = data.frames[0].people[0];
out.seen = data.names.map((n, j) => eye.see(person.joints.slice(3 * j, 3 * j + 3).map(
  v => v / 1000)));
out.outline = eye.outline(person.joints.slice(0, 3).map(v => v / 1000),
  person.covariance.slice(0, 6).map(v => v * 1e-6), 2);
out.behind = eye.see(view.target.map((t, i) => t - 2 * view.distance * eye.forward[i]));
console.log(JSON.stringify(out));
"""


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """What the script draws of a frame, its scene and the viewer."""
    if NODE is None:
        pytest.skip('no node to run the script of the page')
    folder = tmp_path_factory.mktemp('view')
    rng = np.random.default_rng(5)
    people = [person(rng), person(rng, 'lost1')]
    people[1].matched = False
    page = view.write(folder / 'v.html', [(0.0, people)])
    (folder / 'harness.js').write_text(_HARNESS)
    look = {'yaw': 0.7, 'pitch': 0.25, 'distance': 6.0, 'target': [4.0, -0.2, 0.1]}
    done = subprocess.run([NODE, folder / 'harness.js', page, json.dumps(look)],
                          capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), data_of(page.read_text()), look


def project(points, look, width=800, height=600):
    """Pinhole projection by itself: (N, 3) m to px and depth."""
    cy, sy, cp, sp = (f(look[k]) for k in ('yaw', 'pitch') for f in (np.cos, np.sin))
    forward = np.array([cp * cy, cp * sy, -sp])
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    d = np.asarray(points, float) - (np.array(look['target']) - look['distance'] * forward)
    f, z = 1.2 * min(width, height), d @ forward
    return np.stack((width / 2 + f * (d @ right) / z, height / 2 + f * (d @ down) / z, z), -1)


def test_points_are_where_a_pinhole_has_them(drawn):
    out, data, look = drawn
    joints = np.reshape(data['frames'][0]['people'][0]['joints'], (17, 3)) / 1e3
    assert np.allclose(out['seen'], project(joints, look), atol=1e-6)
    assert out['behind'] is None


def test_outlines_are_those_of_the_covariance(drawn):
    """Samples of the distribution, projected, have the ellipse's covariance."""
    out, data, look = drawn
    p = data['frames'][0]['people'][0]
    cov = full(p['covariance'][:6]) * 1e-6
    middle = np.array(p['joints'][:3]) / 1e3
    samples = np.random.default_rng(1).multivariate_normal(middle, cov, 40000)
    want = np.cov(project(samples, look)[:, :2].T)
    o = out['outline']
    c, s = np.cos(o['angle']), np.sin(o['angle'])
    turn = np.array([[c, -s], [s, c]])
    got = turn @ np.diag([(o['large'] / 2)**2, (o['small'] / 2)**2]) @ turn.T
    assert np.allclose(got, want, rtol=0.05, atol=0.05 * want.max())


def test_bones_joints_and_ellipsoids_are_drawn(drawn):
    out, data, look = drawn
    colours = set(data['colours'])

    def count(calls, name, **where):
        return sum(c[0] == name and (not where or c[2] in colours) for c in calls)

    plain, one, two = (out[k] for k in ('0', '1', '2'))
    assert count(plain, 'arc') == 2 * 17 and count(plain, 'ellipse') == 0
    assert count(one, 'ellipse') == 2 * 17
    assert count(plain, 'fillText') == 2
    bones = [c for c in plain if c[0] == 'stroke' and c[3] in colours]
    assert len(bones) == 2 * len(BONES)
    sizes = [np.array([c[6] for c in calls if c[0] == 'ellipse']) for calls in (one, two)]
    assert np.allclose(sizes[1], 2 * sizes[0])
    texts = [c[4] for c in plain if c[0] == 'fillText']
    assert texts[0].startswith('abcde') and texts[1].endswith('(predicted)')
    # the far ones first; those of a person that is only predicted are fainter
    alphas = sorted({round(c[1], 3) for c in bones})
    drawn_angles = {round(c[8], 6) for c in one if c[0] == 'ellipse'}
    assert round(out['outline']['angle'], 6) in drawn_angles
    assert alphas[0] < 0.6 < alphas[-1]
    arcs = [c[4:6] for c in plain if c[0] == 'arc']
    joints = np.concatenate([np.reshape(p['joints'], (17, 3)) / 1e3
                             for p in data['frames'][0]['people']])
    spots = project(joints, look)
    order = [int(np.argmin(np.abs(spots[:, :2] - a).sum(1))) for a in arcs]
    assert sorted(order) == list(range(34)) and (np.diff(spots[order, 2]) < 1e-6).all()


def test_names_of_joints_that_move_are_known():
    assert set(view.scene([])['moving']) <= set(INDEX.values())
