"""``sys.config``: what each application's environment is, merged as ``application_controller`` does.

Source: OTP's ``application_controller`` (``check_conf``, ``check_conf_sys``, ``merge_env``); Kernel
Reference Manual, *config*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from quicdist.config.errors import ConfigError
from quicdist.config.files import left_over, read_text, replace_variables
from quicdist.config.values import NotText, text_of
from quicdist.term import Atom, ParseError, format_term, parse_terms

#: Files one ``sys.config`` may name.
MAX_INCLUDED = 100


class Parameter(NamedTuple):
    """One parameter of an application, and where it stands."""

    value: Any
    source: str


#: By application, by parameter.
Environment = dict[str, dict[str, Parameter]]


def read_config_file(path: Path, environ: Mapping[str, str]) -> Environment:
    """The environment that a configuration file gives, with those of the files that it names.

    Only a file called ``sys.config`` may name others: relative to its own directory if they are
    there, to the working directory otherwise. Raises :class:`ConfigError`.
    """
    elements = _elements(path, environ)
    names = [name for name in map(_file_name, elements) if name is not None]
    if path.name.removesuffix(".src").removesuffix(".config") != "sys":
        if names:
            raise ConfigError(str(path), f"it names the file {names[0]}: only a sys.config may")
        return _environment(elements, str(path))
    if len(names) > MAX_INCLUDED:
        raise ConfigError(str(path), f"it names {len(names)} files: {MAX_INCLUDED} at most expected")
    merged: Environment = {}
    for element in elements:
        name = _file_name(element)
        if name is None:
            merge(merged, _environment([element], str(path)))
        else:
            other = _included(path, name)
            merge(merged, _environment(_elements(other, environ), str(other)))
    return merged


def merge(into: Environment, more: Environment) -> None:
    """Let the parameters of ``more`` take the place of those in ``into``; no parameter is merged with
    another."""
    for application, parameters in more.items():
        into.setdefault(application, {}).update(parameters)


def with_extension(path: Path) -> Path:
    """What ``-config path`` reads: ``.config`` is added where it is not there."""
    return path if path.suffix == ".config" else path.with_name(path.name + ".config")


# -- one file ----------------------------------------------------------------------------------


def _elements(path: Path, environ: Mapping[str, str]) -> list[Any]:
    source = str(path)
    text = replace_variables(read_text(path), environ)
    try:
        # As `load_file` does, so that a full stop at the very end is one.
        terms = parse_terms(text + "\n")
    except ParseError as error:
        where = f"{source}:{error.line}"
        variable = left_over((text.splitlines() or [""])[min(error.line, text.count("\n") + 1) - 1])
        if variable is not None:
            raise ConfigError(where, f"the environment variable {variable} is not set") from error
        raise ConfigError(where, str(error)) from error
    if len(terms) != 1 or not isinstance(terms[0], list):
        raise ConfigError(source, "one list of {Application, [{Parameter, Value}]}, ended by a dot, expected")
    return terms[0]


def _file_name(element: Any) -> str | None:
    if isinstance(element, tuple):
        return None
    try:
        return text_of(element)
    except NotText:
        return None


def _included(path: Path, name: str) -> Path:
    beside = with_extension(path.parent / name)
    return beside if beside.exists() else with_extension(Path(name))


def _environment(elements: Iterable[Any], source: str) -> Environment:
    found: Environment = {}
    for element in elements:
        match element:
            case (Atom() | bool() as application, list(parameters)):
                name = str(application)
            case _:
                raise ConfigError(
                    source, f"{{Application, [{{Parameter, Value}}]}} expected, got {_shown(element)}"
                )
        if name in found:
            raise ConfigError(source, f"the application {name} is configured twice")
        found[name] = {}
        for parameter in parameters:
            match parameter:
                case (Atom() as key, value):
                    if str(key) in found[name]:
                        raise ConfigError(source, f"{name}: the parameter {key} is given twice")
                    found[name][str(key)] = Parameter(value, source)
                case _:
                    raise ConfigError(
                        source, f"{name}: {{Parameter, Value}} expected, got {_shown(parameter)}"
                    )
    return found


def _shown(term: Any) -> str:
    text = format_term(term)
    return text if len(text) <= 80 else text[:79] + "…"
