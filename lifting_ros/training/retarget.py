"""Motion capture onto a body: directions of the captured bones become rotations of its bones.

The capture's skeletons differ from the body's, so only directions are taken over; joint angles
follow from them, with the twist about a limb taken from its hinge (elbow, knee) where it is bent
and from its parent where it is straight. World frame: metres, z up.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation


def unit(v):
    """v / |v| over the last axis."""
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def frames(x, z, first='z'):
    """Right-handed frames whose columns are x (left), y (back) and z (up).

    Args:
        x, z: (..., 3) directions; the one named ``first`` is kept, the other made square to it.
    """
    x, z = unit(x), unit(z)
    y = unit(np.cross(z, x))
    if first == 'z':
        x = np.cross(y, z)
    else:
        z = np.cross(x, y)
    return np.stack((x, y, z), -1)


def least_rotation(a, b):
    """(3, 3) smallest rotation that takes direction a to b."""
    a, b = unit(a), unit(b)
    axis, c = np.cross(a, b), float(a @ b)
    if c < -0.9999:
        other = np.eye(3)[np.abs(a).argmin()]
        return Rotation.from_rotvec(np.pi * unit(np.cross(a, other))).as_matrix()
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + k + k @ k / (1 + c)


def part(rotation, share):
    """The rotation a share of the way from none."""
    return Rotation.from_rotvec(share * Rotation.from_matrix(rotation).as_rotvec()).as_matrix()


def _mix(a, b, share):
    return a @ part(a.T @ b, share)


def _limb(rest, rest_hinge, now, hinge):
    """Rotation that takes a limb's direction and hinge axis at rest to those of now."""
    return frames(hinge, now) @ frames(rest_hinge, rest).T


@dataclass(frozen=True)
class Style:
    """What the capture does not say; radians.

    Args:
        head: (3,) rotation vector of the head against where the trunk faces (z is yaw).
        pronation: (2,) turn of left and right forearm about its length.
        curl: (2,) how far the fingers are bent.
        wrist: (2,) how far the wrists are bent.
    """

    head: tuple = (0.0, 0.0, 0.0)
    pronation: tuple = (0.0, 0.0)
    curl: tuple = (0.4, 0.4)
    wrist: tuple = (0.0, 0.0)

    @classmethod
    def sample(cls, rng):
        """A random style."""
        yaw = np.clip(rng.normal(0, 0.35), -1.0, 1.0)
        return cls((rng.normal(0, 0.15), rng.normal(0, 0.08), yaw), tuple(rng.normal(0, 0.45, 2)),
                   tuple(rng.uniform(0.05, 1.2, 2)), tuple(rng.normal(0, 0.25, 2)))


def rotations(body, capture, style):
    """Rotations of a body's bones that follow a captured pose.

    Args:
        body: Body.
        capture: Capture.
        style: Style.

    Returns:
        (B, 3, 3), from the rest frame to the world.
    """
    rig, p, rest = body.rig, capture.points, body.heads
    out = np.tile(np.eye(3), (len(rig.bones), 1, 1))

    def at(name):
        return rest[rig.bone(name)]

    def put(r, *starts):
        for i, name in enumerate(rig.bones):
            if name.startswith(starts):
                out[i] = r

    hips = p['left_hip'] - p['right_hip']
    shoulders = p['left_shoulder'] - p['right_shoulder']
    up_low = unit(p['root'] - p['pelvis']) + unit(p['spine'] - p['pelvis'])
    pelvis = frames(hips, up_low, 'x')
    chest = frames(shoulders + 0.3 * hips, p['neck'] - p['spine']) @ frames(
        np.array([1.0, 0, 0]), at('neck01') - at('spine04')).T
    put(pelvis, 'root', 'pelvis')
    for name, share in (('spine05', 0.15), ('spine04', 0.4), ('spine03', 0.65),
                        ('spine02', 0.9), ('spine01', 1.0)):
        put(_mix(pelvis, chest, share), name)

    head = frames(shoulders, unit(p['head_top'] - p['head_base'])
                  + 0.5 * unit(p['head_top'] - p['neck']))
    head = head @ Rotation.from_euler('zxy', [style.head[2], style.head[0],
                                              style.head[1]]).as_matrix()
    for name, share in (('neck01', 0.3), ('neck02', 0.5), ('neck03', 0.75), ('head', 1.0),
                        ('eye', 1.0)):
        put(_mix(chest, head, share), name)

    for k, (side, s) in enumerate((('left', 'L'), ('right', 'R'))):
        usual = capture.clavicle[side]
        lifted = least_rotation(chest @ usual, p[f'{side}_shoulder'] - p['neck'])
        clavicle = part(lifted, 0.8) @ chest
        put(clavicle, f'clavicle.{s}', f'shoulder01.{s}')
        _arm(out, rig, at, p, side, s, clavicle, style, k)
        _leg(out, rig, at, p, side, s, pelvis)
    return out


def _hinged(measured, bend, fallback, along):
    """The axis of a hinge: the measured one as far as the limb is bent, else the fallback."""
    sure = np.clip((bend - 0.15) / 0.4, 0, 1)
    axis = sure * unit(measured) + (1.2 - sure) * unit(fallback)
    axis = axis - unit(along) * (axis @ unit(along))
    return unit(axis) if np.linalg.norm(axis) > 1e-3 else unit(np.cross(along, [0.3, 0.5, 0.8]))


