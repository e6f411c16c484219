"""A user's program under pyright's strict mode, where pyright and its node are installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("user_program.py")


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
def test_a_program_of_a_user_is_clean_in_strict_mode(tmp_path: Path) -> None:
    settings = {"typeCheckingMode": "strict", "include": [PROGRAM.name], "extraPaths": [str(source())]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    (tmp_path / PROGRAM.name).write_text(PROGRAM.read_text())
    command = [sys.executable, "-m", "pyright", "--outputjson", "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if not done.stdout.startswith("{"):
        pytest.skip(f"pyright cannot run: {done.stderr.strip()[-200:]}")
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    assert [each["message"] for each in report["generalDiagnostics"]] == []


def source() -> Path:
    """The directory that holds the package."""
    import quicdist

    return Path(quicdist.__file__).parent.parent
