"""What ``pyproject.toml`` asks for."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def requirements(*extras: str, python: str | None = None) -> Iterator[Requirement]:
    """What the package needs with these extras, those inside them too, on Python ``python`` (``3.12``),
    or this one."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"} if python else None
    texts = [*project()["dependencies"]]
    for extra in extras:
        texts += project()["optional-dependencies"][extra]
    for text in texts:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        if requirement.name == project()["name"]:
            own = set(requirements(python=python))
            yield from (each for each in requirements(*requirement.extras, python=python) if each not in own)
        else:
            yield requirement
