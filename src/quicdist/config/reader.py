"""Reads ``sys.config`` and ``vm.args`` into a :class:`Config`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quicdist.config.cluster_settings import strategies
from quicdist.config.config import Config, Source
from quicdist.config.erl_flags import KNOWN, FlagReader, is_busy_wait
from quicdist.config.errors import ConfigError, Unsupported, shown
from quicdist.config.options import DIST, DIST_FLAGS, KERNEL, NODES_FLAG, QUIC, Option
from quicdist.config.sys_config import (
    Environment,
    Parameter,
    merge,
    read_config_file,
    with_extension,
)
from quicdist.config.values import BadValue, NotSupported
from quicdist.config.vm_args import Flags, read_vm_args
from quicdist.discovery import Backend, Discovery
from quicdist.logs import get_logger
from quicdist.term import Atom, ParseError, parse_term
from quicdist.term.names import MODULE, name_of

if TYPE_CHECKING:
    from quicdist.carrier.security.psk import Psks

log = get_logger("quicdist.config")


def read_config(
    config: Source | Sequence[Source] | None = None,
    vm_args: Source | None = None,
    *,
    modules: Mapping[str, Backend | Discovery] | Mapping[Atom, Backend | Discovery] | None = None,
    functions: Mapping[str, Callable[..., Any]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Read ``sys.config`` files and a ``vm.args``.

    A later file overrides an earlier one; the ``-config`` files of ``vm.args`` come first of all, and its
    flags override all files. ``modules`` has the Python objects in place of Erlang modules, for a
    ``discovery_module`` or ``-epmd_module`` that is not one of quic_dist's. ``functions`` has the Python
    functions in place of Erlang ones, for ``auth_callback`` and ``psk_callback``, by the name
    ``module:function`` (:data:`~quicdist.carrier.quic.authentication.AuthCallback`,
    :data:`~quicdist.carrier.security.psk.Psks`). ``environ`` has the values of ``${VAR}``, by default
    ``os.environ``. Each option that is not supported is logged as a warning.

    Raises :class:`ConfigError`.
    """
    named = {name_of(name, MODULE): module for name, module in (modules or {}).items()}
    reader = _ConfigReader(os.environ if environ is None else environ, named, functions or {})
    return reader.read(config, vm_args)


