"""Reads ``sys.config`` into the environment of each application, merged as ``application_controller`` does.

Source: OTP's ``application_controller`` (``check_conf``, ``check_conf_sys``, ``merge_env``); Kernel
Reference Manual, *config*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from quicdist.config.errors import ConfigError, shown
from quicdist.config.files import read_text, replace_variables, unset_variable
from quicdist.config.values import NotText, text_of
from quicdist.term import Atom, ParseError, parse_terms

#: Files that one ``sys.config`` may include.
MAX_INCLUDED = 100


class Parameter(NamedTuple):
    """The value of a parameter, and the file it comes from."""

    value: Any
    source: str


#: Parameters by application and name.
Environment = dict[str, dict[str, Parameter]]


def read_config_file(path: Path, environ: Mapping[str, str]) -> Environment:
    """The environment in a configuration file, and in the files that it includes.

    Only a file called ``sys.config`` may include others. Their names are relative to its directory, or
    to the working directory where they do not exist there. Raises :class:`ConfigError`.
    """
    elements = _elements(path, environ)
    names = [name for name in map(_file_name, elements) if name is not None]
    if path.name.removesuffix(".src").removesuffix(".config") != "sys":
        if names:
            raise ConfigError(str(path), f"it includes the file {names[0]}: only a sys.config may do so")
        return _environment(elements, str(path))
    if len(names) > MAX_INCLUDED:
        raise ConfigError(str(path), f"it includes {len(names)} files, at most {MAX_INCLUDED} are allowed")
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
    """Override the parameters in ``into`` by those of ``more``. A parameter is replaced as a whole."""
    for application, parameters in more.items():
        into.setdefault(application, {}).update(parameters)


def with_extension(path: Path) -> Path:
    """The file that ``-config path`` reads: ``path`` with ``.config`` added, unless it has that."""
    return path if path.suffix == ".config" else path.with_name(path.name + ".config")


# -- one file --------------------------------------------------------------------------------------


def _elements(path: Path, environ: Mapping[str, str]) -> list[Any]:
    source = str(path)
    text = replace_variables(read_text(path), environ)
    try:
        # As `load_file` does: a full stop is followed by white space.
        terms = parse_terms(text + "\n")
    except ParseError as error:
        where = f"{source}:{error.line}"
        variable = unset_variable((text.splitlines() or [""])[min(error.line, text.count("\n") + 1) - 1])
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
                    source, f"{{Application, [{{Parameter, Value}}]}} expected, got {shown(element)}"
                )
        if name in found:
            raise ConfigError(source, f"the application {name} is configured twice")
        found[name] = {}
        for parameter in parameters:
            match parameter:
                case (Atom() as key, value):
                    if str(key) in found[name]:
                        raise ConfigError(source, f"{name}: the parameter {key} is set twice")
                    found[name][str(key)] = Parameter(value, source)
                case _:
                    raise ConfigError(
                        source, f"{name}: {{Parameter, Value}} expected, got {shown(parameter)}"
                    )
    return found
