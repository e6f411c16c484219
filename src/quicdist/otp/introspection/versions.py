"""The version of quicdist, and the program and its libraries as OTP applications."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quicdist.term import Atom, charlist

#: Characters of a description.
_SHOWN = 200
QUICDIST = "quicdist"
_UNKNOWN = "0"


@dataclass(frozen=True, slots=True)
class Application:
    """The program, or a distribution package that it has imported."""

    name: str
    description: str
    version: str

    def to_term(self) -> tuple[Any, ...]:
        """``{Application, Description, Vsn}`` of ``application:which_applications/0``."""
        return (Atom(self.name[:255]), charlist(self.description), charlist(self.version))


@functools.cache
def quicdist_version() -> str:
    """The version of this package."""
    try:
        return importlib.metadata.version(QUICDIST)
    except importlib.metadata.PackageNotFoundError:
        return _UNKNOWN


def program_name() -> str:
    """The name of the program: of the module that ``python -m`` ran, or of the script without its suffix."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name.removesuffix(".__main__"))
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else "python"


def program() -> Application:
    """The running program, with the first line of its docstring; its version if it is an installed
    package."""
    name = program_name()
    found = _packages().get(name.partition(".")[0])
    text = getattr(sys.modules.get("__main__"), "__doc__", None) or "Python program"
    return Application(
        name, _line(text.strip().partition("\n")[0]), _UNKNOWN if found is None else found.version
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:_SHOWN]


def libraries() -> list[Application]:
    """The distribution packages of which a module is loaded, sorted by name. The first call reads the
    metadata of all installed packages, which may take a second: call it in a thread."""
    # Without private modules: those of installers are loaded in every program.
    loaded = {name.partition(".")[0] for name in list(sys.modules) if not name.startswith("_")}
    packages = _packages()
    found = {packages[name] for name in loaded if name in packages}
    return sorted(found, key=lambda application: application.name)


@functools.cache
def _packages() -> dict[str, Application]:
    """The installed distribution packages, by the top-level modules that each installs."""
    known: dict[str, Application] = {QUICDIST: Application(QUICDIST, "Python node", quicdist_version())}
    described: dict[str, Application] = {}
    for module, names in importlib.metadata.packages_distributions().items():
        if module in known or not names:
            continue
        name = names[0]
        if name not in described:
            metadata = importlib.metadata.metadata(name).json
            summary, version = metadata.get("summary", ""), metadata.get("version", _UNKNOWN)
            described[name] = Application(name.lower(), _line(str(summary)), str(version))
        known[module] = described[name]
    return known
