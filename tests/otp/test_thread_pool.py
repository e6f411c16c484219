"""Threads for blocking exports."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from quicdist.otp.thread_pool import ThreadPool

PATIENCE = 10.0


@contextmanager
def blocked(threads: ThreadPool, count: int) -> Iterator[list[threading.Thread]]:
    """``count`` jobs that run until this is over."""
    release, running = threading.Event(), threading.Semaphore(0)
    workers: list[threading.Thread] = []

    def job() -> None:
        workers.append(threading.current_thread())
        running.release()
        release.wait()

    for number in range(count):
        assert threads.start(f"job {number}", job)
        assert running.acquire(timeout=PATIENCE)
    try:
        yield workers
    finally:
        release.set()


def run(threads: ThreadPool) -> threading.Thread | None:
    """The thread that a job was run in, None if it was refused."""
    seen: list[threading.Thread] = []
    over = threading.Event()

    def job() -> None:
        seen.append(threading.current_thread())
        over.set()

    if not threads.start("run", job):
        return None
    assert over.wait(PATIENCE)
    return seen[0]


def test_each_job_has_a_thread_of_its_own_named_after_it() -> None:
    with blocked(ThreadPool(), 40) as workers:
        assert [worker.name for worker in workers] == [f"job {number}" for number in range(40)]
        assert len(set(workers)) == 40


def test_idle_threads_are_reused_and_end() -> None:
    threads = ThreadPool(idle_time=0.05)
    first = run(threads)
    again = run(threads)
    while again is not first:  # it may have been too early for it
        first, again = again, run(threads)
    assert first is not None
    first.join(PATIENCE)
    assert not first.is_alive()
    assert run(threads) is not first


def test_jobs_beyond_the_limit_are_refused_until_one_is_over() -> None:
    threads = ThreadPool(limit=2)
    with blocked(threads, 2) as workers:
        assert run(threads) is None
    while run(threads) is None:
        workers[0].join(0.001)  # it has been told that it may end its job


def test_a_system_without_threads_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = ThreadPool(limit=1)

    def fails(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fails)
        assert not threads.start("no", threading.Event().wait)
    assert run(threads) is not None  # the refused one takes no place


def test_a_thread_that_never_ends_does_not_keep_the_interpreter() -> None:
    program = (
        "import threading\n"
        "from quicdist.otp.thread_pool import ThreadPool\n"
        "ThreadPool().start('stuck', threading.Event().wait)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
