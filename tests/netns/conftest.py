"""Fixtures of the tests in namespaces: without those they are left out, with the reason."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from quicdist import make_development_certificates
from quicdist.carrier.security.certificates import CertificateFiles
from tests.netns.spaces import Spaces, Unavailable
from tests.netns.wire import WEATHER


@functools.cache
def reason_to_leave_out(stormy: bool) -> str | None:
    """Why this machine does not let us have namespaces, with packet loss between them (``stormy``) or not."""

    try:
        Spaces(WEATHER if stormy else None).close()
    except Unavailable as error:
        return " ".join(str(error).split())
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in ("spaces", "stormy", "wires"):
        if name in getattr(item, "fixturenames", ()) and (reason := reason_to_leave_out(name != "spaces")):
            # From here, not from the fixture: pytest then folds them all into one line of its summary.
            pytest.skip(f"netns: {reason}")


@pytest.fixture
def spaces() -> Iterator[Spaces]:
    spaces = Spaces()
    try:
        yield spaces
    finally:
        spaces.close()


@pytest.fixture
def stormy() -> Iterator[Spaces]:
    """Namespaces between which packets are lost, late and doubled."""
    spaces = Spaces(WEATHER)
    try:
        yield spaces
    finally:
        spaces.close()


@pytest.fixture
def wires() -> None:
    """The test makes such namespaces itself."""


@pytest.fixture
def certificates(tmp_path: Path) -> CertificateFiles:
    return make_development_certificates(tmp_path / "certificates")
