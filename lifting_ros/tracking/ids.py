"""Names for people: valid in topic and frame names (REP-155), never given twice in a run, and
with a file of its own, never twice on this computer.
"""

import logging
import os
import pathlib
import secrets
import string

log = logging.getLogger(__name__)
_FIRST = string.ascii_lowercase
_REST = string.ascii_lowercase + string.digits
_ALL = len(_FIRST) * len(_REST) ** 4
#: Coprime to _ALL: consecutive numbers get names that do not look alike.
_STRIDE = 16_180_343
#: Names that are set aside at once: a node that stops leaves so many unused at most.
_BLOCK = 64


def default_path():
    """Where ROS keeps what it has to remember: $ROS_HOME or ~/.ros."""
    home = os.environ.get('ROS_HOME') or pathlib.Path.home() / '.ros'
    return pathlib.Path(home) / 'lifting_ros_ids'


def name_of(number):
    """The name of a number: five characters, the first a letter; all differ over 43,670,016."""
    n = number * _STRIDE % _ALL
    out = ''
    for _ in range(4):
        n, k = divmod(n, len(_REST))
        out = _REST[k] + out
    return _FIRST[n] + out


class IdSource:
    """Gives names.

    With a file, names are numbered, and the file holds the next number that no process has set
    aside (under a lock, for all nodes of the computer): no name comes twice in 43 million, over
    restarts and over nodes. Without one, or where it cannot be written, names are drawn from the
    system's random source: never twice in a run, and of 500 names before and 500 after a
    restart one is given again with a chance of 0.6 %.
    """

    def __init__(self, path=None):
        """Start with no name given out; ``path``: the file, made where it is missing."""
        self._path = None if path is None else pathlib.Path(path)
        self._given = set()
        self._next = self._end = 0

    def new(self):
        """Return an id that this source has not given before."""
        while True:
            name = self._numbered() if self._path is not None else None
            if name is None:
                name = secrets.choice(_FIRST) + ''.join(secrets.choice(_REST) for _ in range(4))
            if name not in self._given:
                self._given.add(name)
                return name

    def _numbered(self):
        if self._next == self._end:
            try:
                self._next = _reserve(self._path)
            except (OSError, ImportError, ValueError) as error:
                log.warning('%s cannot be used (%s): ids are drawn at random, and one of them '
                            'may have been given before this start', self._path, error)
                self._path = None
                return None
            self._end = self._next + _BLOCK
        self._next += 1
        return name_of(self._next - 1)


def _reserve(path):
    """Set a block of numbers aside; its first."""
    import fcntl
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'a+') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.seek(0)
        text = f.read(32).strip()
        # a file that is new starts anywhere: two computers do not give the same names
        first = int(text) if text else secrets.randbelow(_ALL)
        f.seek(0)
        f.truncate()
        f.write(str((first + _BLOCK) % _ALL))
        f.flush()
        os.fsync(f.fileno())
    return first
