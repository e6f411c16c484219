"""The flags of ``erl`` that concern distribution, parsed as OTP parses them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quicdist.config.errors import ConfigError, Unsupported
from quicdist.config.files import unset_variable
from quicdist.config.tls_settings import Sides, dist_settings, read_flags, read_option_file
from quicdist.config.vm_args import Flags

#: ``-proto_dist`` to carrier and OTP's address family.
_PROTOCOLS = {
    "quic": ("quic", None),
    "inet_tcp": ("tcp", "inet"),
    "inet6_tcp": ("tcp", "inet6"),
    "inet_tls": ("tls", "inet"),
    "inet6_tls": ("tls", "inet6"),
}


class FlagReader:
    """Reads ``flags`` into ``fields``, those of :class:`Config`; ``source`` is their file."""

    def __init__(self, flags: Flags, source: str, environ: Mapping[str, str]) -> None:
        self.flags = flags
        self.source = source
        self.environ = environ
        self.fields: dict[str, Any] = {}
        self.unsupported: list[Unsupported] = []
        #: The options of ``-ssl_dist_opt`` and of the file, in the order in which they count.
        self._tls: list[Sides] = []

    def read(self) -> None:
        """Read all known flags. Raises :class:`ConfigError`."""
        for flag, reader in _READERS.items():
            if self.flags.all(flag):
                reader(self, flag)
        if "sname" in self.fields:  # erl_distribution takes -sname before -name
            self.fields["name"] = self.fields.pop("sname")
        if "ERL_EPMD_PORT" in self.flags.environ:
            port = self._port("-env ERL_EPMD_PORT", self.flags.environ["ERL_EPMD_PORT"])
            self.fields["epmd_port"] = port
        self._busy_wait()

    def _busy_wait(self) -> None:
        """``+sbwt none``; the other thresholds are those of a BEAM's schedulers. The last flag counts."""
        words = iter(self.flags.emulator)
        for word in words:
            if is_busy_wait(word):
                value = word.removeprefix("+sbwt") or next(words, "")
                if value not in _THRESHOLDS:
                    expected = ", ".join(sorted(_THRESHOLDS))
                    raise ConfigError(self.source, f"+sbwt: one of {expected} expected, got {value!r}")
                self.fields["busy_wait"] = value != "none"

    def not_supported(self, flag: str, reason: str) -> None:
        self.unsupported.append(Unsupported(f"-{flag}", reason, self.source))

    def error(self, flag: str, reason: str) -> ConfigError:
        return ConfigError(self.source, f"-{flag}: {reason}")

    # -- names -------------------------------------------------------------------------------------

    def name(self, flag: str) -> None:
        given = self._words(flag, self.flags.all(flag)[0])
        if len(given) != 1:
            raise self.error(flag, f"one name expected, got {' '.join(given)!r}")
        alive, _, host = given[0].partition("@")
        if flag == "sname":
            if "." in host:
                raise self.error(flag, f"the host of a short name cannot have dots: {given[0]}")
            host = host or socket.gethostname().partition(".")[0]
        elif not host:
            host = socket.getfqdn()
            if "." not in host:
                raise self.error(
                    flag, f"{alive} has no host, and this machine has no full name: write {alive}@HOST"
                )
        self.fields[flag] = f"{alive}@{host}"

    def set_cookie(self, flag: str) -> None:
        """As ``auth:init_setcookie/3``: a cookie that is set more than once, for this node or another
        one, is ignored."""
        own: list[str] = []
        others: dict[str, list[str]] = {}
        for given in self.flags.all(flag):
            match self._words(flag, given):
                case [] | [_] as one:
                    own.append(one[0] if one else "")
                case [node, cookie]:
                    others.setdefault(node, []).append(cookie)
                case more:
                    self.not_supported(
                        flag, f"a cookie, or a node and its cookie, expected, got {len(more)} words"
                    )
        if len(own) == 1 and own[0]:
            self.fields["cookie"] = own[0]
        elif own:
            self.not_supported(flag, "empty or set more than once; ignored")
        for node, cookies in others.items():
            if len(cookies) > 1:
                self.not_supported(f"{flag} {node}", "set more than once; ignored")
        self.fields["cookies"] = {node: cookies[0] for node, cookies in others.items() if len(cookies) == 1}

    def no_cookie(self, flag: str) -> None:
        self.fields.setdefault("cookie", "nocookie")

    # -- carriers and discovery --------------------------------------------------------------------

    def proto_dist(self, flag: str) -> None:
        given = self.flags.all(flag)
        protocols = given[0] if len(given) == 1 else ["inet_tcp"]
        if len(given) != 1:
            self.not_supported(flag, "set more than once; ignored, and inet_tcp is used")
        carriers = []
        for protocol in protocols:
            if protocol not in _PROTOCOLS:
                known = ", ".join(_PROTOCOLS)
                self.not_supported(f"{flag} {protocol}", f"no such carrier; known are {known}")
                continue
            carrier, family = _PROTOCOLS[protocol]
            carriers.append(carrier)
            if family is not None:
                self.fields["tcp_family"] = family
        if carriers:
            self.fields["carriers"] = tuple(dict.fromkeys(carriers))

    def ssl_dist_optfile(self, flag: str) -> None:
        name = self.flags.single(flag)
        if name is None:
            raise self.error(flag, "the name of one file expected")
        (name,) = self._words(flag, [name])
        self._tls.append(read_option_file(Path(name), self.environ))
        self.fields["tls"] = dist_settings(*self._tls)

    def ssl_dist_opt(self, flag: str) -> None:
        given = [self._words(flag, words) for words in self.flags.all(flag)]
        self._tls.insert(0, read_flags(given, self.source))
        self.fields["tls"] = dist_settings(*self._tls)

    def epmd_module(self, flag: str) -> None:
        self.fields["epmd_module"] = self.flags.first(flag)

    def start_epmd(self, flag: str) -> None:
        last = self.flags.all(flag)[-1][0]
        if last not in ("true", "false"):
            raise self.error(flag, f"true or false expected, got {last!r}")
        self.fields["start_epmd"] = last == "true"

    def no_epmd(self, flag: str) -> None:
        self.fields["epmd"] = False

    def erl_epmd_port(self, flag: str) -> None:
        if (given := self.flags.single(flag)) is None:
            self.not_supported(flag, "expected once, with one port; ignored")
            return
        self.fields["erl_epmd_port"] = self._port(f"-{flag}", given)

    def quic_dist_port(self, flag: str) -> None:
        if (given := self.flags.single(flag)) is None:
            self.not_supported(flag, "expected once, with one port; ignored")
            return
        self.fields["port"] = self._port(f"-{flag}", given, least=0)

    def hidden(self, flag: str) -> None:
        self.fields["hidden"] = self.flags.all(flag)[0][:1] in ([], ["true"])

    def connect_all(self, flag: str) -> None:
        if self.flags.all(flag)[0][:1] == ["false"]:
            self.fields["connect_all"] = False

    def dist_listen(self, flag: str) -> None:
        self.fields["listen"] = self.flags.first(flag) != "false"

    def config_descriptor(self, flag: str) -> None:
        self.not_supported(flag, "configuration is read from files only")

    # -- words -------------------------------------------------------------------------------------

    def _words(self, flag: str, words: list[str]) -> list[str]:
        for word in words:
            variable = unset_variable(word)
            if variable is not None:
                raise self.error(flag, f"the environment variable {variable} is not set")
        return words

    def _port(self, shown: str, word: str, least: int = 1) -> int:
        self._words(shown.lstrip("-"), [word])
        if not (word.isascii() and word.isdigit() and least <= int(word) < 1 << 16):
            raise ConfigError(self.source, f"{shown}: a port from {least} to 65535 expected, got {word!r}")
        return int(word)


