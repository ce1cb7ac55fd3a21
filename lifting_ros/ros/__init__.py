"""The ROS side: nodes, and messages <-> arrays. The only room that imports rclpy and messages."""
