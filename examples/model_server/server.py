"""A model that BEAMs call, in a pool of processes, and that takes large arrays by streams: see README.md."""

from __future__ import annotations

import argparse
import asyncio
import struct
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quicdist
from quicdist import Node, UserStream

Floats = NDArray[np.float32]

#: A row of a stream: 32-bit floats, little-endian; before them the number of rows, 64 bits.
FLOAT = np.dtype("<f4")
HEADER = struct.Struct("<Q")
FEATURES = 4


def weights() -> Floats:
    """The model: in a program of yours, read once for each process of the pool."""
    return np.arange(1, FEATURES + 1, dtype=FLOAT)


def predict(rows: bytes) -> bytes:
    """``model:predict/1``: rows of four floats as a binary, the predictions as a binary. Runs in the pool."""
    features = np.frombuffer(rows, FLOAT).reshape(-1, FEATURES)
    return bytes((features @ weights()).astype(FLOAT).tobytes())


async def predict_stream(stream: UserStream, pool: Executor) -> None:
    """Rows of any number by a stream, and the predictions back: no message is as large as the array."""
    loop = asyncio.get_running_loop()
    (rows,) = HEADER.unpack(await stream.readexactly(HEADER.size))
    batch = 65536
    for start in range(0, rows, batch):
        size = min(batch, rows - start) * FEATURES * FLOAT.itemsize
        features = await stream.readexactly(size)
        await stream.send(await loop.run_in_executor(pool, predict, features))


async def serve(node: Node, pool: Executor) -> None:
    """Offer the model on a node."""
    node.export("model", executor=pool)(predict)
    node.accept_streams(lambda stream: predict_stream(stream, pool))


async def ask(node: Node, server: str, features: Floats) -> Floats:
    """The client's side of a stream, in Python."""
    async with await node.open_stream(server) as stream:

        async def send() -> None:
            await stream.send(HEADER.pack(len(features)))
            await stream.send(np.ascontiguousarray(features, FLOAT).data)
            stream.write_eof()

        sending = asyncio.create_task(send())
        answer = np.empty(len(features), FLOAT)
        await stream.readinto(memoryview(answer.data).cast("B"))
        await sending
        return answer


async def main(options: dict[str, Any]) -> None:
    with ProcessPoolExecutor() as pool:
        async with Node(**options) as node:
            await serve(node, pool)
            await node.run_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="model@127.0.0.1")
    parser.add_argument("--cookie", default="secret")
    given = parser.parse_args()
    quicdist.run(main({"name": given.name, "cookie": given.cookie, "carrier": "tcp"}))