class _ConfigReader:
    """Collects the fields of one :class:`Config`."""

    def __init__(
        self,
        environ: Mapping[str, str],
        modules: Mapping[str, Backend | Discovery],
        functions: Mapping[str, Callable[..., Any]],
    ) -> None:
        self._environ = environ
        self._modules = modules
        self._functions = functions
        self._fields: dict[str, Any] = {}
        self._unsupported: list[Unsupported] = []
        self._unrelated: list[str] = []

    def read(self, config: Source | Sequence[Source] | None, vm_args: Source | None) -> Config:
        flags = Flags()
        source = ""
        if vm_args is not None:
            flags, source = read_vm_args(Path(vm_args), self._environ), str(vm_args)
        environment: Environment = {}
        for path in [*_config_flags(flags), *_paths(config)]:
            merge(environment, read_config_file(path, self._environ))
        quic, kernel = (
            environment.get(application, {}) | self._application_flags(flags, application, source)
            for application in ("quic", "kernel")
        )
        reader = FlagReader(flags, source, self._environ)
        reader.read()
        dist = self._dist(quic.pop("dist", None))
        self._dist_flags(dist, flags, source)
        self._options(dist, DIST, "dist ")
        self._options(quic, QUIC, "quic ")
        self._options({key: kernel[key] for key in kernel if key in KERNEL}, KERNEL, "kernel ")
        libcluster = environment.get("libcluster", {}) | self._application_flags(flags, "libcluster", source)
        self._fields["cluster"] = strategies(libcluster.get("topologies"), self._unsupported)
        if dist:
            self._fields.setdefault("verify", False)  # quic_dist's default
        self._fields |= reader.fields
        self._carriers(flags, bool(dist))
        self._unsupported += reader.unsupported
        self._unrelated += [f"kernel {key}" for key in kernel if key not in KERNEL]
        self._unrelated += [f"-{flag}" for flag in flags.flags if not _is_known(flag)]
        self._unrelated += [
            word for word in flags.emulator if word.startswith("+") and not is_busy_wait(word)
        ]
        self._check_modules(dist)
        self._check_certificate(dist)
        self._callbacks(dist)
        found = Config(
            **self._fields,
            modules=self._modules,
            dist={key: parameter.value for key, parameter in dist.items()},
            unsupported=tuple(self._unsupported),
            unrelated=tuple(self._unrelated),
        )
        for option in found.unsupported:
            log.warning("%s", option)
        log.debug("options that do not concern distribution: %s", ", ".join(found.unrelated) or "none")
        return found

    # -- sources -----------------------------------------------------------------------------------

    def _application_flags(self, flags: Flags, application: str, source: str) -> dict[str, Parameter]:
        """``-kernel net_ticktime 8``: pairs of terms; of two with one name the first is used
        (``application_controller:get_cmd_env/1``)."""
        found: dict[str, Parameter] = {}
        for given in flags.all(application):
            flag = f"-{application} {' '.join(given)}"
            try:
                terms = [parse_term(word) for word in given]
            except ParseError as error:
                raise ConfigError(source, f"{flag}: Erlang terms expected: {error}") from error
            pairs = list(zip(terms[::2], terms[1::2], strict=False))
            if len(terms) % 2:
                self._unsupported.append(Unsupported(flag, "the last name has no value", source))
            found |= {str(key): Parameter(value, source) for key, value in reversed(pairs)}
        return found

    def _dist(self, parameter: Parameter | None) -> dict[str, Parameter]:
        """The options of ``dist``, a property list or a map."""
        if parameter is None:
            return {}
        value, source = parameter
        if isinstance(value, dict):
            return {str(key): Parameter(one, source) for key, one in value.items()}
        if not isinstance(value, list):
            raise ConfigError(source, f"{{quic, [{{dist, ...}}]}}: a list expected, got {shown(value)}")
        found: dict[str, Parameter] = {}
        for entry in value:
            match entry:
                case (Atom() as key, one):
                    pass
                case Atom() as key:
                    one = True
                case _:
                    self._unsupported.append(
                        Unsupported(f"dist {shown(entry)}", "{Option, Value} expected", source)
                    )
                    continue
            if str(key) in found:
                reason = "set twice; the first value is used (proplists:get_value/2)"
                self._unsupported.append(Unsupported(f"dist {key}", reason, source))
            found.setdefault(str(key), Parameter(one, source))
        return found

    def _dist_flags(self, dist: dict[str, Parameter], flags: Flags, source: str) -> None:
        """As ``quic_dist:get_init_arg/2``: ``-quic_dist_cert FILE`` given once, else the first
        ``-quic_dist cert FILE``, overrides the option of ``dist``."""
        pairs: dict[str, str] = {}
        for given in flags.all("quic_dist"):
            match given:
                case [key, value] if key in DIST_FLAGS or key == NODES_FLAG:
                    pairs.setdefault(key, value)
                case _:
                    reason = "quic_dist does not know it: NAME VALUE expected"
                    self._unsupported.append(Unsupported(f"-quic_dist {' '.join(given)}", reason, source))
        for flag in flags.flags:
            if not flag.startswith("quic_dist_") or flag == "quic_dist_port":
                continue
            key = flag.removeprefix("quic_dist_")
            given_once = flags.single(flag)
            if key not in DIST_FLAGS:
                self._unsupported.append(Unsupported(f"-{flag}", "quic_dist has no such flag", source))
            elif given_once is None:
                self._unsupported.append(
                    Unsupported(f"-{flag}", "expected once, with one value; ignored", source)
                )
            else:
                pairs[key] = given_once
        if NODES_FLAG in pairs:
            dist.setdefault("nodes", Parameter(pairs.pop(NODES_FLAG), f"{source}: -quic_dist nodes"))
        for key, value in pairs.items():
            dist[DIST_FLAGS[key]] = Parameter(value, f"{source}: -quic_dist_{key}")

    # -- values ------------------------------------------------------------------------------------

    def _options(self, given: Mapping[str, Parameter], table: Mapping[str, Option], prefix: str) -> None:
        for name, (value, source) in given.items():
            option = table.get(name)
            if value is None:  # `undefined` is the same as not set
                continue
            if option is None:
                reason = "quic_dist has no such option"
                self._unsupported.append(Unsupported(prefix + name, reason, source))
                continue
            try:
                meant = option.read(value)
            except NotSupported as error:
                self._unsupported.append(Unsupported(prefix + name, str(error), source))
            except BadValue as error:
                got = "" if option.secret else f", got {shown(value)}"
                raise ConfigError(source, f"{prefix}{name}: {error}{got}") from error
            else:
                if option.field is not None:
                    self._fields[option.field] = meant

    def _carriers(self, flags: Flags, has_dist: bool) -> None:
        """A ``vm.args`` without ``-proto_dist`` means TCP, unless the files configure quic_dist: then the
        flag is set elsewhere, on the command line."""
        configures_quic = has_dist or any(flag.startswith("quic_dist") for flag in flags.flags)
        if flags.flags and not flags.all("proto_dist") and not configures_quic:
            self._fields["carriers"] = ("tcp",)

    def _check_modules(self, dist: Mapping[str, Parameter]) -> None:
        known = {"quic_discovery_static", "quic_discovery_dns", *self._modules}
        module = self._fields.get("discovery_module", "quic_discovery_static")
        if module not in known:
            reason = (
                f"no Python object for the Erlang module {module}: pass one in `modules`; "
                "`nodes` and the default port are used"
            )
            option = "dist discovery_module"
            self._unsupported.append(Unsupported(option, reason, dist["discovery_module"].source))
        module = self._fields.get("epmd_module")
        if module not in (None, "erl_epmd", "quic_epmd", *self._modules):
            reason = f"no Python object for the Erlang module {module}: pass one in `modules`; epmd is used"
            self._unsupported.append(Unsupported("-epmd_module", reason, "vm.args"))

    def _check_certificate(self, dist: Mapping[str, Parameter]) -> None:
        for one, other in (("cert", "key"), ("key", "cert")):
            if one in self._fields and other not in self._fields:
                reason = f"ignored without {other}"
                self._unsupported.append(Unsupported(f"dist {one}", reason, dist[one].source))

    def _callbacks(self, dist: Mapping[str, Parameter]) -> None:
        """Replace the names of Erlang functions by the Python functions; report those without one."""
        found: dict[str, Callable[..., Any]] = {}
        for option in ("auth_callback", "psk_callback"):
            name = self._fields.pop(option, None)
            if name in self._functions:
                found[option] = self._functions[name]
            elif name is not None:
                reason = f"no Python function for the Erlang function {name}: pass one in `functions`"
                self._unsupported.append(Unsupported(f"dist {option}", reason, dist[option].source))
        if "auth_callback" in found:
            self._fields["auth_callback"] = found["auth_callback"]
        if "psk_callback" in found:
            listed = self._fields.get("psks", {})
            self._fields["psks"] = _first_of(found["psk_callback"], listed)


def _first_of(find: Callable[[bytes], bytes | None], listed: Mapping[bytes, bytes]) -> Psks:
    """Ask the callback first and the table second, as quic_dist does."""

    def found(identity: bytes) -> bytes | None:
        secret = find(identity)
        return listed.get(identity) if secret is None else secret

    return found


def _is_known(flag: str) -> bool:
    return flag in KNOWN or flag.startswith("quic_dist_")


def _config_flags(flags: Flags) -> Iterator[Path]:
    for given in flags.all("config"):
        for name in given:
            yield with_extension(Path(name))


def _paths(config: Source | Sequence[Source] | None) -> Iterable[Path]:
    given = [config] if isinstance(config, str | os.PathLike) else config or ()
    for name in given:
        path = Path(name)
        # Both `sys`, as in `-config sys`, and `sys.config`.
        yield path if path.exists() else with_extension(path)
