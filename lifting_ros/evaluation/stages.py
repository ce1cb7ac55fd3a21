"""``lifting-ros eval stages``: the error after every stage, in the image and in space.

Photographs kept out of training (athletes of LSPet, everyday people of COCO: mean distance of the
twelve limb joints in px of the crop, of all, of those seen and of those labelled though hidden;
PCK@0.2) and rendered people kept out (the same, and the root-relative joint error in mm of the
maps' lift at the person's true stature).
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from ..network import weights
from ..network.crops import normalise
from ..network.decode import decode
from ..network.predict import bowl, predict
from ..skeleton import INDEX, LIMBS, NUM_JOINTS
from ..training import photos
from ..training.augment import Augment, crop_truth, make_crop
from ..training.rendered import rendered

_STILL = Augment(scale=1e-9, shift=0, turn=0, any_turn=0, cut=0, occlude=0, colour=0, blur=0,
                 coarse=0, jpeg=0, noise=0, grey=0)


def add_arguments(parser):
    """Arguments of ``lifting-ros eval stages``."""
    parser.add_argument('--data', required=True, help='folder of the labelled photos')
    parser.add_argument('--rendered', help='folder of rendered people kept out of training')
    parser.add_argument('--weights', nargs='*', default=[], help='default: the shipped network')
    parser.add_argument('--limit', type=int, help='people of each set')
    parser.add_argument('--against', nargs='*', default=[], metavar='FILE',
                        help='as many as --weights: the same training with something else; prints '
                        'how the error of each person differs after the last stage')
    parser.add_argument('--product', type=float, nargs=3, metavar=('POWER', 'WIDTH', 'FLOOR'),
                        help='also read the last map of each network times the prediction of '
                        'the other joints, which needs no training')
    parser.add_argument('--chain', action='store_true', help='of rendered people also the error '
                        'in space of the lifter that the pipeline uses')
    parser.add_argument('--picture', help='write belief maps before and after fusion here')
    parser.add_argument('--joint', default='left_wrist', help='of the picture')
    parser.add_argument('--json', help='write the figures here too, and those of each person')


def crops_of(people, size):
    """Crops as at inference, never mirrored, with their truth.

    Returns:
        images (N, 3, S, S), camera (N, 3), keypoints (N, 17, 2) px of the crop (NaN unknown),
        joints (N, 17, 3) m (NaN unknown), stature (N,) m.
    """
    out = []
    for i, person in enumerate(people):
        seed = 0                                  # of a draw that does not mirror
        while True:
            crop = make_crop(np.random.default_rng((i, seed)), person, size, _STILL, [])
            if not crop.mirrored:
                break
            seed += 1
        camera, joints = crop_truth(person, crop)
        keypoints = np.where(crop.known[:NUM_JOINTS, None], crop.keypoints[:NUM_JOINTS], np.nan)
        out.append((crop.image, camera, keypoints, joints, person.stature))
    image, camera, keypoints, joints, stature = (np.stack(v) for v in zip(*out))
    return normalise(image), torch.from_numpy(camera).float(), keypoints, joints, stature


@torch.inference_mode()
def measure(model, people, batch=16, progress=iter):
    """Errors of one network after each stage.

    Returns:
        dict of lists over the stages: px, seen, hidden (px of such joints; None where there are
        none), pck, and mm where the people have a truth in 3D; and (people,) px and mm of each
        person after the last stage.
    """
    images, cameras, truth, joints, stature = crops_of(people, model.config.size)
    torso = np.linalg.norm(truth[:, INDEX['left_shoulder']] - truth[:, INDEX['right_hip']], axis=1)
    error, space = [], []
    solid = np.isfinite(joints).all((1, 2)) & np.isfinite(stature)
    for i in progress(range(0, len(people), batch)):
        part = slice(i, i + batch)
        maps = model(images[part], cameras[part])
        for t, logits in enumerate(maps.logits):
            belief = torch.sigmoid(logits[:, :NUM_JOINTS])
            xy = decode(belief)[0].numpy()
            pose = (model.lift(belief, cameras[part])[0].numpy() * stature[part, None, None]
                    if solid[part].any() else np.nan * joints[part])
            wrong = (pose - pose[:, :1]) - (joints[part] - joints[part][:, :1])
            if i == 0:
                error.append([])
                space.append([])
            error[t].append(np.linalg.norm(xy - truth[part], axis=2))
            space[t].append(np.linalg.norm(wrong, axis=2).mean(1))
    result = {'px': [], 'seen': [], 'hidden': [], 'pck': [], 'mm': []}
    visible = np.stack([p.visible for p in people])[:, LIMBS]
    for e, s in zip(error, space):
        e, s = np.concatenate(e)[:, LIMBS], np.concatenate(s)
        known = np.isfinite(e)
        for name, which in (('px', known), ('seen', known & (visible == 2)),
                            ('hidden', known & (visible == 1))):
            result[name].append(float(e[which].mean()) if which.any() else None)
        known &= np.isfinite(torso)[:, None]
        result['pck'].append(float((e < 0.2 * torso[:, None])[known].mean()))
        result['mm'].append(float(1e3 * np.nanmean(s)) if np.isfinite(s).any() else None)
    some = np.isfinite(e).any(1)
    each = {'px': np.where(some, np.nansum(e, 1) / np.maximum(np.isfinite(e).sum(1), 1), np.nan),
            'mm': 1e3 * s}
    return result, each


def difference(ours, theirs):
    """Mean of the difference of people's errors and its standard error, as text."""
    off = np.asarray(ours) - np.asarray(theirs)
    off = off[np.isfinite(off)]
    return f'{off.mean():+.2f} ± {off.std(ddof=1) / np.sqrt(len(off)):.2f}'


