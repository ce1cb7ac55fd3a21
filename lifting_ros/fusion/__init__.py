"""Several cameras, one person: people of several views associated and fused by covariance."""

from .agreement import Agreement
from .fuser import Fuser, FuserOptions, View

__all__ = ['Agreement', 'Fuser', 'FuserOptions', 'View']
