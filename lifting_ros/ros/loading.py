"""The pipeline that the parameters ask for, loaded and warm."""

import numpy as np

from ..camera import Camera
from ..tracking.ids import default_path
from . import parameters


def load_pipeline(values):
    """Return the pipeline that the parameters ask for.

    Raises:
        RuntimeError: weights missing or damaged, CUDA asked for and not there.
    """
    from ..pipeline import Pipeline  # here, for torch takes seconds to import

    if values['threads']:
        import torch

        torch.set_num_threads(values['threads'])
    pipeline = Pipeline.from_pretrained(values['device'], values['weights'] or None,
                                        id_file=default_path(), engine=values['engine'] or None,
                                        int8=values['int8'], **parameters.pipeline_options(values))
    if pipeline.device.type == 'cuda':
        pipeline.estimator = on_gpu(pipeline.estimator, values['weights'] or None)
    # the first call of everything is slow: better before the first image than at it
    blank, camera = np.zeros((480, 640, 3), np.uint8), Camera.from_fov(640, 480)
    pipeline(blank, camera, 0.0)
    keypoints, confidence = pipeline.keypoints(blank, [[200, 100, 400, 400]])
    pipeline.lifter.lift(keypoints, np.maximum(confidence, 0.1), camera)
    pipeline.reset()
    return pipeline


def on_gpu(estimator, weights):
    """The estimator, able to go on with less memory than it would like."""
    import torch

    from ..network import Estimator
    from ..network.fallback import Fallback

    return Fallback(estimator, lambda: Estimator.from_pretrained(weights, device='cpu'),
                    torch.cuda.empty_cache)
