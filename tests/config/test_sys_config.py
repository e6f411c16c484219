"""``sys.config`` files: what they give, merged as ``application_controller`` merges them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quicdist.config import ConfigError
from quicdist.config.files import replace_variables
from quicdist.config.sys_config import Environment, merge, read_config_file, with_extension
from quicdist.term import Atom, parse_term
from tests.support.beam import Beam


def write(directory: Path, **files: str) -> Path:
    """Files by their name without ``.config``; the path of ``sys.config``."""
    for name, text in files.items():
        (directory / f"{name}.config").write_text(text)
    return directory / "sys.config"


def values(environment: Environment, application: str = "quic") -> dict[str, Any]:
    return {key: parameter.value for key, parameter in environment.get(application, {}).items()}


#: Each a directory of files; the first to be read is sys.config.
CASES = {
    "plain": {"sys": '[{quic, [{dist, [{cert_file, "c.pem"}]}, {dist_port, 4433}]}, {kernel, []}].'},
    "nothing": {"sys": "[]. % nothing\n"},
    "included": {
        "sys": '[{quic, [{dist_port, 1}, {a, 1}]}, "other", {quic, [{b, 2}]}, "more.config"].',
        "other": "[{quic, [{dist_port, 2}, {c, 3}]}].\n",
        "more": "[{quic, [{b, 3}, {dist, #{x => y}}]}].",
    },
    "words": {"sys": '[{quic, [{k, "zw\u00f6lf"}, {l, <<"zw\u00f6lf"/utf8>>}, {m, \'an atom\'}]}].  '},
    "latin1": {"sys": '%% coding: latin-1\n[{quic, [{k, "caf\u00e9"}]}].'},
    "twice": {"sys": "[{quic, [{k, 1}, {l, 1}]}, {quic, [{k, 2}]}]."},
}


@pytest.mark.beam
@pytest.mark.parametrize("name", CASES)
def test_the_environment_is_the_same_as_on_a_beam(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, **CASES[name])
    if name == "latin1":
        path.write_bytes(CASES[name]["sys"].encode("latin-1"))
    # Not by `beam`: it reads its configuration when it starts.
    with Beam(["-config", str(tmp_path / "sys")]) as beam:
        beam.eval_now(
            'ok = application:load({application, quic, [{vsn, ""}, {modules, []}, {registered, []}, '
            "{applications, []}, {env, []}]})"
        )
        theirs = parse_term(beam.eval_now("application:get_all_env(quic)"))
    assert values(read_config_file(path, {})) == {str(key): value for key, value in theirs}


def test_included_files_are_looked_for_beside_the_file_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    write(elsewhere, beside="[{quic, [{a, wrong}]}].", here="[{quic, [{b, here}]}].")
    path = write(tmp_path, sys='["beside", "here"].', beside="[{quic, [{a, beside}]}].")
    assert values(read_config_file(path, {})) == {"a": Atom("beside"), "b": Atom("here")}


def test_later_files_override_earlier_ones() -> None:
    first = {"quic": {"a": 1, "b": 2}, "kernel": {"c": 3}}
    merge(first, {"quic": {"b": 4}, "other": {}})  # type: ignore[arg-type, dict-item]
    assert first == {"quic": {"a": 1, "b": 4}, "kernel": {"c": 3}, "other": {}}


def test_the_extension_is_added_where_it_is_missing() -> None:
    for given, read in (("sys", "sys.config"), ("a/sys.config", "a/sys.config"), ("a.b", "a.b.config")):
        assert with_extension(Path(given)) == Path(read)


class TestVariables:
    def test_variables_are_replaced(self, tmp_path: Path) -> None:
        text = '[{quic, [{dist, [{cert_file, "${DIR:-/etc}/${FILE}"}]}, {dist_port, ${PORT}}]}].'
        found = values(read_config_file(write(tmp_path, sys=text), {"FILE": "c.pem", "PORT": "4501"}))
        assert found["dist_port"] == 4501
        assert found["dist"] == [(Atom("cert_file"), list(b"/etc/c.pem"))]

    def test_an_unset_variable_is_named_where_its_value_is_needed(self, tmp_path: Path) -> None:
        path = write(
            tmp_path, sys='[{x, [{k, "${ANY} $x %${Y}"}]}, % ${COMMENT}\n {quic, [{dist_port, ${PORT}}]}].'
        )
        with pytest.raises(ConfigError, match=r"sys\.config:2: the environment variable PORT is not set$"):
            read_config_file(path, {})
        assert values(read_config_file(path, {"PORT": "1"}), "x")["k"] == list(b"${ANY} $x %${Y}")

    def test_an_unset_variable_with_a_default_gets_it(self) -> None:
        environ = {"A": "a", "EMPTY": ""}
        text = "${A} ${A:-x} ${B:-b} ${B:=c} ${EMPTY}. ${EMPTY:-e} ${B} $A {A} ${1}"
        assert replace_variables(text, environ) == "a a b c . e ${B} $A {A} ${1}"


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("[{quic, []}]", r"sys\.config:\d+: "),
            ("[{quic, [}].", r"sys\.config:1: "),
            ("[].\n[].", r"sys\.config: one list of .* expected$"),
            ("{quic, []}.", r"sys\.config: one list of .* expected$"),
            ("[quic].", r"\{Application, \[\{Parameter, Value\}\]\} expected, got quic$"),
            ("[{quic, x}].", r"expected, got \{quic,x\}$"),
            ('[{"quic", []}].', r'expected, got \{"quic",\[\]\}$'),
            ("[{quic, [dist]}].", r"quic: \{Parameter, Value\} expected, got dist$"),
            ("[{quic, [{k, 1}, {k, 2}]}].", r"quic: the parameter k is set twice$"),
            ('["nothing"].', r"nothing\.config: cannot be read: No such file"),
        ],
    )
    def test_an_invalid_file_is_a_config_error(self, text: str, reason: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=reason):
            read_config_file(write(tmp_path, sys=text), {})

    def test_an_included_file_that_configures_an_application_twice_is_a_config_error(
        self, tmp_path: Path
    ) -> None:
        path = write(tmp_path, sys='["other"].', other="[{quic, []}, {quic, []}].")
        with pytest.raises(ConfigError, match=r"other\.config: the application quic is configured twice$"):
            read_config_file(path, {})

    def test_only_a_sys_config_includes_others(self, tmp_path: Path) -> None:
        write(tmp_path, cluster='["sys"].', sys="[].")
        with pytest.raises(ConfigError, match=r"it includes the file sys: only a sys\.config may do so"):
            read_config_file(tmp_path / "cluster.config", {})

    def test_a_file_that_configures_an_application_twice_is_a_config_error(self, tmp_path: Path) -> None:
        write(tmp_path, cluster="[{quic, []}, {quic, []}].")
        with pytest.raises(ConfigError, match=r"the application quic is configured twice$"):
            read_config_file(tmp_path / "cluster.config", {})

    def test_an_included_file_includes_nothing(self, tmp_path: Path) -> None:
        path = write(tmp_path, sys='["other"].', other='["sys"].')
        with pytest.raises(ConfigError, match=r"other\.config: .* expected, got"):
            read_config_file(path, {})
