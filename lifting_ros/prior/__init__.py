"""What human poses look like: a mixture of probabilistic PCA, its fit and its file."""

from .file import WeightsError, load_tensors
from .model import PosePrior

__all__ = ['PosePrior', 'WeightsError', 'load_tensors']