def _angle(a, b):
    return float(np.arccos(np.clip(unit(a) @ unit(b), -1, 1)))


def _arm(out, rig, at, p, side, s, clavicle, style, k):
    upper0 = at(f'lowerarm01.{s}') - at(f'upperarm01.{s}')
    fore0 = at(f'wrist.{s}') - at(f'lowerarm01.{s}')
    hinge0 = unit(np.cross(upper0, fore0))
    upper = p[f'{side}_elbow'] - p[f'{side}_shoulder']
    fore = p[f'{side}_wrist'] - p[f'{side}_elbow']
    straight = least_rotation(clavicle @ upper0, upper) @ clavicle
    hinge = _hinged(np.cross(upper, fore), _angle(upper, fore), straight @ hinge0, upper)
    r_upper = _limb(upper0, hinge0, upper, hinge)
    r_fore = _limb(fore0, hinge0, fore, hinge - unit(fore) * (hinge @ unit(fore)))
    for name, r in ((f'upperarm01.{s}', _mix(straight, r_upper, 0.6)),
                    (f'upperarm02.{s}', r_upper), (f'lowerarm01.{s}', r_fore)):
        # both halves of a limb keep its direction; only the twist is shared out
        out[rig.bone(name)] = r
    sign = 1.0 if side == 'left' else -1.0
    turn = sign * style.pronation[k] * unit(fore)
    out[rig.bone(f'lowerarm02.{s}')] = Rotation.from_rotvec(0.5 * turn).as_matrix() @ r_fore
    hand = Rotation.from_rotvec(turn).as_matrix() @ r_fore
    across0 = unit(at(f'finger5-1.{s}') - at(f'finger2-1.{s}'))
    palm = sign * unit(hand @ across0)
    hand = Rotation.from_rotvec(style.wrist[k] * palm).as_matrix() @ hand
    for i, name in enumerate(rig.bones):
        if name.endswith(f'.{s}') and name.startswith(('wrist', 'metacarpal')):
            out[i] = hand
        elif name.endswith(f'.{s}') and name.startswith('finger'):
            finger, knuckle = int(name[6]), int(name[8])
            bend = style.curl[k] * (0.35 if finger == 1 else 1.0) * knuckle * 0.6
            out[i] = Rotation.from_rotvec(bend * palm).as_matrix() @ hand


def _leg(out, rig, at, p, side, s, pelvis):
    thigh0 = at(f'lowerleg01.{s}') - at(f'upperleg01.{s}')
    shin0 = at(f'foot.{s}') - at(f'lowerleg01.{s}')
    toes = [f'toe{i}-1.{s}' for i in range(1, 6)]
    foot0 = np.mean([at(t) for t in toes], 0) - at(f'foot.{s}')
    left = np.array([1.0, 0, 0])
    thigh = p[f'{side}_knee'] - p[f'{side}_hip']
    shin = p[f'{side}_ankle'] - p[f'{side}_knee']
    foot = p[f'{side}_foot'] - p[f'{side}_ankle']
    straight = least_rotation(pelvis @ thigh0, thigh) @ pelvis
    # thigh x shin points to the left where a knee is bent the way knees bend
    by_foot = np.cross(-shin, foot)
    fallback = straight @ left + 0.7 * unit(by_foot)
    hinge = _hinged(np.cross(thigh, shin), _angle(thigh, shin), fallback, thigh)
    if hinge @ (straight @ left) < 0 and _angle(thigh, shin) < 0.5:
        hinge = unit(straight @ left)
    r_thigh = _limb(thigh0, left, thigh, hinge)
    r_shin = _limb(shin0, left, shin, hinge)
    out[rig.bone(f'upperleg01.{s}')] = _mix(straight, r_thigh, 0.7)
    out[rig.bone(f'upperleg02.{s}')] = r_thigh
    out[rig.bone(f'lowerleg01.{s}')] = out[rig.bone(f'lowerleg02.{s}')] = r_shin
    sideways = hinge + 0.5 * unit(by_foot) if hinge @ by_foot > 0 else hinge
    r_foot = _limb(foot0, left, foot, sideways)
    for i, name in enumerate(rig.bones):
        if name.endswith(f'.{s}') and name.startswith(('foot', 'toe')):
            out[i] = r_foot


def place(body, rotation, capture):
    """The posed body where the capture has it, standing on the floor z = 0 as high as captured.

    The lowest point of the body is as far over the floor as the lowest captured point (scaled
    by the legs), so that jumps stay jumps and feet do not sink.

    Returns:
        vertices (V, 3), heads (B, 3) m, z up.
    """
    p = capture.points
    cap_leg = np.linalg.norm(p['left_hip'] - p['left_knee']) + np.linalg.norm(
        p['left_knee'] - p['left_ankle'])
    rig = body.rig
    leg = np.linalg.norm(body.heads[rig.bone('upperleg01.L')] - body.heads[
        rig.bone('lowerleg01.L')]) + np.linalg.norm(
            body.heads[rig.bone('lowerleg01.L')] - body.heads[rig.bone('foot.L')])
    scale = leg / max(cap_leg, 0.3)
    vertices, heads = body.pose(rotation, p['pelvis'] * scale)
    low = min(q[2] for q in p.values()) * scale
    clear = max(low - 0.06, 0.0) if capture.kind != 'sit' else 0.0
    down = np.array([0, 0, clear - vertices[:, 2].min()])
    return vertices + down.astype(np.float32), heads + down
