"""Identities, velocities and prediction through gaps."""

from .tracker import Observation, Tracker, TrackerOptions

__all__ = ['Observation', 'Tracker', 'TrackerOptions']
