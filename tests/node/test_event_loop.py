"""Nodes on another event loop than asyncio's own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from quicdist import Node, Process, make_development_certificates, run
from quicdist.node import event_loop


async def loop_of() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_loop, "new_event_loop", None)
    assert run(loop_of()).startswith("asyncio")


@pytest.mark.parametrize("carrier", ["tcp", "quic"])
def test_nodes_on_uvloop(carrier: str, tmp_path: Path) -> None:
    async def main() -> None:
        assert (await loop_of()) == "uvloop"
        files = make_development_certificates(tmp_path)
        options: dict[str, Any] = {"cookie": "uv", "carrier": carrier, "epmd": False}
        if carrier == "quic":
            options |= {"cacert": files.ca, "cert": files.cert, "key": files.key}
        async with Node("two@127.0.0.1", host="127.0.0.1", port=0, **options) as two:

            @two.process("echo")
            def echo(process: Process, message: Any) -> None:
                process.send(message[0], message[1])

            nodes = {two.name: ("127.0.0.1", two.addresses[0].port)}
            async with Node("one@127.0.0.1", nodes=nodes, listen=False, **options) as one:
                got: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                asked = one.spawn(lambda _, message: got.set_result(message))
                await one.connect(two.name)
                one.send(("echo", two.name), (asked.pid, bytes(1 << 20)))
                assert await got == bytes(1 << 20)

    run(main())
