"""The belief-map network: image crops to keypoints with confidence and covariance."""

from .estimator import Estimator, Keypoints
from .model import BeliefNet, Config

__all__ = ['BeliefNet', 'Config', 'Estimator', 'Keypoints']
