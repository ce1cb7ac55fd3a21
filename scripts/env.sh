# The environment of the demo and the tests; source it from bash after scripts/setup.sh:
#   . scripts/env.sh
# Where a ROS 2 is sourced it stays; otherwise the one in .venv is used.
_lr_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case ":$AMENT_PREFIX_PATH:" in
  *":$_lr_root/.venv:"*) _lr_wheels=1 ;;
  *) _lr_wheels=; if [ -z "$ROS_DISTRO" ]; then _lr_wheels=1; fi ;;
esac
if [ -n "$_lr_wheels" ]; then
  # left over from another environment, these would lead to the wrong libraries
  unset LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH AMENT_PREFIX_PATH \
    CMAKE_PREFIX_PATH COLCON_PREFIX_PATH
fi
if [ -f "$_lr_root/.venv/bin/activate" ]; then . "$_lr_root/.venv/bin/activate"; fi
if [ -f "$_lr_root/install/local_setup.bash" ]; then
  . "$_lr_root/install/local_setup.bash" 2> /dev/null
fi
if [ -n "$_lr_wheels" ]; then
  export AMENT_PREFIX_PATH=${AMENT_PREFIX_PATH:+$AMENT_PREFIX_PATH:}$_lr_root/.venv
  export CMAKE_PREFIX_PATH=${CMAKE_PREFIX_PATH:+$CMAKE_PREFIX_PATH:}$_lr_root/.venv
  # with either set, some sockets leave the loopback that config/fastdds.xml keeps to
  unset ROS_LOCALHOST_ONLY ROS_AUTOMATIC_DISCOVERY_RANGE RMW_IMPLEMENTATION
  export ROS_LOG_DIR=${ROS_LOG_DIR:-$_lr_root/log/ros}
fi
# Fast DDS loses half of the images with its defaults; two names, of two releases
: "${FASTRTPS_DEFAULT_PROFILES_FILE:=$_lr_root/config/fastdds.xml}"
: "${FASTDDS_DEFAULT_PROFILES_FILE:=$FASTRTPS_DEFAULT_PROFILES_FILE}"
export FASTRTPS_DEFAULT_PROFILES_FILE FASTDDS_DEFAULT_PROFILES_FILE
unset _lr_root _lr_wheels
