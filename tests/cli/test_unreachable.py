"""What the command adds to the error of a node that it could not reach."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from quicdist import NotConnected
from quicdist.carrier import CertificateRefused, ConnectError, PeerUnreachable, SetupTimeout
from quicdist.cli import unreachable

NODE = "a@127.0.0.1"
HINT = f"; epmd knows {NODE}: try tcp://{NODE}, or tls://"


def silent_after_our_digest() -> SetupTimeout:
    error = SetupTimeout(NODE, None, "no answer")
    error.digest_unanswered = True
    return error


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (PeerUnreachable(NODE, None, "connection refused"), HINT),
        (SetupTimeout(NODE, None, "no answer"), HINT),
        (silent_after_our_digest(), ""),
        (CertificateRefused(NODE, None, "unknown CA"), ""),
        (ConnectError(NODE, None, "wrong cookie"), ""),
    ],
    ids=["refused", "silent", "silent after our digest", "certificate", "cookie"],
)
async def test_another_carrier_is_proposed_only_for_a_node_that_did_not_answer(
    monkeypatch: pytest.MonkeyPatch, attempt: ConnectError, hint: str
) -> None:
    async def in_epmd(node: str) -> bool:
        return True

    monkeypatch.setattr(unreachable, "_in_epmd", in_epmd)
    node: Any = SimpleNamespace(endpoints=[SimpleNamespace(carrier=SimpleNamespace(family="quic"))])
    error = NotConnected(NODE, (attempt,))
    await unreachable.explain(error, node)
    assert error.__notes__ == [f"carrier: quic{hint}"]
