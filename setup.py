"""The library and the ``lifting-ros`` command without ROS: ``pip install .``.

With ROS the package is built by colcon from CMakeLists.txt, which also makes the messages.
"""

import pathlib
import re

from setuptools import find_packages, setup

here = pathlib.Path(__file__).parent
version = re.search(r"__version__ = '(.+?)'",
                    (here / 'lifting_ros' / '__init__.py').read_text()).group(1)

setup(
    name='lifting_ros',
    version=version,
    description='People around a robot: camera images in, 3D skeletons in metres out',
    license='Apache-2.0',
    packages=find_packages(include=['lifting_ros', 'lifting_ros.*']),
    package_data={'lifting_ros': ['weights/*', '*.html']},
    python_requires='>=3.10',
    # No ROS names here: rclpy and the messages are no packages of the Python index.
    install_requires=['numpy', 'onnx', 'onnxruntime', 'opencv-python-headless', 'safetensors',
                      'scipy', 'torch==2.13.0', 'tqdm'],
    extras_require={
        'test': ['pytest', 'ruff'],
        'bags': ['rosbags'],
        'training': ['matplotlib', 'pillow'],
        'evaluation': ['matplotlib', 'trackeval'],
    },
    entry_points={'console_scripts': ['lifting-ros = lifting_ros.cli:main']},
)
