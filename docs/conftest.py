"""What the examples of these pages need besides themselves."""

import pytest
import scipy

# Older versions do not dispatch arrays.
_VERSION = tuple(map(int, scipy.__version__.split(".")[:2]))
collect_ignore = ["arrays.rst"] if _VERSION < (1, 14) else []


@pytest.fixture(autouse=True)
def _dispatch(monkeypatch):
    """What :doc:`arrays` asks readers to set before they start Python."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