def read_product(model, power, wide, floor):
    """Read the last maps of a network from their product with what the pose predicts.

    Args:
        model: BeliefNet, changed in place; power, wide, floor: as of ``Config.fuse`` 'product'.
    """
    heads = model.heads

    def both(f4, wide8, wide16, rays=None):
        maps = heads(f4, wide8, wide16, rays)
        joint, rest = maps.logits[-1].split((NUM_JOINTS, 1), 1)
        _, place, spread, _ = predict(model.lift, torch.sigmoid(joint), rays)
        drawn = torch.exp(-bowl(place, wide * spread, *joint.shape[2:]))
        last = torch.cat((joint + power * torch.log(drawn + floor), rest), 1)
        return maps._replace(logits=[*maps.logits[:-1], last])
    model.heads = both
    return model


def chain(model, folder, limit=None):
    """Errors in space of what the pipeline makes of rendered people, their boxes being given.

    Args:
        model: BeliefNet; folder: of rendered people; limit: people.

    Returns:
        (N,) mm root-relative, gravity known; the same with the true stature given.
    """
    from ..lifting import Lifter
    from ..network.estimator import Estimator
    from .chain import boxes_given, lift_all, pictures
    shots = pictures(folder, limit)
    lifter = Lifter.from_pretrained()
    with torch.no_grad():
        found = boxes_given(Estimator(model, backend='torch'), shots)
    truth = np.stack([p.joints for p in shots])
    out = []
    for stature in (False, True):
        joints = lift_all(lifter, shots, found, stature=stature).joints
        wrong = (joints - joints[:, :1]) - (truth - truth[:, :1])
        out.append(1e3 * np.linalg.norm(wrong, axis=2).mean(1))
    return out


def table(results):
    """The figures as a Markdown table, a row per network, set and measure."""
    stages = max(len(v) for sets in results.values() for r in sets.values() for v in r.values())
    head = ('network', 'people', 'measure', *(f'stage {t + 1}' for t in range(stages)))
    rows = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    for name, sets in results.items():
        for people, figures in sets.items():
            for measure_, values in figures.items():
                if values[0] is None:
                    continue
                digits = {'pck': 4, 'mm': 1}.get(measure_, 2)
                cells = [f'{v:.{digits}f}' for v in values] + [''] * (stages - len(values))
                rows.append('| ' + ' | '.join((name, people, measure_, *cells)) + ' |')
    return '\n'.join(rows)


