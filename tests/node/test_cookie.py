"""The cookie file, by the rules of OTP's auth.erl; the last test asks a BEAM."""

from __future__ import annotations

from pathlib import Path

import pytest

from quicdist import CookieError
from quicdist.node.cookie import read_cookie
from tests.support.beam import Beam


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


def write(path: Path, content: bytes, mode: int = 0o400) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


@pytest.mark.parametrize("content", [b"SECRET", b"SECRET\n", b"SECRET \r\n\n"])
def test_trailing_white_space_is_not_part_of_it(home: Path, content: bytes) -> None:
    write(home / ".erlang.cookie", content)
    assert read_cookie(home) == "SECRET"


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o600 | 0o020])
def test_a_file_open_to_others_is_refused(home: Path, mode: int) -> None:
    write(home / ".erlang.cookie", b"SECRET", mode)
    with pytest.raises(CookieError, match="owner only"):
        read_cookie(home)


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"caf\xc3\xa9", b"x" * 300])
def test_a_file_without_a_cookie_is_refused(home: Path, content: bytes) -> None:
    write(home / ".erlang.cookie", content)
    with pytest.raises(CookieError):
        read_cookie(home)


def test_a_directory_is_refused(home: Path) -> None:
    (home / ".erlang.cookie").mkdir()
    with pytest.raises(CookieError):
        read_cookie(home)


def test_the_second_place_to_look(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / ".config/erlang/.erlang.cookie", b"BELOW_HOME")
    assert read_cookie(home) == "BELOW_HOME"
    write(home / "xdg/erlang/.erlang.cookie", b"XDG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    assert read_cookie(home) == "XDG"
    write(home / ".erlang.cookie", b"FIRST")
    assert read_cookie(home) == "FIRST"


def test_a_missing_one_is_made(home: Path) -> None:
    cookie = read_cookie(home)
    path = home / ".erlang.cookie"
    assert len(cookie) == 20
    assert cookie.isascii()
    assert cookie.isupper()
    assert path.stat().st_mode & 0o777 == 0o400
    assert read_cookie(home) == cookie


@pytest.mark.beam
def test_a_beam_takes_the_same(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = read_cookie(home)
    monkeypatch.setenv("HOME", str(home))
    with Beam(["-sname", "cookie_reader"]) as beam:
        assert beam.eval_now("erlang:get_cookie()") == f"'{cookie}'"
