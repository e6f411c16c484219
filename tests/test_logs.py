"""Loggers that never raise, the rate limit, and escaping of peers' texts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quicdist.logs import ARGUMENT_LIMIT, CleanLogger, Lines, RateLimit, clean, get_logger

NAME = "quicdist.test_logs"


class Handler(logging.Handler):
    """Does ``action`` with each record."""

    def __init__(self, action: Callable[[logging.LogRecord], object]) -> None:
        super().__init__()
        self._action = action

    def emit(self, record: logging.LogRecord) -> None:
        self._action(record)


def raises(error: BaseException) -> Callable[[logging.LogRecord], bool]:
    def action(record: logging.LogRecord) -> bool:
        raise error

    return action


@pytest.fixture
def target() -> Iterator[logging.Logger]:
    """The standard library's logger, in level DEBUG, with no handlers but those a test adds."""
    logger = logging.getLogger(NAME)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    logger.handlers.clear()
    logger.filters.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


ERRORS = [
    ValueError("full"),
    Exception(),
    asyncio.CancelledError(),
    SystemExit(3),
    GeneratorExit(),
    StopIteration(1),
    RecursionError("deep"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["debug", "info", "warning", "error", "critical", "exception"])
def test_an_exception_of_a_handler_is_printed_and_not_raised(
    target: logging.Logger, error: BaseException, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target.addHandler(Handler(raises(error)))
    getattr(get_logger(NAME), method)("line of %s", "test", exc_info=False)
    told = capsys.readouterr().err
    assert told.startswith("--- Logging error ---\nTraceback")
    assert type(error).__name__ in told
    assert told.endswith(f"Logger: {NAME}\nMessage: 'line of %s'\n")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_exception_of_a_filter_is_not_raised(target: logging.Logger, error: BaseException) -> None:
    target.addFilter(raises(error))
    get_logger(NAME).log(logging.INFO, "line")
    target.filters.clear()
    handler = Handler(lambda record: None)
    handler.addFilter(raises(error))
    target.addHandler(handler)
    get_logger(NAME).log(logging.INFO, "line")


def test_an_exception_of_an_argument_is_not_raised(target: logging.Logger) -> None:
    class Unprintable:
        def __repr__(self) -> str:
            raise SystemExit(1)

    target.addHandler(logging.StreamHandler())
    get_logger(NAME).error("%r", Unprintable())


def test_a_keyboard_interrupt_propagates(target: logging.Logger) -> None:
    target.addHandler(Handler(raises(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        get_logger(NAME).error("line")


def test_an_exception_of_a_handler_is_not_printed_without_raise_exceptions(
    target: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    target.addHandler(Handler(raises(SystemExit())))
    get_logger(NAME).error("line")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stream", [None, "broken"])
def test_an_exception_of_a_handler_is_dropped_if_standard_error_fails(
    target: logging.Logger, monkeypatch: pytest.MonkeyPatch, stream: str | None
) -> None:
    class Broken:
        def write(self, text: str) -> None:
            raise SystemExit(text)

    monkeypatch.setattr("sys.stderr", stream and Broken())
    target.addHandler(Handler(raises(ValueError())))
    get_logger(NAME).error("line")


def test_records_name_the_caller(target: logging.Logger) -> None:
    records: list[logging.LogRecord] = []
    target.addHandler(Handler(records.append))
    log = get_logger(NAME)
    for method in (log.debug, log.info, log.warning, log.error, log.critical, log.exception):
        method("line %d", 1, extra={"node": "a@h"})
    log.log(logging.INFO, "line %d", 1, extra={"node": "a@h"})

    def helper() -> None:
        log.info("line %d", 1, stacklevel=2, extra={"node": "a@h"})

    helper()
    assert [record.pathname for record in records] == [__file__] * 8
    assert {record.funcName for record in records} == {"test_records_name_the_caller"}
    assert {record.module for record in records} == {"test_logs"}
    assert {(record.getMessage(), record.__dict__["node"]) for record in records} == {("line 1", "a@h")}


def test_exception_has_the_error_that_is_handled(target: logging.Logger) -> None:
    records: list[logging.LogRecord] = []
    target.addHandler(Handler(records.append))
    error = ValueError("what")
    try:
        raise error
    except ValueError:
        get_logger(NAME).exception("line")
    info = records[0].exc_info
    assert info is not None
    assert info[1] is error


def test_a_disabled_level_is_not_formatted(target: logging.Logger) -> None:
    target.setLevel(logging.WARNING)
    target.addHandler(Handler(raises(AssertionError())))
    log = get_logger(NAME)
    log.info("%s")
    assert not log.isEnabledFor(logging.INFO)
    assert log.isEnabledFor(logging.WARNING)


def test_a_clean_logger_escapes_and_cuts_records_of_a_library(target: logging.Logger) -> None:
    records: list[logging.LogRecord] = []
    target.addHandler(Handler(records.append))
    clean_logger: Any = CleanLogger(target)
    adapter = logging.LoggerAdapter(clean_logger, {})
    adapter.warning("reason: %s", "one\ntwo\x1b[31m")
    adapter.info("x" * 2000)
    adapter.warning(ValueError("100%\n"))
    adapter.debug("%d", "not a number")
    texts = [record.getMessage() for record in records]
    assert texts == ["reason: one\\ntwo\\x1b[31m", "x" * 1000 + "...", "100%\\n"]
    assert [record.pathname for record in records] == [__file__] * 3


# -- the rate limit ----------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_limit_announces_suppression_and_counts_suppressed_lines() -> None:
    clock = Clock()
    limit = RateLimit(2, 60.0, clock=clock)
    assert limit.admit("a") == ""
    clock.now = 20.0
    assert limit.admit("a") == " (more like it are left out for 40 s)"
    assert [limit.admit("a") for _ in range(3)] == [None] * 3
    assert limit.admit("b") == ""
    clock.now = 60.0
    assert limit.admit("a") == " (3 more like it left out before)"
    clock.now = 120.0
    assert limit.admit("a") == ""


def test_a_rate_limit_of_one_line_announces_and_counts_in_one_line() -> None:
    clock = Clock()
    limit = RateLimit(1, 10.0, clock=clock)
    assert limit.admit() == " (more like it are left out for 10 s)"
    assert limit.admit() is None
    clock.now = 10.0
    assert limit.admit() == " (1 more like it left out before) (more like it are left out for 10 s)"


def test_a_rate_limit_bounds_its_number_of_keys() -> None:
    clock = Clock()
    limit = RateLimit(2, 60.0, keys=3, clock=clock)
    admitted = [limit.admit(key) for key in range(1000)]
    assert sum(note is not None for note in admitted) == 3 + 2
    # Once the period is over, others have their place.
    clock.now = 60.0
    assert limit.admit("new") == ""
    assert limit.admit("new") == " (more like it are left out for 60 s)"


# -- text of peers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@host", "a@host"),
        ("größe 木", "größe 木"),
        ("", ""),
        ("one\ntwo\r\x1b[31m", "one\\ntwo\\r\\x1b[31m"),
        ("\u202eevil\u2028", "\\u202eevil\\u2028"),
        ("\ud800", "\\ud800"),
        (b"bytes \xff\n", "bytes \\xff\\n"),
        ("x" * 17, "x" * 16 + "..."),
        (b"x" * 16, "x" * 16),
    ],
)
def test_text_of_a_peer_is_escaped_and_cut(text: str | bytes, expected: str) -> None:
    assert clean(text, 16) == expected


class TestArguments:
    """What peers chose never begins a line of its own, nor fills the disk."""

    @pytest.mark.parametrize(
        "text",
        ["a\nb", "a\rb", "\x1b[31mred", "a\u2028b", "a\u202eb", "a\x85b", "\ud800", "a\0b", "x" * 1_000_000],
        ids=["LF", "CR", "escape", "separator", "override", "NEL", "surrogate", "NUL", "long"],
    )
    def test_arguments_are_escaped_and_cut(self, text: str, caplog: pytest.LogCaptureFixture) -> None:
        class Named:
            def __str__(self) -> str:
                return text

            def __repr__(self) -> str:
                return f"<{text}>"

        log = get_logger("quicdist.test")
        log.warning("%s, %s, %r and %s", text, Named(), Named(), ValueError(text))
        (record,) = caplog.records
        line = record.getMessage()
        assert line.isprintable()
        assert len(line) < 4 * (ARGUMENT_LIMIT + 10)
        assert line.endswith(("...", "a\\nb")) or "\\" in line

    def test_numbers_and_texts_of_lines_are_unchanged(self, caplog: pytest.LogCaptureFixture) -> None:
        log = get_logger("quicdist.test")
        log.warning("%d %.1f %s %s", 3, 2.5, True, Lines("one\n  two"))
        (record,) = caplog.records
        assert record.getMessage() == "3 2.5 True one\n  two"
