"""Several cameras as one: the node ``fuse`` on the people of each; ``separation`` if asked for.

ros2 launch lifting_ros fuse.launch.py \
    topics:="['/left/pose/skeletons','/right/pose/skeletons']" target_frame:=base_link
"""
# ruff: noqa: I001 (this folder is called launch, as the package is)

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue


def generate_launch_description():
    """Return the launch description."""
    frame = ParameterValue(LaunchConfiguration('target_frame'), value_type=str)
    return LaunchDescription([
        DeclareLaunchArgument('topics', default_value="['/pose/skeletons']",
                              description='list of the topics of the cameras\' people'),
        DeclareLaunchArgument('target_frame', default_value='map',
                              description='frame of TF in which people are fused'),
        DeclareLaunchArgument('separation', default_value='false', choices=['true', 'false'],
                              description='start the node separation on the fused people'),
        DeclareLaunchArgument('links', default_value="['base_link']",
                              description='frames of the robot from which distances are taken'),
        Node(package='lifting_ros', executable='fuse', name='fuse', output='screen',
             parameters=[{'topics': ParameterValue(LaunchConfiguration('topics')),
                          'target_frame': frame}]),
        Node(package='lifting_ros', executable='separation', name='separation', output='screen',
             parameters=[{'frame': frame, 'links': ParameterValue(LaunchConfiguration('links'))}],
             remappings=[('skeletons', '/fuse/skeletons')],
             condition=IfCondition(LaunchConfiguration('separation'))),
    ])
