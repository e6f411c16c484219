"""Faults in what is called without a node around it."""

from __future__ import annotations

import pytest

from quicdist.carrier.security.psk import psk_finder
from tests.containment.faults import ALL, Fault

RAISING = [pytest.param(fault, id=fault.name) for fault in ALL if not (fault.never or fault.needs_task)]


@pytest.mark.parametrize("fault", RAISING)
def test_a_psk_that_cannot_be_looked_up_is_unknown(fault: Fault) -> None:
    assert psk_finder(fault.plain)(b"identity") is None
