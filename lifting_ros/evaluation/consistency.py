"""How honest covariances are over time: of made-up and of rendered clips, raw and filtered."""

import numpy as np

from . import measures


def nees(off, covariance):
    """Mean normalised estimation error squared: 3 where the covariance is right."""
    return float(measures.mahalanobis(0 * off, off, covariance).mean())


def by_ray(truth, joints, covariance):
    """NEES along the viewing ray (1 where the covariance is right) and across it (2)."""
    ray = truth / np.linalg.norm(truth, axis=-1, keepdims=True)
    side = np.cross(ray, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    plane = np.stack((side, np.cross(ray, side)), -2)                       # (..., 2, 3)
    off = joints - truth
    along = (off * ray).sum(-1) ** 2 / (ray[..., None, :] @ covariance @ ray[..., None])[..., 0, 0]
    flat = (plane @ off[..., None])[..., 0]
    inverse = np.linalg.inv(plane @ covariance @ np.swapaxes(plane, -1, -2))
    return float(along.mean()), float(np.einsum('...i,...ij,...j', flat, inverse, flat).mean())


def clips_nees(mocap, lifter, rng, longest=4.0, bodies=False, others=0, adults=False):
    """NEES of joints and velocities on every held-out clip (or on so many ``others``), with the
    errors the network makes: raw, filtered, of velocities, raw along the ray and across it.

    Args:
        bodies: give each clip another body, as those of other capture systems and annotators.
        adults: and a stature drawn from those of adults, which a few subjects' don't stand for.
    """
    from ..training.mocap import adult_statures, stature
    from .filter import play
    from .sequences import Clip, clips, lift, other_body, shoot
    rows = []
    chosen = clips(mocap, held_out=not others)
    if others:
        chosen = [chosen[i] for i in rng.permutation(len(chosen))[:others]]
    for clip in chosen:
        short = Clip(clip.name, clip.kind, clip.joints[:int(longest * clip.rate)], clip.rate)
        if bodies:
            short = other_body(short, rng)
        if adults:
            to = adult_statures(1, rng) / np.median(stature(short.joints))
            short = Clip(clip.name, clip.kind, short.joints * to, clip.rate)
        shot = shoot(short, rng)
        joints, covariance = lift(lifter, shot)
        if np.isfinite(joints).all():
            out = play(joints, covariance, shot.rate)
            speed = np.gradient(shot.joints, 1 / shot.rate, axis=0)
            rows.append((nees(joints - shot.joints, covariance),
                         nees(out['position'] - shot.joints, out['covariance']),
                         nees((out['velocity'] - speed)[5:], out['velocity_covariance'][5:]),
                         *by_ray(shot.joints, joints, covariance)))
    return np.array(rows)


def pictures_nees(folder, pipeline):
    """NEES of single rendered pictures (``lifting-ros render crops --held-out``), the person's
    box given: all of 3, along the ray of 1, across it of 2.
    """
    from .chain import boxes_given, lift_all, pictures
    shots = pictures(folder)
    found = lift_all(pipeline.lifter, shots, boxes_given(pipeline.estimator, shots))
    truth = np.array([p.joints for p in shots])
    return (nees(found.joints - truth, found.covariance),
            *by_ray(truth, found.joints, found.covariance))


def views_nees(folder, pipeline, progress=iter):
    """NEES of people in motion before several cameras (``lifting-ros render views --held-out
    --seconds``), each camera's images through a whole pipeline of its own.

    Returns:
        dict: clips (people times cameras), images, found of them, raw (of what is lifted from
        each image), filtered (as published), and the percent of joints within the filtered 50, 90
        and 95 % ellipsoids.
    """
    from ..pipeline import Pipeline
    from .rendered_rigs import Views, look
    views = Views(folder)
    raw, filtered, clips = [], [], 0
    for scene in progress(sorted({m.scene for m in views.moments})):
        moments = [m for m in views.moments if m.scene == scene]
        for c in range(len(views.azimuths)):
            own, lifted = Pipeline(pipeline.estimator, pipeline.lifter), []
            update = own.tracker.update
            own.tracker.update = lambda seen, stamp, update=update, lifted=lifted: (
                lifted.append(seen) or update(seen, stamp))
            clips += 1
            for m in moments:
                people, best = look(own, views, m, c, m.stamp)
                if best is None:
                    continue
                person, mount = people[best], m.mounts[c]
                filtered.append(measures.mahalanobis(person.joints, m.joints, person.covariance))
                truth = (m.joints - mount.origin) @ mount.rotation.T
                seen = lifted[-1]
                off = np.nanmedian(np.linalg.norm(
                    seen.keypoints - mount.camera.project(truth), axis=-1), axis=-1)
                if off.size and np.isfinite(seen.joints[off.argmin()]).all():
                    k = off.argmin()
                    raw.append(measures.mahalanobis(seen.joints[k], truth, seen.covariance[k]))
    raw, filtered = np.array(raw), np.array(filtered)
    return {'clips': clips, 'images': len(views.moments) * len(views.azimuths),
            'found': len(filtered), 'raw': float(raw.mean()), 'filtered': float(filtered.mean()),
            **{f'within_{round(100 * q)}': 100 * measures.coverage(filtered, q)
               for q in (0.5, 0.9, 0.95)}}
