"""The processes of a run, as the one who measures sees them."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
_PAGE = resource.getpagesize()


class ProcessError(Exception):
    """A process ended, failed, or did not answer in time."""


class NodeProcess:
    """One process of :mod:`tests.hostile.node`."""

    def __init__(
        self,
        kind: str,
        options: dict[str, Any],
        *,
        timeout: float = 30.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._waiting: dict[int, Future[Any]] = {0: Future()}
        self._next = 0
        self._lock = threading.Lock()
        self._ended = False
        ready = self._waiting[0]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.node", kind, json.dumps(options)],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                **(environment or {}),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            #: What it says of itself once it runs.
            self.ready: dict[str, Any] = self._result(ready, timeout)
        except ProcessError:
            self.close()
            raise

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.startswith(b"{"):
                continue
            answer = json.loads(line)
            with self._lock:
                future = self._waiting.pop(answer["id"], None)
            if future is None:
                continue
            if "error" in answer:
                future.set_exception(ProcessError(f"{self.kind}: {answer['error']}"))
            else:
                future.set_result(answer["value"])
        with self._lock:
            self._ended = True
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(ProcessError(f"{self.kind}: the process ended{self._wrote()}"))

    def ask(self, what: str, **arguments: Any) -> Future[Any]:
        """Have it do something; a future of what comes of it."""
        future: Future[Any] = Future()
        assert self.process.stdin is not None
        with self._lock:
            if self._ended:
                raise ProcessError(f"{self.kind}: the process has ended{self._wrote()}")
            self._next += 1
            number = self._next
            self._waiting[number] = future
        try:
            request = {"id": number, "do": what, "with": arguments}
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise ProcessError(f"{self.kind}: {error}{self._wrote()}") from error
        return future

    def do(self, what: str, *, timeout: float = 30.0, **arguments: Any) -> Any:
        """Have it do something, and wait for what comes of it."""
        return self._result(self.ask(what, **arguments), timeout)

    def _result(self, future: Future[Any], timeout: float) -> Any:
        try:
            return future.result(timeout)
        except FutureTimeout:
            raise ProcessError(f"{self.kind}: no answer within {timeout:g} s{self._wrote()}") from None

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def rss(self) -> int:
        """Bytes resident now; 0 if it has ended."""
        try:
            with open(f"/proc/{self.process.pid}/statm") as file:
                return int(file.read().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    def _wrote(self) -> str:
        try:
            self._errors.seek(0)
            text = self._errors.read().decode(errors="replace").strip()
        except ValueError:
            return ""
        return f"; it wrote:\n{text[-1500:]}" if text else ""

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()  # nobody waits for its goodbye
        self.process.wait()
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self._reader.join(5)
        self.process.stdout.close()
        self._errors.close()
