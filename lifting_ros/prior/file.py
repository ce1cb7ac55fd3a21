"""Reading and writing files of weights: safetensors, checked against a list of digests.

``SHA256SUMS`` beside the shipped weights has one line a file, as ``sha256sum`` prints it.
"""

import hashlib
import re
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

#: Where the shipped weights lie.
WEIGHTS = Path(__file__).resolve().parent.parent / 'weights'


class WeightsError(RuntimeError):
    """A file of weights that is missing or not the expected one; says what to do."""


def expected_digest(path):
    """The sha256 that SHA256SUMS beside ``path`` gives for it, or None where it has none."""
    sums = Path(path).parent / 'SHA256SUMS'
    if sums.is_file():
        for line in sums.read_text().splitlines():
            digest, _, name = line.partition(' ')
            if name.strip().lstrip('*') == Path(path).name:
                return digest
    return None


def digest(path):
    """The sha256 of a file, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def load_tensors(path, expected_sha256=None):
    """Read a safetensors file.

    Args:
        path: the file.
        expected_sha256: digest in hexadecimal that the file must have; None takes the one of
            SHA256SUMS in the file's folder, and checks nothing where that has none.

    Returns:
        (dict of name -> numpy array, dict of metadata strings).

    Raises:
        WeightsError: the file is missing, has another digest, or is no safetensors file.
    """
    path = Path(path)
    expected = expected_sha256 or expected_digest(path)
    if not path.is_file():
        raise WeightsError(f'weights file {path} is missing (expected sha256 '
                           f'{expected or "unknown"}): install the package again, or give the '
                           'path of a file that you trained')
    found = digest(path)
    if expected and found != expected:
        raise WeightsError(f'weights file {path} is damaged or not the expected one: expected '
                           f'sha256 {expected}, found {found}. Install the package again, or, '
                           f'if you trained it yourself, correct its line in SHA256SUMS')
    try:
        with safe_open(path, framework='numpy') as f:
            return {name: f.get_tensor(name) for name in f.keys()}, dict(f.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f'weights file {path} (sha256 {found}, expected '
                           f'{expected or "unknown"}) cannot be read: {error}. Install the '
                           'package again, or train it again') from error


def save_tensors(path, tensors, metadata):
    """Write a safetensors file; every array is made contiguous, every value of metadata a str."""
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path,
              metadata={k: str(v) for k, v in metadata.items()})
    Path(path).chmod(0o644)


def record_digest(path):
    """Write the digest of ``path`` into the SHA256SUMS of its folder, if there is one, leaving
    other lines alone.
    """
    path = Path(path)
    sums = path.parent / 'SHA256SUMS'
    if not sums.is_file():
        return
    lines = sums.read_text().splitlines()
    lines = [x for x in lines if not re.search(rf'[ *]{re.escape(path.name)}$', x)]
    sums.write_text('\n'.join(sorted([*lines, f'{digest(path)}  {path.name}'],
                                     key=lambda x: x.split()[-1])) + '\n')
