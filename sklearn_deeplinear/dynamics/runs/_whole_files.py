"""Files that are complete or not there."""

from __future__ import annotations

import os
from contextlib import contextmanager


@contextmanager
def whole_file(path):
    """Give the name of a file beside that of `path`, which it replaces after the block.

    Whatever the block raises, as it does where the disk is full, the former file stays and
    nothing is left beside it.
    """
    beside = f"{os.fspath(path)}.part"
    try:
        yield beside
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)
