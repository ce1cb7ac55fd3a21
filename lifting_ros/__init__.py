"""People around a robot: camera images in, 3D skeletons in metres with covariances out."""

__version__ = '0.1.0'

# The messages (lifting_ros.msg) are generated into the installed package. Where the source tree
# comes first on the path, as in a shell in the checkout, they are found there all the same.
__path__ = __import__('pkgutil').extend_path(__path__, __name__)
