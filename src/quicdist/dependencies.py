"""The supported versions of other packages, checked when they are imported.

pip checks them at installation, but a later installation may replace them. Without this check the error would
be about a missing name inside the other package.
"""

from __future__ import annotations

import os
import re
import sys
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
    :data:`SUPPORTED`. A package without metadata (in a frozen program, say) is accepted."""
    lowest, below = SUPPORTED[name]
    installed = installed_version(name)
    if installed is None:
        return
    if not _numbers(lowest) <= _numbers(installed) < _numbers(below):
        needed = f"{name}>={lowest},<{below}"
        raise ImportError(
            f"quicdist needs {needed}, but {name} {installed} is installed: pip install '{needed}'", name=name
        )


def installed_version(name: str) -> str | None:
    """The version of an installed package; None where it has no metadata."""
    end = ".dist-info"
    # ``importlib.metadata`` says the same and loads the email package for it: half the start of the command.
    for folder in sys.path:
        try:
            entries = os.listdir(folder or ".")
        except OSError:  # a zip file, or nothing at all
            continue
        for entry in entries:
            if entry.startswith(f"{name}-") and entry.endswith(end):
                return entry[len(name) + 1 : -len(end)]
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", re.split(r"[^\d.]", version)[0])))
