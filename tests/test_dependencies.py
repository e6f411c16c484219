"""Versions of dependencies: the ranges of ``pyproject.toml``, and the error for other versions."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from quicdist import dependencies
from scripts.matrix import BOUNDS, Cell, constraints, pythons
from scripts.requirements import ROOT, project, requirements


def test_the_checked_ranges_are_those_of_pyproject() -> None:
    checked = {name: f">={lowest},<{below}" for name, (lowest, below) in dependencies.SUPPORTED.items()}
    promised = dict.fromkeys(checked, "")
    for each in requirements():
        lower, upper = sorted(map(str, each.specifier), reverse=True)
        promised[each.name] = f"{lower},{upper}"
    assert promised == checked


@pytest.mark.parametrize(
    ("name", "too_low", "too_high"),
    [
        ("aioquic", "1.6.1", "1.8.0"),
        ("cryptography", "43.0.3", "51.0.0"),
        ("dnspython", "2.6.0", "3.0.0rc1"),
        ("click", "8.1.8", "9"),
        ("rich", "13.6.0", "16.0.0"),
    ],
)
def test_a_version_out_of_range_is_refused(
    name: str, too_low: str, too_high: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for installed in (too_low, too_high):
        monkeypatch.setattr(dependencies, "installed_version", {name: installed}.get)
        with pytest.raises(
            ImportError, match=f"quicdist needs {name}>=.*, but {name} {installed} is"
        ) as caught:
            dependencies.check(name)
        assert caught.value.name == name


@pytest.mark.parametrize("installed", ["1.7", "1.7.0rc1", "1.7.2", "1.7.99.post1"])
def test_a_version_in_range_is_taken(installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "installed_version", {"aioquic": installed}.get)
    dependencies.check("aioquic")


def test_a_package_without_metadata_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "installed_version", {}.get)
    dependencies.check("aioquic")


@pytest.mark.parametrize("name", dependencies.SUPPORTED)
def test_the_installed_version_is_that_of_the_metadata(name: str) -> None:
    assert dependencies.installed_version(name) == importlib.metadata.version(name)


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert dependencies.installed_version("no-such-package") is None


def test_a_package_in_a_zip_file_has_the_version_of_its_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "packages.zip", "w") as packages:
        packages.writestr(
            "zipped-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: zipped\nVersion: 1.2\n"
        )
    monkeypatch.syspath_prepend(tmp_path / "packages.zip")
    assert dependencies.installed_version("zipped") == "1.2"


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("aioquic", "quicdist.carrier.quic.engine.aioquic.factory"),
        ("aioquic", "quicdist.carrier.quic.engine.aioquic.verification"),
        ("cryptography", "quicdist.carrier.quic.engine.aioquic.factory"),
        ("cryptography", "quicdist.carrier.security.certificates"),
        ("cryptography", "quicdist.carrier.security.credentials"),
        ("cryptography", "quicdist.carrier.security.key_material"),
        ("cryptography", "quicdist.carrier.quic.engine.aioquic.verification"),
        ("dnspython", "quicdist.discovery.dns_client"),
        ("click", "quicdist.cli"),
        ("rich", "quicdist.cli.progress"),
    ],
)
def test_an_import_names_the_installed_and_the_needed_version(tmp_path: Path, name: str, module: str) -> None:
    metadata = tmp_path / f"{name}-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    lowest, below = dependencies.SUPPORTED[name]
    needed = f"{name}>={lowest},<{below}"
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: quicdist needs {needed}, but {name} 1.0 is installed: pip install '{needed}'"
    )


def test_every_supported_python_is_in_the_matrix() -> None:
    oldest = project()["requires-python"].removeprefix(">=")
    assert pythons()[0] == oldest
    minors = [int(python.partition(".")[2]) for python in pythons()]
    assert minors == list(range(minors[0], minors[-1] + 1))


def test_the_workflow_runs_every_python_with_lowest_and_newest_versions() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    (listed,) = re.findall(r"^        python: \[(.*)\]$", workflow, re.MULTILINE)
    assert listed == ", ".join(f'"{python}"' for python in pythons())
    (bounds,) = re.findall(r"^        bound: \[(.*)\]$", workflow, re.MULTILINE)
    assert bounds == ", ".join(BOUNDS)


@pytest.mark.parametrize("python", pythons())
def test_the_lowest_version_of_every_dependency_is_known(python: str) -> None:
    lowest, newest = (constraints(Cell(python, bound)) for bound in BOUNDS)
    assert newest == []
    names = [line.partition("==")[0] for line in lowest]
    assert names == [each.name for each in requirements("test", python=python)]
    assert len(names) == len(set(names))
