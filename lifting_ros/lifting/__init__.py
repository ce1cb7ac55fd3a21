"""Keypoints and a camera to 3D people in metres, with covariances."""

from .depth import DepthImage
from .lifter import Lifted, Lifter

__all__ = ['DepthImage', 'Lifted', 'Lifter']
