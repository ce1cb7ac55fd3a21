"""Names for people: valid in topic and frame names (REP-155), never given twice in a run."""

import secrets
import string

_FIRST = string.ascii_lowercase
_REST = string.ascii_lowercase + string.digits


class IdSource:
    """Draws five characters, the first a letter.

    They come from the system's random source, not from a seed: two runs, or a run before and
    after a restart, do not hand out the same names but by a chance of one in 43 million.
    """

    def __init__(self):
        """Start with no name given out."""
        self._given = set()

    def new(self):
        """Return an id that this source has not given before."""
        while True:
            name = secrets.choice(_FIRST) + ''.join(secrets.choice(_REST) for _ in range(4))
            if name not in self._given:
                self._given.add(name)
                return name
