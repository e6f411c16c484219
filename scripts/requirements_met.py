"""Exit status 0 if this interpreter has all that pyproject.toml asks for, "dev" included."""

from __future__ import annotations

import importlib.metadata
import sys


def main() -> int:
    try:
        from scripts.requirements import project, requirements
    except ImportError:
        print("packaging is missing", file=sys.stderr)
        return 1
    needed = [(each.name, each.specifier) for each in requirements("dev")]
    missing = []
    for name, specifier in [*needed, (project()["name"], None)]:
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(f"{name}{specifier or ''} (not installed)")
            continue
        if specifier is not None and not specifier.contains(installed, prereleases=True):
            missing.append(f"{name}{specifier} (installed: {installed})")
    for line in missing:
        print(f"missing: {line}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
