"""An HTTP service whose data is in a GenServer of a BEAM: see README.md."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from quicdist import Atom, CallTimeout, Node, NodeError

COUNT, ORDER, OK = Atom("count"), Atom("order"), Atom("ok")


def create_app(shop: str, **options: Any) -> FastAPI:
    """The service; ``shop`` is the BEAM with the GenServer ``stock``, ``options`` are those of the node."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Node(**options) as node:
            app.state.node = node
            yield

    app = FastAPI(lifespan=lifespan)

    async def ask(request: Any) -> Any:
        node: Node = app.state.node
        return await node.gen_server_call(("stock", shop), request, timeout=2.0)

    @app.get("/stock/{item}")
    async def count(item: str) -> dict[str, Any]:
        return {"item": item, "count": await ask((COUNT, item))}

    @app.post("/stock/{item}/orders")
    async def order(item: str, amount: int) -> JSONResponse:
        answer = await ask((ORDER, item, amount))
        if answer[0] != OK:
            return JSONResponse({"item": item, "error": str(answer[1])}, status_code=409)
        return JSONResponse({"item": item, "count": answer[1]})

    @app.exception_handler(CallTimeout)
    async def too_late(request: Request, error: CallTimeout) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=504)

    @app.exception_handler(NodeError)
    async def unavailable(request: Request, error: NodeError) -> JSONResponse:
        # NotConnected, NoSuchProcess, or ProcessEnded: the server has failed.
        return JSONResponse({"error": str(error)}, status_code=503)

    return app


def main() -> FastAPI:
    """The service as the environment describes it: ``uvicorn --factory
    examples.fastapi_service.app:main``."""
    return create_app(
        os.environ.get("SHOP", "shop@127.0.0.1"),
        name=os.environ.get("NODE", "web@127.0.0.1"),
        cookie=os.environ.get("COOKIE", "secret"),
        carrier="tcp",
        listen=False,
    )
