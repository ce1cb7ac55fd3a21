"""Identities, velocities and prediction through gaps."""

from .observation import Observation
from .tracker import Tracker, TrackerOptions

__all__ = ['Observation', 'Tracker', 'TrackerOptions']