def is_busy_wait(word: str) -> bool:
    """Whether a word of the emulator flags is ``+sbwt``; those of dirty schedulers have longer names."""
    return word.startswith("+sbwt") and not word.startswith("+sbwtd")


#: The scheduler busy wait thresholds of ``erl``.
_THRESHOLDS = frozenset({"none", "very_short", "short", "medium", "long", "very_long"})

_READERS: Mapping[str, Callable[[FlagReader, str], None]] = {
    "name": FlagReader.name,
    "sname": FlagReader.name,
    "setcookie": FlagReader.set_cookie,
    "nocookie": FlagReader.no_cookie,
    "proto_dist": FlagReader.proto_dist,
    "ssl_dist_optfile": FlagReader.ssl_dist_optfile,
    "ssl_dist_opt": FlagReader.ssl_dist_opt,
    "epmd_module": FlagReader.epmd_module,
    "start_epmd": FlagReader.start_epmd,
    "no_epmd": FlagReader.no_epmd,
    "erl_epmd_port": FlagReader.erl_epmd_port,
    "quic_dist_port": FlagReader.quic_dist_port,
    "hidden": FlagReader.hidden,
    "connect_all": FlagReader.connect_all,
    "dist_listen": FlagReader.dist_listen,
    "configfd": FlagReader.config_descriptor,
}

#: The flags that are known; ``config``, ``kernel``, ``quic`` and ``quic_dist`` are read elsewhere.
KNOWN = frozenset(_READERS) | {"config", "kernel", "quic", "quic_dist"}
