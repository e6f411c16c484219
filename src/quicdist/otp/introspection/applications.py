"""``application:which_applications/0``: the program, quicdist and the other libraries as applications.

OTP: ``application(3)``. Two of them have processes: ``quicdist`` those of the node itself, the program all
others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from quicdist.node.local_node import LocalNode
from quicdist.otp.introspection.refusals import UNDEFINED, Export, local_process
from quicdist.otp.introspection.versions import QUICDIST, Application, libraries, program
from quicdist.term import Atom

_OK = Atom("ok")
_VSN, _DESCRIPTION = Atom("vsn"), Atom("description")


class ApplicationFunctions:
    """The functions, with their names and arities on a BEAM."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node

    def exports(self) -> Iterator[Export]:
        yield "application", "which_applications", self.which_applications
        yield "application", "loaded_applications", self.which_applications
        yield "application", "get_application", self.get_application
        yield "application", "get_key", self.get_key

    async def all(self) -> list[Application]:
        """The program first, then the libraries that are loaded."""
        # In a thread, because the first call reads many files.
        return await asyncio.to_thread(lambda: [program(), *libraries()])

    async def which_applications(self, timeout: Any = None) -> list[Any]:
        return [application.to_term() for application in await self.all()]

    async def get_key(self, name: Any, key: Any) -> Any:
        for application in await self.all():
            if name == Atom(application.name):
                _, description, version = application.to_term()
                value = {_VSN: version, _DESCRIPTION: description}.get(key)
                return UNDEFINED if value is None else (_OK, value)
        return UNDEFINED

    async def get_application(self, pid: Any) -> Any:
        process = local_process(self._node.runtime, pid)
        if process is None:
            return UNDEFINED
        is_own = process.pid in self._node.runtime.kernel_processes
        return (_OK, Atom(QUICDIST if is_own else (await self.all())[0].name))
