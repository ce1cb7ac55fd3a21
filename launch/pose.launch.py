"""The node ``pose`` on a camera's topics, and RViz if asked for.

ros2 launch lifting_ros pose.launch.py image:=/camera/image_raw \
    camera_info:=/camera/camera_info rviz:=true

Several cameras, a process each, its node in the camera's namespace (/front/pose/skeletons of
/front/image_raw and /front/camera_info):

ros2 launch lifting_ros pose.launch.py cameras:=front,left target_frame:=odom
"""
# ruff: noqa: I001 (this folder is called launch, as the package is)

import os

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import (
    EnvironmentVariable,
    LaunchConfiguration,
    PathJoinSubstitution,
    PythonExpression,
)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def generate_launch_description():
    """Return the launch description."""
    config = PathJoinSubstitution([FindPackageShare('lifting_ros'), 'config'])
    arguments = [
        DeclareLaunchArgument('image', default_value='/camera/image_raw',
                              description='topic of the images, sensor_msgs/Image'),
        DeclareLaunchArgument('camera_info', default_value='/camera/camera_info',
                              description='topic of their calibration, sensor_msgs/CameraInfo'),
        DeclareLaunchArgument('params', default_value=PathJoinSubstitution([config, 'pose.yaml']),
                              description='file with the parameters of the node'),
        DeclareLaunchArgument('name', default_value='pose',
                              description='name of the node: its topics are below it'),
        DeclareLaunchArgument('device', default_value='auto', choices=['auto', 'cpu', 'cuda'],
                              description='where the network runs; auto: on CUDA where there '
                              'is one'),
        DeclareLaunchArgument('cameras', default_value='',
                              description='namespaces of several cameras, with commas between '
                              'them; image and camera_info are then names within each'),
        DeclareLaunchArgument('target_frame', default_value='',
                              description='frame in which people are published; empty: the '
                              'camera\'s own'),
        DeclareLaunchArgument('autostart', default_value='true', choices=['true', 'false'],
                              description='configure and activate; false: leave that to a '
                              'life-cycle manager'),
        DeclareLaunchArgument('rviz', default_value='false', choices=['true', 'false'],
                              description='start RViz'),
        DeclareLaunchArgument('profile', default_value=EnvironmentVariable(
            'FASTRTPS_DEFAULT_PROFILES_FILE',
            default_value=os.path.join(_share(), 'config', 'fastdds.xml')),
            description='Fast DDS profile; the camera\'s own process needs one as well'),
    ]
    profile = LaunchConfiguration('profile')
    return LaunchDescription([
        *arguments,
        SetEnvironmentVariable('FASTRTPS_DEFAULT_PROFILES_FILE', profile),
        SetEnvironmentVariable('FASTDDS_DEFAULT_PROFILES_FILE', profile),
        OpaqueFunction(function=_pose, kwargs={
            'cameras': LaunchConfiguration('cameras'), 'name': LaunchConfiguration('name'),
            'image': LaunchConfiguration('image'),
            'camera_info': LaunchConfiguration('camera_info'),
            'parameters': [
                LaunchConfiguration('params'),
                {'device': LaunchConfiguration('device'),
                 'target_frame': ParameterValue(LaunchConfiguration('target_frame'),
                                                value_type=str),
                 'autostart': ParameterValue(LaunchConfiguration('autostart'), value_type=bool),
                 # RViz turns about z: a child of the images' frame with z up, so that people
                 # stand; the robot's own tree is not touched
                 'view_frame': ParameterValue(PythonExpression(
                     ["'people_view' if '", LaunchConfiguration('rviz'),
                      "' == 'true' else ''"]), value_type=str)}]}),
        Node(package='rviz2', executable='rviz2', name='rviz', output='log',
             arguments=['-d', PathJoinSubstitution([config, 'pose.rviz'])],
             condition=IfCondition(LaunchConfiguration('rviz'))),
    ])


def _pose(context, cameras, name, image, camera_info, parameters):
    """The node, or one in the namespace of each camera: a process each."""
    names = [c.strip().strip('/') for c in cameras.perform(context).split(',') if c.strip()]
    topics = {'image': image, 'camera_info': camera_info}
    out = []
    for camera in names or [None]:
        where = topics
        if camera is not None:  # /camera/image_raw is image_raw of each
            where = {k: v.perform(context).rsplit('/', 1)[-1] for k, v in topics.items()}
        out.append(Node(package='lifting_ros', executable='pose', name=name, output='screen',
                        namespace=camera or '', parameters=parameters,
                        remappings=list(where.items())))
    return out


def _share():
    from ament_index_python.packages import get_package_share_directory

    return get_package_share_directory('lifting_ros')
