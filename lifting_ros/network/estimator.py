"""The network as the pipeline sees it: an image and boxes in, keypoints out; people found."""

import logging
from dataclasses import dataclass

import numpy as np
import torch

from . import weights
from .crops import (
    as_input,
    check_image,
    cut,
    cut_on_device,
    normalise,
    resized,
    whole_input,
)
from .export import CropGraph, WholeGraph, runners
from .fallback import is_out_of_memory
from .find import CANDIDATES, SIDES, boxes_of, find_people, merge
from .graphs import HostCopy, Upload
from .half import HalfNetwork, agrees, mannequin, packed, unpacked
from .int8 import parts as int8_parts
from .tensorrt import engine_or_torch
from .upright import SURER, quarter_turns, turned, turned_back

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keypoints:
    """Keypoints of N people, in pixels of the image (centres at integers), float64.

    Args:
        xy: (N, 17, 2); confidence: (N, 17) in 0..1; covariance: (N, 17, 2, 2) px^2.
    """

    xy: np.ndarray
    confidence: np.ndarray
    covariance: np.ndarray


def check_device(device):
    """The torch device of a name; 'auto' is CUDA where torch finds it, else the CPU.

    Raises:
        RuntimeError: CUDA is asked for and not there.
        ValueError: no such device.
    """
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f'unknown device {device!r}: auto, cpu or cuda') from error
    if device.type == 'cuda' and not torch.cuda.is_available():
        raise RuntimeError(f'device {device} was asked for, but torch finds no '
                           'CUDA device; use device cpu, or install a CUDA build of torch and '
                           'the driver')
    return device


