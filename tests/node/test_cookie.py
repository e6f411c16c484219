"""The cookie file, by the rules of OTP's auth.erl; the last test asks a BEAM."""

from __future__ import annotations

from pathlib import Path

import pytest

from quicdist import CookieError
from quicdist.node.cookie import read_cookie
from tests.support.beam import Beam
from tests.support.epmd import private_epmd


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


def write(path: Path, content: bytes, mode: int = 0o400) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


#: What a cookie file may hold, and what not; the last test asks a BEAM about each.
ACCEPTED = [
    b"ABC",
    b"ABC\n",
    b"ABC  \n",
    b"  ABC\n",
    b"A B C\n",
    b"   ",
    b"  \n",
    b"ABC\r\n",
    b"ABC \r\n",
    b"ABC\n \n",
    b"ABC\n  \r\n\n ",
    b"ABC" + b"\n" * 3000,
    b"x" * 255,
    b"x" * 255 + b"\n",
]
REFUSED = [
    b"",
    b"\n",
    b"\r\n",
    b"\nABC",
    b"ABC\nDEF\n",
    b"A\rB",
    b"\tABC",
    b"ABC\t\n",
    b"ABC\x7f",
    b"ABC\0",
    b"caf\xc3\xa9",
    b"\xef\xbb\xbfABC\n",
    b"x" * 256,
    b"x" * 255 + b" ",
]


@pytest.mark.parametrize(
    ("content", "cookie"),
    [
        (b"SECRET", "SECRET"),
        (b"SECRET\n", "SECRET"),
        (b"SECRET \r\n\n", "SECRET "),
        (b" a secret\n", " a secret"),
    ],
)
def test_the_cookie_is_the_first_line_with_its_blanks(home: Path, content: bytes, cookie: str) -> None:
    write(home / ".erlang.cookie", content)
    assert read_cookie(home) == cookie


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o600 | 0o020])
def test_a_file_open_to_others_is_refused(home: Path, mode: int) -> None:
    write(home / ".erlang.cookie", b"SECRET", mode)
    with pytest.raises(CookieError, match="owner only"):
        read_cookie(home)


@pytest.mark.parametrize("content", [*REFUSED, b"x" * (1 << 17)])
def test_a_file_without_a_cookie_is_refused(home: Path, content: bytes) -> None:
    write(home / ".erlang.cookie", content)
    with pytest.raises(CookieError):
        read_cookie(home)


def test_a_directory_is_refused(home: Path) -> None:
    (home / ".erlang.cookie").mkdir()
    with pytest.raises(CookieError):
        read_cookie(home)


def test_the_first_cookie_file_that_exists_is_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / ".config/erlang/.erlang.cookie", b"BELOW_HOME")
    assert read_cookie(home) == "BELOW_HOME"
    write(home / "xdg/erlang/.erlang.cookie", b"XDG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    assert read_cookie(home) == "XDG"
    write(home / ".erlang.cookie", b"FIRST")
    assert read_cookie(home) == "FIRST"


def test_a_missing_cookie_file_is_created(home: Path) -> None:
    cookie = read_cookie(home)
    path = home / ".erlang.cookie"
    assert len(cookie) == 20
    assert cookie.isascii()
    assert cookie.isupper()
    assert path.stat().st_mode & 0o777 == 0o400
    assert read_cookie(home) == cookie


@pytest.mark.beam
def test_a_beam_reads_the_cookie_that_was_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = read_cookie(home)
    monkeypatch.setenv("HOME", str(home))
    with Beam(["-sname", "cookie_reader"]) as beam:
        assert beam.eval_now("erlang:get_cookie()") == f"'{cookie}'"


#: The cookie of a node that is started and stopped again, as a binary, or nothing where it cannot start.
COOKIE_OF_A_NEW_NODE = """
(fun() ->
  process_flag(trap_exit, true),
  case net_kernel:start([cookie_reader, shortnames]) of
    {ok, _} -> C = erlang:get_cookie(), ok = net_kernel:stop(), atom_to_binary(C);
    {error, _} -> <<>>
  end
end)()
"""


@pytest.mark.beam
def test_a_beam_reads_the_same_files_and_refuses_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    path = home / ".erlang.cookie"
    write(path, b"FIRST")
    with private_epmd(), Beam() as beam:
        for content in ACCEPTED + REFUSED:
            path.unlink()
            write(path, content)
            theirs = beam.eval_bytes_now(COOKIE_OF_A_NEW_NODE).decode()
            try:
                ours = read_cookie(home)
            except CookieError:
                ours = ""
            assert ours == theirs, content
            assert bool(theirs) == (content in ACCEPTED), content
