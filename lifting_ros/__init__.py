"""People around a robot: camera images in, 3D skeletons in metres with covariances out."""

__version__ = '0.1.0'
