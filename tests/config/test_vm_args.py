"""``vm.args`` split and made into flags as ``erl -args_file`` and ``init`` do it."""

from __future__ import annotations

from pathlib import Path

import pytest

from quicdist.config import ConfigError
from quicdist.config.vm_args import MAX_FILES, Flags, read_vm_args, split_arguments
from quicdist.term import parse_term
from tests.support.beam import Beam

FILES = {
    "typical": """
## Node name
-name node1@127.0.0.1
-setcookie secret   # not a secret
# -setcookie other
-proto_dist quic
-epmd_module quic_epmd
-start_epmd false
-quic_dist_port 4433
-kernel net_ticktime 8 inet_dist_listen_min 9100
-kernel inet_dist_listen_max 9200
+zdbbl 32768
+K true
-env ERL_EPMD_PORT 4370 -hidden
""",
    "quoting": """
-a "two words" 'and #3' it\\'s b"c d"e'f g' "" '' end\\ of\\ it
-b back\\\\slash "in \\ quotes" new\\
line# comment
-c "over
two lines" tab\there
-d 'unfinished
""",
    "sections": """
-flag one -- plain two
-eval "io:format(1)" -s m f a -run x
three -- four
-x
""",
    "extra": "-a 1 -extra -b 2 #none\n'3 4'",
    "repeated": "-pa one -pa two three -pa\n-quic_dist nodes '[]' -quic_dist cert c.pem\n",
    "comments": "-a#b\n-c d#e f\n#-g\n-h '#' \\# \"#\"",
    "nothing": "\n  # nothing\n\t\v\f\r\n",
}

#: What erl adds by itself.
_OWN = {"root", "progname", "home", "bindir", "noshell", "noinput", "args_file", "epmd_port"}


def flags_of(tmp_path: Path, text: str) -> Flags:
    path = tmp_path / "vm.args"
    path.write_text(text)
    return read_vm_args(path, {})


