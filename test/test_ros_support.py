"""What the tests over DDS stand on: domains of their own, also beside another run."""

import subprocess
import sys

from ros_support import HERE, LIMIT, new_domain, release_domain


def first_try(domain):
    """The domain that another process gets which would begin with this one."""
    done = subprocess.run(
        [sys.executable, '-c', 'import itertools, ros_support\n'
         f'ros_support._domains = itertools.count({domain - 1})\n'
         'print(ros_support.new_domain())'],
        cwd=HERE, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_no_other_run_gets_a_domain_that_is_held():
    mine, other = new_domain(), new_domain()
    assert mine != other and 1 <= min(mine, other) and max(mine, other) <= 100
    assert first_try(mine) not in (mine, other)
    release_domain(mine)
    release_domain(other)
