"""Exit status 0 if this interpreter has all that pyproject.toml asks for, "dev" included."""

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
from pathlib import Path


def main() -> int:
    try:
        from packaging.requirements import Requirement
    except ImportError:
        print("packaging is missing")
        return 1
    pyproject = Path(__file__).resolve().parent.parent / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text())["project"]
    missing = []
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"], project["name"]]:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(f"{text} (not installed)")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            missing.append(f"{text} (installed: {installed})")
    for line in missing:
        print(f"missing: {line}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
