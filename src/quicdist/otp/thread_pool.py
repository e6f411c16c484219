"""Threads for blocking exports: one for each call, as a call on a BEAM has its own process."""

from __future__ import annotations

import threading
from collections.abc import Callable

#: Calls that run at once. An abandoned call counts until its function returns.
MAX_RUNNING = 1000
#: Seconds until an idle thread ends.
IDLE_TIME = 5.0


class ThreadPool:
    """Runs each job in its own thread; idle threads are reused.

    Threads are started on demand and end after ``idle_time`` seconds without a job. They are daemons: a
    job that never returns does not keep the interpreter from exiting.
    """

    def __init__(self, limit: int = MAX_RUNNING, idle_time: float = IDLE_TIME) -> None:
        self._limit = limit
        self._idle_time = idle_time
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._running = 0

    def start(self, name: str, job: Callable[[], object]) -> bool:
        """Run ``job`` in a thread that is named ``name`` meanwhile. ``job`` must not raise.

        False if ``limit`` jobs run already, or the system cannot start a thread.
        """
        with self._lock:
            if self._running >= self._limit:
                return False
            self._running += 1
            worker = self._idle.pop() if self._idle else None
        if worker is not None:
            worker.give(name, job)
            return True
        try:
            _Worker(self).start(name, job)
        except (RuntimeError, MemoryError):  # can't start new thread
            with self._lock:
                self._running -= 1
            return False
        return True

    def _wait(self, worker: _Worker) -> bool:
        """Wait for the next job of a worker; False if none came within the idle time."""
        with self._lock:
            self._running -= 1
            self._idle.append(worker)
        if worker.has_job.acquire(timeout=self._idle_time):
            return True
        with self._lock:
            if worker in self._idle:
                self._idle.remove(worker)
                return False
        return worker.has_job.acquire()  # it got a job at the last moment


class _Worker:
    """One thread."""

    def __init__(self, threads: ThreadPool) -> None:
        self._threads = threads
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._job: Callable[[], object] | None = None
        self.has_job = threading.Semaphore(0)

    def start(self, name: str, job: Callable[[], object]) -> None:
        self._job = job
        self._thread.name = name
        self._thread.start()

    def give(self, name: str, job: Callable[[], object]) -> None:
        self._job = job
        self._thread.name = name
        self.has_job.release()

    def _work(self) -> None:
        while True:
            job, self._job = self._job, None
            assert job is not None
            job()
            del job  # an idle thread must not hold its objects
            self._thread.name = "quicdist idle"
            if not self._threads._wait(self):
                return
