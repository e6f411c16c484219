"""The fixtures of the pytest plugin for coroutines, which need pytest-asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from quicdist import Node
from quicdist.testing.names import node_names


@pytest_asyncio.fixture
async def _quicdist_node_async(quicdist_options: dict[str, Any]) -> AsyncIterator[Node]:
    async with Node(next(node_names()), **quicdist_options) as node:
        yield node


@pytest_asyncio.fixture
async def _quicdist_pair_async(quicdist_options: dict[str, Any]) -> AsyncIterator[tuple[Node, Node]]:
    names = node_names()
    async with Node(next(names), **quicdist_options) as one, Node(next(names), **quicdist_options) as two:
        yield one, two
