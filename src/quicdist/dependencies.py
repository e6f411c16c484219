"""The versions of other packages that this one works with, checked where they are imported.

pip sees to them at installation; a later installation of something else may change them all the same. What
came of it then was an error about a name inside the other package.
"""

from __future__ import annotations

import importlib.metadata
import re
from typing import Final

#: Package to the lowest version tested and the first one that was not; the same as in ``pyproject.toml``
#: (``tests/test_dependencies.py``). aioquic's range is narrow: the carrier uses private parts of it, which a
#: minor release may change.
SUPPORTED: Final[dict[str, tuple[str, str]]] = {
    "aioquic": ("1.7", "1.8"),
    "cryptography": ("44", "51"),
    "dnspython": ("2.6.1", "3"),
    "click": ("8.2", "9"),
    "rich": ("13.7", "16"),
}


def check(name: str) -> None:
    """Raise :class:`ImportError` if another version of a package is installed than one in
    :data:`SUPPORTED`. A package without metadata (in a frozen program, say) is taken as it is."""
    lowest, below = SUPPORTED[name]
    try:
        installed = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return
    if not _numbers(lowest) <= _numbers(installed) < _numbers(below):
        needed = f"{name}>={lowest},<{below}"
        raise ImportError(
            f"quicdist needs {needed}, but {name} {installed} is installed: pip install '{needed}'", name=name
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", re.split(r"[^\d.]", version)[0])))
