"""Nodes in one event loop: one that is alone, and two over TCP, without epmd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from quicdist import Node, Process

COOKIE = "otp tests"


@pytest_asyncio.fixture
async def node() -> AsyncIterator[Node]:
    """A node without carriers."""
    async with Node("alone@127.0.0.1", cookie=COOKIE, endpoints=[]) as alone:
        yield alone


@pytest_asyncio.fixture
async def one(two: Node) -> AsyncIterator[Node]:
    """A node that knows where ``two`` listens."""
    nodes = {two.name: ("127.0.0.1", two.addresses[0].port)}
    options: dict[str, Any] = {"cookie": COOKIE, "carrier": "tcp", "epmd": False, "listen": False}
    async with Node("one@127.0.0.1", nodes=nodes, **options) as first:
        yield first


@pytest_asyncio.fixture
async def two() -> AsyncIterator[Node]:
    """A node that listens."""
    async with Node("two@127.0.0.1", cookie=COOKIE, carrier="tcp", epmd=False, host="127.0.0.1") as second:
        yield second


async def ended(process: Process) -> Any:
    """Wait for the end of a process; its exit reason."""
    over = asyncio.Event()
    process.on_end(over.set)
    await over.wait()
    return process.exit_reason