@torch.inference_mode()
def picture(model, people, path, joint='left_wrist', count=4):
    """One joint's maps where fusion after stage 1 helped most, and where it hurt most.

    Columns: crop with the truth, belief b_1, what the lifted pose says p_1, fused f_1, what is
    read after the last stage. Rows: the ``count`` - 1 people whose joint fusion brought furthest
    to within 12 px of its truth, and the one whose joint it took away furthest.
    """
    import cv2
    images, cameras, truth, *_ = crops_of(people, model.config.size)
    index, rows = INDEX[joint], []
    for i in range(0, len(people), 16):
        x = images[i:i + 16]
        maps = model(x, cameras[i:i + 16])
        before = torch.sigmoid(model.first(model.features(x)[0])[0])
        last = torch.sigmoid(maps.logits[-1][:, :NUM_JOINTS])
        shown = torch.stack([m[:, index] for m in (before, maps.projected[0], maps.fused[0],
                                                   last)], 1).numpy()
        error = [np.linalg.norm(decode(m)[0][:, index].numpy() - truth[i:i + 16, index], axis=1)
                 for m in (before, maps.fused[0])]
        rows += [(b - f, f, i + k, shown[k]) for k, (b, f) in enumerate(zip(*error))
                 if np.isfinite(b - f)]
    rows.sort(key=lambda r: -r[0])
    drawn = []
    for *_, k, tiles in [r for r in rows if r[1] < 12][:count - 1] + rows[-1:]:
        crop = ((images[k].permute(1, 2, 0).numpy()[..., ::-1] + 1) * 127.5).astype(np.uint8)
        crop = np.ascontiguousarray(crop)
        at = tuple(int(round(v)) for v in truth[k, index])
        cells = [cv2.circle(crop.copy(), at, 6, (0, 255, 0), 2)]
        for tile in tiles:
            heat = (255 * tile / max(tile.max(), 1e-6)).clip(0, 255).astype(np.uint8)
            heat = cv2.applyColorMap(cv2.resize(heat, crop.shape[1::-1]), cv2.COLORMAP_TURBO)
            cell = cv2.addWeighted(crop, 0.4, heat, 0.6, 0)
            cells.append(cv2.circle(cell, at, 6, (255, 255, 255), 1))
        drawn.append(np.hstack(cells))
    if not drawn or not cv2.imwrite(str(path), np.vstack(drawn)):
        raise ValueError(f'{path} cannot be written')


def names_of(paths):
    """A name for each file: its stem, or, where two files would share it, its whole path."""
    stems = [Path(path).stem for path in paths]
    return stems if len(set(stems)) == len(set(map(str, paths))) else [str(p) for p in paths]


def run(args):
    """Print the table; write the figures and the picture where asked."""
    from tqdm import tqdm
    if args.against and len(args.against) != len(args.weights):
        raise ValueError('--against wants as many files as --weights')
    sets = {'athletes': photos.lspet(args.data, True, args.limit),
            'everyday': [p for p in photos.coco(args.data, True)
                         if photos.measured(p)][:args.limit]}
    made = rendered(args.rendered, args.limit)
    if made:
        sets['rendered'] = made
    results, each = {}, {}
    paths = [*args.weights, *args.against]
    names = dict(zip(paths, names_of(paths)))
    pairs = [(names[a], names[b]) for a, b in zip(args.weights, args.against)]
    todo = [(names.get(path, 'shipped'), path, False) for path in paths or [None]]
    if args.product:
        pairs += [(f'{name}, product', name) for name, *_ in todo]
        todo += [(f'{name}, product', path, True) for name, path, _ in todo]
    for name, path, product in todo:
        model, _ = weights.load(path)
        if product:
            read_product(model, *args.product)
        results[name], each[name] = {}, {}
        for what, people in sets.items():
            results[name][what], each[name][what] = measure(
                model, people, progress=lambda it, n=name: tqdm(it, desc=n, leave=False))
        if made and args.chain:
            for what, mm in zip(('chain', 'chain, stature given'),
                                chain(model, args.rendered, args.limit)):
                results[name][what] = {'mm': [float(np.nanmean(mm))]}
                each[name][what] = {'mm': mm}
        if args.picture and model.config.lift and path not in args.against and not product:
            picture(model, made or sets['athletes'], args.picture, args.joint)
    sys.stdout.write(', '.join(f'{len(v)} {k}' for k, v in sets.items())
                     + ' kept out of training\n\n' + table(results) + '\n')
    for ours, theirs in pairs:
        for what, mine in each[ours].items():
            for unit, values in mine.items():
                if np.isfinite(values).any():
                    sys.stdout.write(f'{ours} - {theirs}, {what}: '
                                     f'{difference(values, each[theirs][what][unit])} {unit}\n')
    if args.json:
        people = {name: {what: {unit: np.round(v, 3).tolist() for unit, v in mine.items()}
                         for what, mine in whole.items()} for name, whole in each.items()}
        Path(args.json).write_text(json.dumps({'mean': results, 'people': people}) + '\n')
    return 0
