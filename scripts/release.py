"""Builds and checks the package, and runs the demo with the wheel alone on each Python found.

``make release`` runs it. It publishes nothing. The wheel and the sdist are in ``dist`` afterwards.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.matrix import interpreter, pythons

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"


def step(what: str, command: Sequence[str | Path], *, cwd: Path = ROOT) -> None:
    """Run a command; its output is printed only if it fails, and then the release ends."""
    print(f"-- {what} ...", end="", flush=True)
    began = time.monotonic()
    # Without the checkout on the path: the wheel is tested alone.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    print(f" {'ok' if done.returncode == 0 else 'FAILED'}, {time.monotonic() - began:.0f} s", flush=True)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise SystemExit(1)


def build() -> tuple[Path, Path]:
    """The wheel, built from the sdist, and the sdist."""
    shutil.rmtree(DIST, ignore_errors=True)
    step("building the sdist, and the wheel from it", [sys.executable, "-m", "build", "--outdir", DIST])
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    step("twine check", [sys.executable, "-m", "twine", "check", "--strict", wheel, sdist])
    step("check-wheel-contents", [sys.executable, "-m", "check_wheel_contents", wheel])
    return wheel, sdist


def interpreters() -> Iterator[tuple[str, Path]]:
    """Each supported Python, with its interpreter if there is one on this machine."""
    for python in pythons():
        found, reason = interpreter(python)
        if found:
            yield python, Path(found)
        else:
            print(f"-- Python {python} is left out: {reason}")


def try_wheel(python: str, command: Path, wheel: Path) -> None:
    """Install the wheel into a new environment, and run the command and the demo there."""
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        directory = Path(name)
        environment = directory / "environment"
        step(f"Python {python}: a new environment", [command, "-m", "venv", environment])
        bin_ = environment / "bin"
        pip: list[str | Path] = [bin_ / "python", "-m", "pip", "--disable-pip-version-check"]
        step(f"Python {python}: installing the wheel", [*pip, "install", "--quiet", wheel])
        step(f"Python {python}: pip check", [*pip, "check"])
        step(f"Python {python}: the command", [bin_ / "quicdist", "certs", directory / "certs"])
        # A copy, so that nothing of the checkout is beside it.
        shutil.copytree(ROOT / "examples", directory / "examples")
        step(f"Python {python}: the demo", [bin_ / "python", "examples/demo.py"], cwd=directory)


def main() -> None:
    wheel, sdist = build()
    for python, command in interpreters():
        try_wheel(python, command, wheel)
    for file in (wheel, sdist):
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
