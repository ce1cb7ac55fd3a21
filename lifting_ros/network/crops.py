"""Square crops of people, ready for the network."""

from functools import lru_cache

import cv2
import numpy as np
import torch

from ..camera import crop_transform


def check_image(image):
    """An image as the network takes it.

    Raises:
        ValueError: not (H, W, 3) uint8, or without pixels.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'image must be (H, W, 3) uint8 BGR, got {image.shape} {image.dtype}')
    if image.size == 0:
        raise ValueError(f'image must be (H, W, 3) uint8 BGR and not empty, got {image.shape}')
    return image


def cut(image, boxes, size, margin):
    """Crops on the CPU; black where the image ends.

    Args:
        image: (H, W, 3) uint8.
        boxes: (N, 4) x0 y0 x1 y1 px.
        size: side, px.
        margin: side of the crop over the box's longer side.

    Returns:
        crops (N, size, size, 3) uint8 in the image's channel order, scale (N,), offset (N, 2)
        as of :func:`lifting_ros.camera.crop_transform`.
    """
    scale, offset = crop_transform(boxes, size, margin)
    crops = np.zeros((len(scale), size, size, 3), np.uint8)
    for crop, s, o in zip(crops, scale, offset):
        matrix = np.array([[s, 0, o[0]], [0, s, o[1]]])
        cv2.warpAffine(image, matrix, (size, size), dst=crop, flags=cv2.INTER_LINEAR,
                       borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return crops, scale, offset


def cut_on_device(image, boxes, size, margin):
    """The same on the image's own device.

    Args:
        image: (H, W, 3) uint8 tensor.

    Returns:
        crops (N, 3, size, size) float32 in 0..255 in the image's channel order, scale, offset as
        numpy.
    """
    scale, offset = crop_transform(boxes, size, margin)
    n, (h, w) = len(scale), image.shape[:2]
    # grid_sample wants places of the image with its edges at -1 and 1
    theta = np.zeros((n, 3, 2), np.float32)
    for axis, side in ((0, w), (1, h)):
        theta[:, axis, axis] = 2 / side / scale
        middle = ((size - 1) / 2 - offset[:, axis]) / scale
        theta[:, 2, axis] = (2 * middle + 1) / side - 1
    places = _places(size, image.device).expand(n, -1, -1)
    grid = torch.bmm(places, torch.from_numpy(theta).to(image.device, non_blocking=True))
    whole = image.permute(2, 0, 1)[None].float().expand(n, -1, -1, -1)
    crops = torch.nn.functional.grid_sample(whole, grid.view(n, size, size, 2),
                                            padding_mode='zeros', align_corners=False)
    return crops, scale, offset


@lru_cache(maxsize=8)
def _places(size, device):
    """(1, size^2, 3) on a device: x and y of a crop's pixels from its middle, and one."""
    at = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    y, x = torch.meshgrid(at, at, indexing='ij')
    return torch.stack((x, y, torch.ones_like(x)), 2).view(1, -1, 3).to(device)


def as_input(pixels):
    """(N, 3, H, W) BGR 0..255, on any device -> RGB / 127.5 - 1."""
    return pixels.flip(1) / 127.5 - 1


def normalise(crops):
    """(N, H, W, 3) uint8 BGR -> (N, 3, H, W) float32 RGB / 127.5 - 1."""
    n, h, w, _ = crops.shape
    out = np.empty((n, 3, h, w), np.float32)
    for planes, crop in zip(out, crops):    # by planes: a third of the time of all at once
        for plane, channel in zip(planes[::-1], cv2.split(crop)):
            np.multiply(channel, np.float32(1 / 127.5), out=plane)
    out -= 1
    return torch.from_numpy(out)


def resized(image, side):
    """An image (H, W, 3) uint8 with its longer side brought to ``side`` px, as search sees it."""
    scale = side / max(image.shape[:2])
    h, w = (max(1, round(n * scale)) for n in image.shape[:2])
    return cv2.resize(image, (w, h),
                      interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def whole_input(image):
    """An image (H, W, 3) uint8 as the network takes it whole: (1, 3, H', W') float32, black to
    the right and below up to multiples of 32.
    """
    h, w = image.shape[:2]
    return torch.nn.functional.pad(normalise(image[None]), (0, -w % 32, 0, -h % 32), value=-1.0)
