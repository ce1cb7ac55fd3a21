#!/bin/bash
# Set up (once), run the source, the pose node and the recorder, and show the result:
#   scripts/demo.sh [--source VIDEO|IMAGE|CAMERA_INDEX] [--seconds N] [--device cpu|cuda] [--view]
# Writes output/demo: summary.json, an overlay video, a still and an MCAP bag; with --view also
# view.html, a page that shows the skeletons in 3D in any browser, without ROS and network.
set -eo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/scripts/setup.sh"
. "$root/scripts/env.sh"
exec python -m lifting_ros.ros.demo "$@"