@pytest.mark.beam
@pytest.mark.parametrize("name", FILES)
def test_flags_are_the_same_as_in_init_of_a_beam(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ERL_EPMD_PORT", raising=False)
    text = FILES[name].replace("-name node1@127.0.0.1", "-nome node1@127.0.0.1").replace("-eval", "-evil")
    text = text.replace("-proto_dist", "-proto_dost").replace("-s m f a -run x", "-sx m f a -rin x")
    path = tmp_path / "vm.args"
    path.write_text(text)
    found = read_vm_args(path, {})
    # Not by `beam`: these are the arguments that erl itself is started with.
    with Beam(["-args_file", str(path)]) as beam:
        known = parse_term(beam.eval_now("init:get_arguments()"))
        plain = parse_term(beam.eval_now("init:get_plain_arguments()"))
        port = beam.eval_now('os:getenv("ERL_EPMD_PORT")')
    theirs: dict[str, list[list[str]]] = {}
    for flag, values in known:
        if str(flag) not in _OWN:
            theirs.setdefault(str(flag), []).append([_text(value) for value in values])
    assert found.flags == theirs
    # OTP 25 ends the file with a "--" even behind -extra, where it is an argument.
    assert found.plain == [_text(value) for value in plain if _text(value) != "--"]
    assert found.environ.get("ERL_EPMD_PORT") == ("4370" if "4370" in port else None)


def _text(value: object) -> str:
    assert isinstance(value, list)
    return "".join(map(chr, value))


@pytest.mark.beam
@pytest.mark.parametrize("more", ["", "-extra e"])
def test_args_file_includes_other_files(more: str, tmp_path: Path) -> None:
    inner = tmp_path / "inner.args"
    inner.write_text(f"-c d\n{more}")
    outer = tmp_path / "outer.args"
    outer.write_text(f"-a b\n-args_file {inner} x\n-g h -extra -f")
    found = read_vm_args(outer, {})
    with Beam(["-args_file", str(outer)]) as beam:
        for flag in ("a", "c", "g"):
            assert beam.eval_now(f"init:get_argument({flag})") == f"{{ok,{_shown(found.all(flag))}}}"
        plain = parse_term(beam.eval_now("init:get_plain_arguments()"))
    assert found.plain == [_text(value) for value in plain if _text(value) != "--"]


def _shown(occurrences: list[list[str]]) -> str:
    return "[" + ",".join("[" + ",".join(f'"{word}"' for word in words) + "]" for words in occurrences) + "]"


def test_a_typical_file(tmp_path: Path) -> None:
    found = flags_of(tmp_path, FILES["typical"])
    assert found.flags == {
        "name": [["node1@127.0.0.1"]],
        "setcookie": [["secret"]],
        "proto_dist": [["quic"]],
        "epmd_module": [["quic_epmd"]],
        "start_epmd": [["false"]],
        "quic_dist_port": [["4433"]],
        "kernel": [["net_ticktime", "8", "inet_dist_listen_min", "9100"], ["inet_dist_listen_max", "9200"]],
        "hidden": [[]],
    }
    assert found.environ == {"ERL_EPMD_PORT": "4370"}
    assert found.emulator == ["+zdbbl", "32768", "+K", "true"]


def test_quotes() -> None:
    assert split_arguments(FILES["quoting"]) == [
        *("-a", "two words", "and #3", "it's", "bc def g", "", "", "end of it"),
        *("-b", "back\\slash", "in \\ quotes", "new\nline"),
        *("-c", "over\ntwo lines", "tab", "here", "-d", "unfinished\n"),
    ]


def test_single_and_first_argument_of_a_flag(tmp_path: Path) -> None:
    found = flags_of(tmp_path, "-a 1 -a 2 3 -b -c 4")
    assert [found.single(flag) for flag in "abcd"] == [None, None, "4", None]
    assert [found.first(flag) for flag in "abcd"] == ["1", None, "4", None]


def test_variables(tmp_path: Path) -> None:
    path = tmp_path / "vm.args"
    path.write_text(
        "-setcookie ${COOKIE}\n-kernel net_ticktime ${TICK:-8} x ${EMPTY:-e}\n-a '${NOT_SET}' # ${NEITHER}"
    )
    found = read_vm_args(path, {"COOKIE": "se cret", "EMPTY": ""})
    assert found.flags == {
        "setcookie": [["se", "cret"]],
        "kernel": [["net_ticktime", "8", "x", "e"]],
        "a": [["${NOT_SET}"]],
    }
    path.write_text("-name ${NODE_NAME}")
    with pytest.raises(ConfigError, match=r"vm\.args: -name: the environment variable NODE_NAME is not set$"):
        read_vm_args(path, {})


class TestErrors:
    def test_a_missing_file_is_a_config_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"nothing: cannot be read: No such file or directory$"):
            read_vm_args(tmp_path / "nothing", {})

    def test_a_file_in_another_encoding_is_a_config_error(self, tmp_path: Path) -> None:
        path = tmp_path / "vm.args"
        path.write_bytes(b"-a b\n-c \xff\n")
        with pytest.raises(ConfigError, match=r"vm\.args:2: invalid utf-8$"):
            read_vm_args(path, {})

    def test_a_file_that_is_too_large_is_a_config_error(self, tmp_path: Path) -> None:
        path = tmp_path / "vm.args"
        with path.open("wb") as file:
            file.truncate(16 * 1024 * 1024 + 1)
        with pytest.raises(ConfigError, match="larger than 16777216 bytes"):
            read_vm_args(path, {})

    @pytest.mark.parametrize("flag", ["-name", "-sname", "-env X", "-args_file", "-start_epmd"])
    def test_a_flag_without_its_argument_is_a_config_error(self, flag: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=f"{flag.split()[0]} without"):
            flags_of(tmp_path, flag)

    def test_a_file_that_includes_itself_is_a_config_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=f"more than {MAX_FILES} files"):
            flags_of(tmp_path, f"-args_file {tmp_path}/vm.args")