class Estimator:
    """Keypoints of people in given boxes, and boxes of people in an image.

    Args:
        model: BeliefNet.
        device: 'cpu', 'cuda', or 'auto': CUDA where there is one.
        backend: 'auto' takes onnxruntime on a CPU where it is installed (about twice as fast),
            else torch, and on CUDA half precision and graphs; or 'torch', 'onnx', 'graphs',
            'half' (half precision without graphs).
        upright: look again at who is not upright in the picture, turned upright.
        engine: file of a TensorRT engine that reads the crops on CUDA, or None; where it cannot
            be used that is said, and torch runs.
        int8: parts that onnxruntime reads from the shipped int8 files: see :func:`.int8.parts`;
            for the shipped weights only.

    Raises:
        RuntimeError: CUDA, or the onnx backend, asked for and absent.
    """

    def __init__(self, model, device='cpu', backend='auto', upright=True, engine=None, int8=()):
        self.upright = upright
        self.device = check_device(device)
        if backend in ('graphs', 'half') and self.device.type != 'cuda':
            raise RuntimeError(f'the {backend} backend needs device cuda')
        self.config = model.config
        self.model = model.eval().to(self.device).requires_grad_(False)
        self.crops, self.whole = CropGraph(self.model), WholeGraph(self.model)
        self.backend, self._half = 'torch', None
        self._upload, self._to_host = Upload(self.device), HostCopy()
        if self.device.type == 'cuda' and backend != 'torch':
            self._take_half(backend != 'half')
        self._engine = None
        if engine is not None:
            run, what = engine_or_torch(engine, self.crops)
            if what == 'tensorrt':
                self._engine, self.backend = run, what
        if self.device.type == 'cpu' and backend != 'torch':
            ready = runners(self.model, torch.get_num_threads(), int8)
            if ready is not None:
                self.crops, self.whole = ready
                self.backend = 'onnx'
            else:
                log.info('onnx and onnxruntime are not installed: torch runs the network, '
                         'at about half the speed')
        if backend == 'onnx' and self.backend != 'onnx':
            raise RuntimeError('the onnx backend needs device cpu and the packages onnx and '
                               'onnxruntime')
        if self.device.type == 'cpu' and self.backend == 'torch':
            self.model.to(memory_format=torch.channels_last)

    @classmethod
    def from_pretrained(cls, path=None, device='cpu', backend='auto', upright=True, engine=None,
                        int8='search'):
        """Load weights (None: the shipped ones); the rest as of the class.

        Args:
            int8: what a CPU that is faster so runs in int8, with the shipped weights: 'search'
                of whole images, 'all' (keypoints, too: a quarter less time, for 0.4 points of
                PCK), or 'none'.

        Raises:
            WeightsError: file missing or damaged.
            RuntimeError: CUDA asked for and absent.
            ValueError: no such device, or int8 none of these.
        """
        device = check_device(device)
        model, _ = weights.load(path)
        parts = int8_parts(int8) if path is None and device.type == 'cpu' else ()
        return cls(model, device, backend, upright, engine, parts)

    @torch.inference_mode()
    def _take_half(self, graphs):
        """Run in half precision, if that gives here what single precision gives."""
        half = HalfNetwork(self.model, graphs)
        size = self.config.size
        drawn = np.ascontiguousarray(mannequin(size))
        boxes = np.array([[0, 0, size - 1, size - 1], [0.1 * size, 0, 0.9 * size, 0.8 * size]])
        pixels, _, _ = cut_on_device(self._upload(drawn), boxes, size, 1.0)
        try:
            half.warm_up(size, self.device)
            good = agrees(half.crops(pixels), self._plain(self.crops, as_input(pixels)))
            why = 'it does not give what single precision gives'
        except Exception as error:      # a compiler's, a driver's: whatever it is, there is a way
            if is_out_of_memory(error):
                raise
            good, why = False, f'{type(error).__name__}: {error}'
        if good:
            self._half, self.backend = half, 'graphs' if graphs else 'half'
        else:
            log.warning('half precision does not work on this GPU (%s): single precision, slower',
                        why.splitlines()[0])

    def _plain(self, graph, x):
        return [out.double().cpu().numpy() for out in graph(x.to(self.device))]

    def _run(self, graph, x):
        """Outputs of a graph as float64 arrays, whichever backend it is of."""
        if self.backend == 'onnx':
            return [out.astype(np.float64) for out in graph(x.numpy())]
        return self._plain(graph, x)

    def _read(self, x):
        """Keypoints of crops: of the GPU's, BGR 0..255 there, or as the network takes them."""
        if self._engine is not None:
            return unpacked(self._to_host(packed(*self._engine(as_input(x)))))
        if self._half is not None:
            return self._half.crops(x)
        return self._run(self.crops, as_input(x) if self.device.type == 'cuda' else x)

    @torch.inference_mode()
    def keypoints(self, image, boxes):
        """Keypoints of the person in each box, as one batch.

        Args:
            image: (H, W, 3) uint8 BGR.
            boxes: (N, 4) x0 y0 x1 y1 px.

        Returns:
            Keypoints.

        Raises:
            ValueError: image or boxes of a wrong shape, or boxes that are not finite.
        """
        image = check_image(image)
        boxes = np.asarray(boxes, dtype=np.float64)
        if boxes.size == 0:
            boxes = boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
            raise ValueError(f'boxes must be (N, 4) finite numbers, got {boxes.shape}')
        if len(boxes) == 0:
            return Keypoints(np.zeros((0, 17, 2)), np.zeros((0, 17)), np.zeros((0, 17, 2, 2)))
        size, margin = self.config.size, self.config.margin
        if self.device.type == 'cuda':
            x, scale, offset = cut_on_device(self._upload(image), boxes, size, margin)
        else:
            crops, scale, offset = cut(image, boxes, size, margin)
            x = normalise(crops)
        xy, confidence, covariance = self._look(x) if self.upright else self._read(x)
        xy = (xy - offset[:, None]) / scale[:, None, None]
        return Keypoints(xy, confidence, covariance / scale[:, None, None, None] ** 2)

    def _look(self, x):
        """Keypoints in crops; of who is not upright the surer of two looks."""
        xy, confidence, covariance = self._read(x)
        turns = quarter_turns(xy)
        again = np.flatnonzero(turns)
        if len(again):
            turns = turns[again]
            points, sure, spread = self._read(turned(x[again], turns))
            points, spread = turned_back(points, spread, turns, self.config.size)
            better = sure.mean(1) > confidence[again].mean(1) + SURER
            rows = again[better]
            xy[rows], confidence[rows], covariance[rows] = (
                points[better], sure[better], spread[better])
        return xy, confidence, covariance

    sides = SIDES    # scales of a search, px; a caller may take one at a time

    @torch.inference_mode()
    def find(self, image, threshold=0.3, max_people=16, side=SIDES):
        """People in a whole image.

        Args:
            image: (H, W, 3) uint8 BGR.
            threshold: least centre score, 0..1.
            max_people: at most so many, the surest first.
            side: the longer side the image is brought to, px; several are looked at in turn.

        Returns:
            boxes (M, 4) x0 y0 x1 y1 px, scores (M,), float64.

        Raises:
            ValueError: image of a wrong shape.
        """
        image = check_image(image)
        return merge([self._find_at(image, threshold, max_people, s) for s in np.ravel(side)],
                     max_people)

    def _find_at(self, image, threshold, max_people, side):
        small = resized(image, side)
        h, w = small.shape[:2]
        if self._half is not None:
            shape = tuple(-(-side // 32) * 8 for side in (h, w))
            found = self._half.whole(self._upload(small), threshold, CANDIDATES * max_people)
            boxes, scores = boxes_of(found, shape, max_people)
        else:
            centre, regress, heat = self._run(self.whole, whole_input(small))
            boxes, scores = find_people(centre[0, 0], regress[0], heat[0], threshold, max_people)
        return self._unscale(boxes, image.shape, w, h), scores

    @staticmethod
    def _unscale(boxes, shape, w, h):
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        ratio = np.array([shape[1] / w, shape[0] / h] * 2)
        boxes = (boxes + 0.5) * ratio - 0.5
        limit = np.array([shape[1] - 1, shape[0] - 1] * 2, np.float64)
        return np.clip(boxes, 0, limit)
