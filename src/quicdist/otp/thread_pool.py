"""Threads for blocking exports: one for each call, as each call on a BEAM has a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

#: Calls that may run at once. One that nobody waits for any more counts until its function returns.
MAX_RUNNING = 1000
#: Seconds for which a thread waits for another call.
IDLE_TIME = 5.0


class ThreadPool:
    """Runs each job in a thread that no other job uses meanwhile.

    Threads are started when they are needed and end when they have been idle for ``idle_time``
    seconds. All are daemons: none keeps the interpreter from ending, even if its job never returns.
    """

    def __init__(self, limit: int = MAX_RUNNING, idle_time: float = IDLE_TIME) -> None:
        self._limit = limit
        self._idle_time = idle_time
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._running = 0

    def start(self, name: str, job: Callable[[], object]) -> bool:
        """Run ``job`` in a thread, which is called ``name`` meanwhile. ``job`` must not raise.

        False if ``limit`` jobs are running already, or the system gives no more threads.
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
        """The worker has done its job; whether another one came before it had waited too long."""
        with self._lock:
            self._running -= 1
            self._idle.append(worker)
        if worker.has_job.acquire(timeout=self._idle_time):
            return True
        with self._lock:
            if worker in self._idle:
                self._idle.remove(worker)
                return False
        return worker.has_job.acquire()  # it was given one just now


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
            del job  # what it holds must not live as long as an idle thread
            self._thread.name = "quicdist idle"
            if not self._threads._wait(self):
                return
