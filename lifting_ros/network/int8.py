"""The shipped network in int8, for CPUs that multiply int8 faster than floats.

``lifting-ros export --int8`` made the files (docs/deploy.md). They are of the shipped weights and
of no others: each names, in its metadata, the digest of the weights that it was made of.
"""

import hashlib
import logging
import platform
from pathlib import Path

from ..prior.file import WEIGHTS, WeightsError, expected_digest

log = logging.getLogger(__name__)

FILES = {part: WEIGHTS / f'network_{part}_int8.onnx' for part in ('crops', 'whole')}
#: What is read in int8: the search of whole images, which loses nothing by it; keypoints, too.
CHOICES = {'none': (), 'search': ('whole',), 'all': ('whole', 'crops')}
#: Dot products of int8 with sums of 32 bits; without them int8 is slower, or saturates at 16.
_FLAGS = {'x86_64': ('avx512_vnni', 'avx_vnni'), 'aarch64': ('asimddp',)}


def fast_here(info=Path('/proc/cpuinfo')):
    """Whether this CPU has dot products of int8.

    Args:
        info: file that lists its flags; where there is none, the answer is no.
    """
    try:
        words = set(info.read_text().split())
    except OSError:
        return False
    return any(flag in words for flag in _FLAGS.get(platform.machine(), ()))


def parts(choice):
    """Which parts are read in int8 on this machine: keys of :data:`FILES`.

    Args:
        choice: key of :data:`CHOICES`.

    Raises:
        ValueError: no such choice.
    """
    if choice not in CHOICES:
        raise ValueError(f'int8 is one of {", ".join(CHOICES)}, not {choice!r}')
    if CHOICES[choice] and not fast_here():
        log.info('this CPU has no dot products of int8: the network runs in float')
        return ()
    return CHOICES[choice]


def read(part):
    """Bytes of the ONNX file of a part, checked against SHA256SUMS beside it.

    Raises:
        WeightsError: it is missing or damaged.
    """
    path = FILES[part]
    expected = expected_digest(path)
    data = path.read_bytes() if path.is_file() else None
    found = data and hashlib.sha256(data).hexdigest()
    if found is None or found != expected:
        what = f'has sha256 {found}' if found else 'is missing'
        raise WeightsError(f'{path} {what}, expected is {expected or "unknown"}: install the '
                           'package again, or set int8 to none')
    return data
