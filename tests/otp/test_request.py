"""Requests: their answers, time-outs, and being given up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quicdist import CallTimeout
from quicdist.otp.deadline import Deadline
from quicdist.otp.request import Request


class Asked:
    """A request, and whether it was abandoned."""

    def __init__(self) -> None:
        self.abandoned = 0
        self.request: Request[Any] = Request(lambda: "the other", self._abandon)

    def _abandon(self) -> None:
        self.abandoned += 1


async def test_the_first_answer_counts() -> None:
    asked = Asked()
    asked.request.succeed(1)
    asked.request.succeed(2)
    asked.request.fail(ValueError())
    assert asked.request.done()
    assert await asked.request == 1
    assert await asked.request.receive_response(0) == 1
    assert asked.abandoned == 0


async def test_an_error_is_raised_where_the_answer_is_awaited() -> None:
    asked = Asked()
    asked.request.fail(ValueError("no"))
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await asked.request


async def test_a_request_times_out() -> None:
    asked = Asked()
    with pytest.raises(CallTimeout, match=r"the other did not answer within 0\.01 s"):
        await asked.request.receive_response(0.01)
    assert asked.abandoned == 1
    asked.request.succeed(1)
    with pytest.raises(CallTimeout):
        await asked.request


async def test_wait_response_does_not_abandon_the_request() -> None:
    asked = Asked()
    assert not await asked.request.wait_response(0)
    assert not await asked.request.wait_response(0.01)
    waiting = asyncio.ensure_future(asked.request.wait_response(60))
    await asyncio.sleep(0)
    asked.request.succeed(1)
    assert await waiting
    assert asked.abandoned == 0


async def test_cancelling_the_wait_abandons_the_request() -> None:
    asked = Asked()
    waiting = asyncio.ensure_future(asked.request.receive_response())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asked.abandoned == 1


async def test_an_abandoned_request_raises_call_timeout() -> None:
    asked = Asked()
    asked.request.abandon()
    asked.request.abandon()
    assert asked.abandoned == 1
    with pytest.raises(CallTimeout):
        await asked.request


async def test_waits_that_share_a_deadline() -> None:
    assert Deadline(None).left() is None
    assert Deadline(-1.0).left() == 0.0
    left = Deadline(60).left()
    assert left is not None
    assert 0 < left <= 60
