"""The demo on a ROS desktop: a source, the node ``pose`` and RViz, until it is interrupted.

ros2 launch lifting_ros demo.launch.py [source:=VIDEO|IMAGE|CAMERA_INDEX]
"""
# ruff: noqa: I001 (this folder is called launch, as the package is)

import os

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue


def generate_launch_description():
    """Return the launch description."""
    share = _share()
    return LaunchDescription([
        DeclareLaunchArgument('source', default_value='',
                              description='video, photo or number of a camera; empty: the clip '
                              'of the project'),
        DeclareLaunchArgument('seconds', default_value='86400.0',
                              description='how long; a file starts again'),
        DeclareLaunchArgument('rviz', default_value='true', choices=['true', 'false'],
                              description='start RViz'),
        DeclareLaunchArgument('device', default_value='auto', choices=['auto', 'cpu', 'cuda'],
                              description='where the network runs; auto: on CUDA where there '
                              'is one'),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(os.path.join(share, 'launch', 'pose.launch.py')),
            launch_arguments={'image': '/image', 'camera_info': '/camera_info',
                              'rviz': LaunchConfiguration('rviz'),
                              'device': LaunchConfiguration('device')}.items()),
        Node(package='lifting_ros', executable='source', name='source', output='screen',
             parameters=[{
                 'source': ParameterValue(LaunchConfiguration('source'), value_type=str),
                 'seconds': ParameterValue(LaunchConfiguration('seconds'), value_type=float)}]),
    ])


def _share():
    from ament_index_python.packages import get_package_share_directory

    return get_package_share_directory('lifting_ros')
