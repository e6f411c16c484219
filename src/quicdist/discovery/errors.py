"""Errors of finding and registering nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quicdist.carrier import Address
from quicdist.errors import QuicDistError


class DiscoveryError(QuicDistError):
    """A node could not be found, listed or registered. Raised itself where a host name has no address (of
    the family asked for)."""


class Looked(NamedTuple):
    """A place where a node was looked up, and the result there."""

    where: str
    result: str

    def __str__(self) -> str:
        return f"{self.where}: {self.result}"


class NodeNotFound(DiscoveryError, LookupError):
    """No address is known for ``node``; ``looked`` names each place asked, and its answer."""

    def __init__(self, node: str, looked: Sequence[Looked]) -> None:
        super().__init__(f"no address for {node}; " + "; ".join(map(str, looked)))
        self.node = node
        self.looked = tuple(looked)


class NodeNameTaken(DiscoveryError):
    """Another node of this name is registered already (OTP's ``duplicate_name``)."""

    def __init__(self, node: str, where: str) -> None:
        super().__init__(f"the name {node} is taken: {where} has another node of that name")
        self.node = node
        self.where = where


class DnsError(DiscoveryError):
    """The DNS did not answer a question, or not in time; ``question`` is its name and type, ``reason`` why.

    An answer that there is no such name or record is not an error.
    """

    def __init__(self, question: str, reason: str) -> None:
        super().__init__(f"DNS question {question}: {reason}")
        self.question = question
        self.reason = reason


class EpmdError(DiscoveryError):
    """The epmd at ``address`` did not do what was asked of it. Raised itself where its answer is not one
    of epmd's protocol (OTP's ``garbage_from_epmd``). ``reason`` says what is wrong."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(f"epmd at {address}: {reason}")
        self.address = address
        self.reason = reason


class EpmdUnreachable(EpmdError):
    """No epmd answers at that address."""


class EpmdTimeout(EpmdError, TimeoutError):
    """The epmd took the request and did not answer it in time."""
