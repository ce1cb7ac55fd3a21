"""``lifting-ros eval fusion --rendered``: from the pictures of several cameras to fused joints.

    lifting-ros render views --held-out --out runs/views --count 80 --seed 31
    lifting-ros eval fusion --rendered runs/views

Everything that a robot has is in it: people are found, keypoints are the network's, each camera's
lift is by itself, and the fusion has to see who is who. Poses are of subjects in no fit.
"""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from ..camera import Camera
from ..fusion import Agreement, Fuser, View
from .fusion import RIGS, row, shifts
from .rigs import Mount

#: px, a person whose median joint is farther off is another.
_FAR = 40.0


@dataclass(frozen=True, eq=False)
class Moment:
    """What C cameras see at one time: names of the pictures, C :class:`~.rigs.Mount`, joints
    (17, 3) m in the world, in which pictures they are visible (C, 17), and the joints of who is
    beside, NaN where there is nobody.
    """

    scene: int
    stamp: float
    names: list
    mounts: list
    joints: np.ndarray
    visible: np.ndarray
    beside: np.ndarray


class Views:
    """A folder of ``lifting-ros render views``.

    Raises:
        ValueError: it is none.
    """

    def __init__(self, folder):
        folder = Path(folder)
        if not (folder / 'views.npz').is_file() or not (folder / 'views.zip').is_file():
            raise ValueError(f'{folder} holds no views.npz and views.zip: lifting-ros render '
                             f'views --held-out --out {folder}')
        self._file = zipfile.ZipFile(folder / 'views.zip')
        with np.load(folder / 'views.npz', allow_pickle=False) as data:
            d = {k: data[k] for k in data}
        self.azimuths = [int(a) for a in d['azimuth']]
        width, height = (int(v) for v in d['size'])
        self.moments = [Moment(
            int(d['scene'][i]), float(d['stamp'][i]), [str(n) for n in d['name'][i]],
            [Mount(Camera(k, width, height), p, r) for k, p, r in zip(
                d['K'][i], d['position'][i], d['rotation'][i], strict=True)],
            d['joints'][i].astype(float), d['visible'][i], d['beside'][i])
            for i in range(len(d['scene']))]

    def image(self, name):
        """(H, W, 3) uint8 BGR."""
        return cv2.imdecode(np.frombuffer(self._file.read(name), np.uint8), cv2.IMREAD_COLOR)


def in_world(person, mounted):
    """A Person of one camera in the world's axes."""
    r = mounted.rotation
    still = not np.isfinite(person.velocity).all()
    return replace(
        person, joints=person.joints @ r + mounted.origin,
        covariance=r.T @ person.covariance @ r,
        velocity=np.zeros((17, 3)) if still else person.velocity @ r,
        velocity_covariance=(np.tile(np.eye(3), (17, 1, 1)) if still
                             else r.T @ person.velocity_covariance @ r))


def look(pipeline, views, moment, camera, stamp=None):
    """People in the world that the pipeline finds in a camera's picture, and which of them is
    the one whose truth is known (None: not found).
    """
    mounted = moment.mounts[camera]
    people = pipeline(views.image(moment.names[camera]), mounted.camera, stamp,
                      up=mounted.rotation[:, 2])
    people = [p for p in people if np.isfinite(p.joints).all()]
    seen = moment.visible[camera]
    far = np.full((2, len(people)), np.inf)
    for k, true in enumerate((moment.joints, moment.beside)):
        true = mounted.camera.project((true - mounted.origin) @ mounted.rotation.T)
        for n, p in enumerate(people):
            off = np.linalg.norm(p.keypoints - true, axis=-1)[seen]
            off = off[np.isfinite(off)]
            far[k, n] = np.median(off) if len(off) else np.inf
    best = int(far[0].argmin()) if far.size and np.isfinite(far[0]).any() else None
    if best is not None and (far[0, best] > _FAR or far[1, best] < far[0, best]):
        best = None
    return [in_world(p, mounted) for p in people], best


