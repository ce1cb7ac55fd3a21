"""Keypoints and a camera to 3D people in metres, with covariances."""

from .lifter import Lifted, Lifter

__all__ = ['Lifted', 'Lifter']
