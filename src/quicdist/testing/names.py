"""Names for the nodes of tests."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

_numbers = itertools.count(1)


def node_names() -> Iterator[str]:
    """Names that no other test of this run has."""
    return (f"test{number}-{os.getpid()}@127.0.0.1" for number in _numbers)