def stills(pipeline, views, progress=iter):
    """Rows of all rigs: the best single camera's, the fusion's and their ratio.

    Only people whom every camera of the rig finds count for the ratio; *all_find* says how many
    those are.
    """
    found = [[look(pipeline, views, m, c) for c in range(len(views.azimuths))]
             for m in progress(views.moments)]
    table = {}
    for name, azimuths in RIGS.items():
        which = [views.azimuths.index(a) for a in azimuths]
        single, both, truth, one = [], [], [], []
        for moment, sights in zip(views.moments, found, strict=True):
            main = [sights[c][0][sights[c][1]] if sights[c][1] is not None else None
                    for c in which]
            if any(m is None for m in main):
                continue
            fuser = Fuser()
            people = fuser.update([View(str(c), 0.0, sights[c][0], moment.mounts[c].origin)
                                   for c in which], 0.0)
            # by the first camera's: a person torn apart counts with the part that has it
            person, members = next(
                (next(p for p in people if p.id == i), [s.people[k] for s, k in members])
                for i, members in fuser.groups
                if any(s.people[k] is main[0] for s, k in members))
            one.append(all(any(q is m for q in members) for m in main))
            single.append([(m.joints, m.covariance) for m in main])
            both.append((person.joints, person.covariance))
            truth.append(moment.joints)
        truth = np.array(truth)
        each = [row(np.array([s[c][0] for s in single]), truth,
                    np.array([s[c][1] for s in single])) for c in range(len(which))]
        best = min(each, key=lambda r: r['joints_mm'])
        fused = row(np.array([b[0] for b in both]), truth, np.array([b[1] for b in both]))
        table[f'{name}: best single'] = {'all_find': len(truth)} | best
        table[f'{name}: fused'] = {'all_find': len(truth)} | fused | {
            'ratio': round(fused['joints_mm'] / best['joints_mm'], 3),
            'mpjpe_ratio': round(fused['mpjpe_mm'] / best['mpjpe_mm'], 3),
            'taken_for_one': round(100 * float(np.mean(one)), 1)}
    return table


def films(make, views, progress=iter):
    """Rows of wrong extrinsics: the last camera of two and of three is 5 cm from where it is
    thought to be.

    Args:
        make: makes a Pipeline, one for each camera and clip.
    """
    runs = {}
    scenes = sorted({m.scene for m in views.moments})
    for scene in progress(scenes):
        moments = [m for m in views.moments if m.scene == scene]
        cameras = range(len(views.azimuths))
        pipelines = [make() for _ in cameras]
        told = [[look(pipelines[c], views, m, c, m.stamp)[0] for c in cameras] for m in moments]
        for count in (2, 3):
            which = list(cameras)[:count]
            for what, shift in shifts([moments[0].mounts[c] for c in which]).items():
                runs.setdefault(f'{count} cameras, the last 5 cm off: {what}', []).append(
                    _reported(moments, told, which, shift))
    table = {}
    for name, results in runs.items():
        found = [r for r in results if r]
        table[name] = {'runs': len(results), 'reported': len(found),
                       'after_s': round(float(np.median([r[0] for r in found])), 1)
                       if found else None, 'latest_s': max((r[0] for r in found), default=None),
                       'right_camera': sum(r[1] for r in found)}
    return table


def _reported(moments, told, which, shift):
    """Seconds to the report, and whether it names the last camera; None where there is none."""
    fuser, agreement, last = Fuser(), Agreement(), which[-1]
    for moment, people in zip(moments, told, strict=True):
        views = []
        for c in which:
            off = shift if c == last else np.zeros(3)
            views.append(View(str(c), moment.stamp, [replace(p, joints=p.joints + off)
                                                     for p in people[c]],
                              moment.mounts[c].origin + off))
        fuser.update(views, moment.stamp)
        agreement.update(fuser.groups, moment.stamp)
        bad = [v for v in agreement.verdicts() if not v.agree]
        if bad:
            return round(moment.stamp, 1), bad[0].camera == str(last)
    return None


def evaluate(folder, progress=iter):
    """The rows that the folder's pictures allow."""
    from ..pipeline import Pipeline
    views = Views(folder)
    pipeline = Pipeline.from_pretrained()
    if len(views.moments) > len({m.scene for m in views.moments}):
        def make():
            return Pipeline(pipeline.estimator, pipeline.lifter)
        return films(make, views, progress)
    return stills(pipeline, views, progress)
