"""Other pose networks on the same boxes and crops: MoveNet Lightning and BlazePose.

Each peer is a callable (image (H, W, 3) uint8 BGR, box (4,) px) -> keypoints (17, 2) px in the
project's order, NaN where the peer has no such joint.
"""

from pathlib import Path

import cv2
import numpy as np
import torch

from ..network import BeliefNet, Config
from ..network.crops import cut, normalise
from ..network.maps import grid
from ..network.trunk import movenet_tensors
from ..skeleton import convert

_REACH = 1.8


def movenet_decode(model, x):
    """MoveNet's own decoding (centre, regression, the peak near it, offset).

    Args:
        model: BeliefNet holding MoveNet's tensors; x: (N, 3, S, S) crops.

    Returns:
        keypoints (N, 17, 2) px of the crop in COCO's order, confidence (N, 17).
    """
    f4 = model.trunk(x)[0]
    n, _, h, w = f4.shape
    head, cells = model.head, torch.arange(n)
    columns, rows = grid(h, w, f4)
    middle = torch.sqrt((columns - w / 2) ** 2 + (rows[:, None] - h / 2) ** 2)
    best = (torch.sigmoid(head['center'](f4)[:, 0]) / (middle + _REACH)).flatten(1).argmax(1)
    rough = head['regress'](f4).flatten(2)[cells, :, best].view(n, 17, 2)      # y, x
    rough = rough + torch.stack((best // w, best % w), 1)[:, None]
    heat = torch.sigmoid(head['heatmap'](f4)[:, :17])
    distance = torch.sqrt((columns - rough[..., 1, None, None]) ** 2
                          + (rows[:, None] - rough[..., 0, None, None]) ** 2)
    peak = (heat / (distance + _REACH)).flatten(2).argmax(2)                   # (N, 17)
    offset = head['offset'](f4).view(n, 17, 2, h * w)
    offset = offset.gather(3, peak[:, :, None, None].expand(n, 17, 2, 1))[..., 0]
    yx = torch.stack((torch.div(peak, w, rounding_mode='floor'), peak % w), 2) + offset
    return 4 * yx.flip(2), heat.flatten(2).gather(2, peak[..., None])[..., 0]


class MoveNet:
    """Float MoveNet Lightning from its npz, as published: one trunk, its own decoding."""

    def __init__(self, path, size=256):
        self.model = BeliefNet(Config(stages=1, lift=False))
        self.model.load_movenet(movenet_tensors(path))
        self.model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.size = size

    @torch.inference_mode()
    def __call__(self, image, box):
        """Keypoints (17, 2) px of the person in the box."""
        crops, scale, offset = cut(image, box[None], self.size, 1.25)
        xy, _ = movenet_decode(self.model, normalise(crops))
        xy = (xy.double().numpy() - offset) / scale[:, None, None]
        return convert(xy, np.ones((1, 17)), 'coco')[0][0]


class TfLite:
    """A .tflite network on one thread."""

    def __init__(self, path):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ImportError(f'{path} needs the package ai-edge-litert: pip install '
                              'ai-edge-litert') from error
        self.net = Interpreter(model_path=str(path), num_threads=1)
        self.net.allocate_tensors()
        self.input = self.net.get_input_details()[0]['index']
        self.outputs = [o['index'] for o in self.net.get_output_details()]

    def run(self, x):
        """Outputs for one input."""
        self.net.set_tensor(self.input, x)
        self.net.invoke()
        return [self.net.get_tensor(i) for i in self.outputs]


class MoveNetInt8(TfLite):
    """MoveNet Lightning int8, 192 px."""

    def __call__(self, image, box):
        """Keypoints (17, 2) px of the person in the box."""
        crops, scale, offset = cut(image, box[None], 192, 1.25)
        said = self.run(np.ascontiguousarray(crops[..., ::-1]))[0].reshape(17, 3)
        xy = (192 * said[:, 1::-1].astype(np.float64) - offset) / scale
        return convert(xy, np.ones(17), 'coco')[0]


class BlazePose(TfLite):
    """BlazePose full on the box's crop, 256 px."""

    def __call__(self, image, box):
        """Keypoints (17, 2) px of the person in the box."""
        crops, scale, offset = cut(image, box[None], 256, 1.25)
        points, _ = self._look(crops)
        return convert((points - offset) / scale, np.ones(33), 'blazepose_33')[0]

    def turned(self, image, hips, radius, angle):
        """A person in a crop turned upright, as its detector asks for.

        Args:
            hips: (2,) px, the crop's middle; radius: of the circle about the body, px;
            angle: of the body from upright, clockwise, rad.

        Returns:
            keypoints (17, 2) px, presence in 0..1.
        """
        scale = 256 / max(2.5 * radius, 1e-3)
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        turn = np.array([[c, s], [-s, c]])
        shift = 127.5 - turn @ hips
        crop = cv2.warpAffine(image, np.column_stack((turn, shift)), (256, 256))
        points, presence = self._look(crop[None])
        xy = (points - shift) @ np.linalg.inv(turn).T
        return convert(xy, np.ones(33), 'blazepose_33')[0], presence

    def _look(self, crops):
        out = self.run(np.ascontiguousarray(crops[..., ::-1]).astype(np.float32) / 255)
        points = next(o for o in out if o.size == 195).reshape(39, 5)[:33, :2]
        return points.astype(np.float64), float(next(o for o in out if o.size == 1).reshape(-1)[0])


def peers(movenet=None, folder=None):
    """The peers whose files are there.

    Args:
        movenet: float MoveNet's npz, or None; folder: of the .tflite files, or None.

    Returns:
        dict name -> callable.
    """
    found = {}
    if movenet and Path(movenet).is_file():
        found['MoveNet float, 256 px'] = MoveNet(movenet)
    if folder:
        for name, file, kind in (
                ('MoveNet int8, 192 px', 'movenet_single_pose_lightning_ptq.tflite', MoveNetInt8),
                ('BlazePose full', 'pose_landmark_full.tflite', BlazePose)):
            if (Path(folder) / file).is_file():
                found[name] = kind(Path(folder) / file)
    return found
