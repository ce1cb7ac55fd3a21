#!/bin/bash
# Set up (once), then ruff and every test, against the installed package:
#   scripts/test.sh [pytest's arguments]
set -eo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/scripts/setup.sh"
. "$root/scripts/env.sh"
cd "$root"
export ROS_PYTHON_CHECK_FIELDS=1   # messages check their fields: for tests, not for speed
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
ruff check .
# not `python -m pytest`: that would put the source tree before the installed one
exec pytest -q "$@"
