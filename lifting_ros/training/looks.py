"""Looks at a network while it trains: figures of people kept out, and pictures of its maps."""

import copy

import cv2
import numpy as np
import torch

from . import photos


@torch.inference_mode()
def glance(model, data, limit=120):
    """PCK and OKS of a few people that are kept out of training.

    Returns:
        dict with pck and oks.
    """
    from ..evaluation.measures2d import box_area, oks, oks_table, pck_table
    from ..network.estimator import Estimator
    device = next(model.parameters()).device.type
    # on a GPU single precision: what is still being learned has nothing to be checked against
    estimator = Estimator(copy.deepcopy(model), device, 'auto' if device == 'cpu' else 'torch')
    result = {}
    athletes = photos.lspet(data, True, limit)
    people = [p for p in photos.coco(data, True) if photos.measured(p)][:limit]
    for name, some in (('pck', athletes), ('oks', people)):
        found = np.concatenate([estimator.keypoints(p.image, p.box[None]).xy for p in some])
        truth = np.stack([p.keypoints for p in some])
        labelled = np.stack([p.visible for p in some]) > 0
        if name == 'pck':
            result[name] = pck_table(found, truth, labelled)['pck']
        else:
            area = box_area(np.stack([p.box for p in some]))
            result[name] = oks_table(oks(found, truth, labelled, area))['oks']
    return result


@torch.inference_mode()
def picture(model, batch, path, count=6):
    """A picture of belief maps: crop, then per stage the maps, and what was drawn between."""
    model.eval()
    like = next(model.parameters())
    maps = model(batch['image'][:count].to(like.device))
    rows = []
    for i in range(min(count, len(batch['image']))):
        crop = ((batch['image'][i].permute(1, 2, 0).numpy()[..., ::-1] + 1) * 127.5)
        crop = np.ascontiguousarray(crop).astype(np.uint8)
        layers = [torch.sigmoid(m[i, :17]).amax(0).cpu().numpy() for m in maps.logits]
        layers += [m[i].amax(0).cpu().numpy() for m in maps.projected]
        tiles = [crop]
        for layer in layers:
            heat = cv2.resize((255 * layer.clip(0, 1)).astype(np.uint8), crop.shape[1::-1])
            tiles.append(cv2.addWeighted(crop, 0.4, cv2.applyColorMap(heat, cv2.COLORMAP_TURBO),
                                         0.6, 0))
        rows.append(np.hstack(tiles))
    shown = np.vstack(rows)
    cv2.imwrite(str(path), shown)
    return shown
