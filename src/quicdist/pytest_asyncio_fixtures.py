"""The fixtures of the pytest plugin for coroutines, which pytest-asyncio runs; loaded by the plugin where
pytest-asyncio is. Like the plugin it imports nothing of quicdist before a test asks for one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest_asyncio

if TYPE_CHECKING:
    from quicdist import Node


@pytest_asyncio.fixture
async def _quicdist_node_async(quicdist_options: dict[str, Any]) -> AsyncIterator[Node]:
    from quicdist import Node
    from quicdist.testing.names import node_names

    async with Node(next(node_names()), **quicdist_options) as node:
        yield node


@pytest_asyncio.fixture
async def _quicdist_pair_async(quicdist_options: dict[str, Any]) -> AsyncIterator[tuple[Node, Node]]:
    from quicdist import Node
    from quicdist.testing.names import node_names

    names = node_names()
    async with Node(next(names), **quicdist_options) as one, Node(next(names), **quicdist_options) as two:
        yield one, two
