"""The belief-map network: image crops to keypoints with confidence and covariance."""

from .config import Config
from .estimator import Estimator, Keypoints
from .model import BeliefNet

__all__ = ['BeliefNet', 'Config', 'Estimator', 'Keypoints']
