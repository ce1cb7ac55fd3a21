"""``lifting-ros eval stages``: the error after every stage, in the image and in space.

Photographs kept out of training (LSPet: mean distance of the twelve limb joints in px of the
crop, and PCK@0.2) and rendered people kept out (the same, and the root-relative joint error in
mm of the maps' lift at the person's true stature).
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from ..network import weights
from ..network.crops import normalise
from ..network.decode import decode
from ..network.model import NUM_JOINTS
from ..skeleton import INDEX, LIMBS
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
    parser.add_argument('--picture', help='write belief maps before and after fusion here (PNG)')
    parser.add_argument('--json', help='write the figures here too')


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
        dict of lists over the stages: px, pck, and mm where the people have a truth in 3D.
    """
    images, cameras, truth, joints, stature = crops_of(people, model.config.size)
    torso = np.linalg.norm(truth[:, INDEX['left_shoulder']] - truth[:, INDEX['right_hip']], axis=1)
    error, space = [], []
    for i in progress(range(0, len(people), batch)):
        part = slice(i, i + batch)
        maps = model(images[part], cameras[part])
        for t, logits in enumerate(maps.logits):
            belief = torch.sigmoid(logits[:, :NUM_JOINTS])
            xy = decode(belief)[0].numpy()
            pose = model.lift(belief, cameras[part])[0].numpy() * stature[part, None, None]
            wrong = (pose - pose[:, :1]) - (joints[part] - joints[part][:, :1])
            if i == 0:
                error.append([])
                space.append([])
            error[t].append(np.linalg.norm(xy - truth[part], axis=2))
            space[t].append(np.linalg.norm(wrong, axis=2).mean(1))
    result = {'px': [], 'pck': [], 'mm': []}
    for e, s in zip(error, space):
        e, s = np.concatenate(e)[:, LIMBS], np.concatenate(s)
        result['px'].append(float(np.nanmean(e)))
        known = np.isfinite(e) & np.isfinite(torso)[:, None]
        result['pck'].append(float((e < 0.2 * torso[:, None])[known].mean()))
        result['mm'].append(float(1e3 * np.nanmean(s)) if np.isfinite(s).any() else None)
    return result


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
                digits = {'px': 2, 'pck': 4, 'mm': 1}[measure_]
                cells = [f'{v:.{digits}f}' for v in values]
                rows.append('| ' + ' | '.join((name, people, measure_, *cells)) + ' |')
    return '\n'.join(rows)


@torch.inference_mode()
def picture(model, people, path, joint='left_wrist', count=4):
    """One joint's maps at the stage where fusion changed it most, for the people it helped most.

    Columns: crop with the truth, belief b_t, the lifted pose drawn p_t, fused f_t, last belief.
    """
    import cv2
    images, cameras, truth, *_ = crops_of(people, model.config.size)
    index, rows = INDEX[joint], []
    for i in range(0, len(people), 16):
        maps = model(images[i:i + 16], cameras[i:i + 16])
        beliefs = [torch.sigmoid(m[:, :NUM_JOINTS]) for m in maps.logits]
        first, last = (np.linalg.norm(decode(b)[0][:, index].numpy() - truth[i:i + 16, index],
                                      axis=1) for b in (beliefs[0], beliefs[-1]))
        for k in range(len(first)):
            if np.isfinite(first[k]) and last[k] < 8:
                tiles = [beliefs[0][k, index], maps.projected[0][k, index],
                         maps.fused[0][k, index], beliefs[-1][k, index]]
                rows.append((first[k] - last[k], i + k, [t.numpy() for t in tiles]))
    rows.sort(key=lambda r: -r[0])
    drawn = []
    for _, k, tiles in rows[:count]:
        crop = ((images[k].permute(1, 2, 0).numpy()[..., ::-1] + 1) * 127.5).astype(np.uint8)
        crop = np.ascontiguousarray(crop)
        marked = cv2.circle(crop.copy(), tuple(int(v) for v in truth[k, index]), 6, (0, 255, 0), 2)
        cells = [marked]
        for tile in tiles:
            heat = (255 * tile / max(tile.max(), 1e-6)).clip(0, 255).astype(np.uint8)
            heat = cv2.applyColorMap(cv2.resize(heat, crop.shape[1::-1]), cv2.COLORMAP_TURBO)
            cells.append(cv2.addWeighted(crop, 0.4, heat, 0.6, 0))
        drawn.append(np.hstack(cells))
    if drawn:
        cv2.imwrite(str(path), np.vstack(drawn))


def run(args):
    """Print the table; write the figures and the picture where asked."""
    from tqdm import tqdm
    sets = {'LSPet photos': photos.lspet(args.data, True, args.limit)}
    made = rendered(args.rendered, args.limit)
    if made:
        sets['rendered'] = made
    results = {}
    for path in args.weights or [None]:
        model, _ = weights.load(path)
        name = Path(path).stem if path else 'shipped'
        results[name] = {
            what: measure(model, people, progress=lambda it, n=name: tqdm(it, desc=n, leave=False))
            for what, people in sets.items()}
        if args.picture and model.config.lift:
            picture(model, sets.get('rendered', sets['LSPet photos']), args.picture)
    sys.stdout.write(', '.join(f'{len(v)} {k}' for k, v in sets.items())
                     + ' kept out of training\n\n' + table(results) + '\n')
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1) + '\n')
    return 0
