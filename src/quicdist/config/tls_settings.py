"""The options of TLS distribution: ``-ssl_dist_optfile`` and ``-ssl_dist_opt``, and those of a program.

Source: OTP's ``inet_tls_dist`` (``get_ssl_options/1``) and ``ssl_dist_sup`` (``consult/1``); SSL User's
Guide, *Erlang Distribution over TLS*; the types ``client_option`` and ``server_option`` of module ``ssl``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from quicdist.carrier.security.pem import Pem
from quicdist.carrier.tls.settings import CertificateAndKey, TlsOptions, TlsSettings
from quicdist.config import certificates, values
from quicdist.config.config import Config
from quicdist.config.errors import ConfigError, shown
from quicdist.config.files import read_text, replace_variables
from quicdist.config.values import BadValue
from quicdist.term import Atom, Export, ParseError, parse_term

#: ``inet_tls_dist``'s default, where there are any options.
_DIST_DEFAULTS = TlsOptions(versions=("tlsv1.2",))

#: Options without effect on the protocol: OTP's own caches and processes, the kernel's TLS, sessions.
_WITHOUT_EFFECT = frozenset({
    "anti_replay", "certificate_authorities", "client_renegotiation", "cookie", "early_data", "eccs",
    "erl_dist", "handshake", "hibernate_after", "honor_cipher_order", "honor_ecc_order", "ktls", "log_level",
    "max_handshake_size", "nodelay", "receiver_spawn_opts", "reuse_session", "reuse_sessions",
    "secure_renegotiate", "sender_spawn_opts", "session_tickets", "signature_algs", "signature_algs_cert",
    "supported_groups",
})  # fmt: skip


#: An option of a file or a flag: its name, its value, and its source for errors.
Option = tuple[str, Any, str]
#: The options of both sides, by ``"server"`` and ``"client"``.
Sides = dict[str, list[Option]]


def read_option_file(path: Path, environ: Mapping[str, str]) -> Sides:
    """The file that ``-ssl_dist_optfile`` names: ``[{server, Options}, {client, Options}].``

    Raises :class:`ConfigError`.
    """
    source = str(path)
    text = replace_variables(read_text(path), environ).strip()
    try:
        sides = parse_term(text.removesuffix("."))
    except ParseError as error:
        reason = f"only terms are read, not expressions: {error}"
        raise ConfigError(f"{source}:{error.line}", reason) from error
    found: Sides = {"server": [], "client": []}
    if not isinstance(sides, list):
        raise ConfigError(source, "[{server, Options}, {client, Options}] expected")
    for side in sides:
        match side:
            case (Atom(name), list(options)) if name in found:
                found[name] = [_option(option, f"{source}: {name}") for option in options]
            case _:
                raise ConfigError(
                    source, f"{{server, Options}} or {{client, Options}} expected, got {shown(side)}"
                )
    return found


def _option(option: Any, source: str) -> Option:
    match option:
        case (Atom(name), value):
            return name, value, source
        case Atom(name):
            return name, True, source
    raise ConfigError(source, f"{{Option, Value}} expected, got {shown(option)}")


def read_flags(flags: Iterable[list[str]], source: str) -> Sides:
    """``-ssl_dist_opt server_certfile FILE client_verify verify_peer``."""
    words = [word for given in flags for word in given]
    if len(words) % 2:
        raise ConfigError(source, f"-ssl_dist_opt: {words[-1]} without its value")
    found: Sides = {"server": [], "client": []}
    for name, word in zip(words[::2], words[1::2], strict=True):
        side, _, option = name.partition("_")
        if side in found:  # others are passed over there too
            where = f"{source}: {side}"
            try:
                found[side].append((option, _of_word(option, word), where))
            except BadValue as error:
                raise ConfigError(where, f"{option}: {error}") from error
    return found


def dist_settings(*given: Sides) -> TlsSettings:
    """The settings from the options of the flags and those of the file; of two equal ones the first counts.

    An option that would weaken what they ask for if it were left out is refused with :class:`ConfigError`.
    """
    server, client = ([one for sides in given for one in sides[side]] for side in ("server", "client"))
    return TlsSettings(server=_Side().read(server), client=_Side().read_client(client))


def tls_settings(
    config: Config,
    own: TlsSettings | None = None,
    *,
    cert: Pem | None = None,
    key: Pem | None = None,
    cacert: Pem | None = None,
    verify: bool = True,
) -> TlsSettings:
    """The settings of a TLS carrier: those of the program, else those of the cluster's files.

    ``cert``, ``key`` and ``cacert`` override both. Without either, a dialled node is verified if ``verify``,
    and a node that dials is not asked for a certificate.
    """
    settings = config.tls if own is None else own
    if settings is None:
        settings = TlsSettings(client=TlsOptions(verify=verify))
    changes: dict[str, Any] = {}
    if cert is not None:
        changes["certificates"] = (CertificateAndKey(cert, key),)
    if cacert is not None:
        changes["cacert"] = cacert
    return TlsSettings(server=replace(settings.server, **changes), client=replace(settings.client, **changes))


class _Side:
    """Reads the options of one side into :class:`TlsOptions`."""

    def __init__(self) -> None:
        self._options = _DIST_DEFAULTS
        self._own: dict[str, Any] = {}

    def read(self, options: list[Option]) -> TlsOptions:
        # The first of two counts, as in proplists:get_value/2.
        seen: set[str] = set()
        for name, value, source in options:
            if name not in seen:
                seen.add(name)
                self._read(name, value, source)
        return self._done()

    def read_client(self, options: list[Option]) -> TlsOptions:
        found = self.read(options)
        if found.cacert is not None and all(name != "verify" for name, _, _ in options):
            # From OTP 26 on a client verifies unless it is told not to, and needs CAs for that; before, it
            # does not.
            return replace(found, verify=True)
        return found

    def _read(self, name: str, value: Any, source: str) -> None:
        if name in _WITHOUT_EFFECT:
            return
        reader = _READERS.get(name)
        if reader is None:
            reason = f"the option {name} is not supported: take it out, or use another carrier"
            raise ConfigError(source, reason)
        try:
            reader(self, value)
        except BadValue as error:
            secret = name in ("password", "key", "certs_keys")
            got = "" if secret else f", got {shown(value)}"
            raise ConfigError(source, f"{name}: {error}{got}") from error

    def _done(self) -> TlsOptions:
        own = self._own
        certificate = own.get("cert", own.get("certfile"))
        if certificate is not None and not self._options.certificates:  # certs_keys goes first
            key = own.get("key", own.get("keyfile"))
            self._set(certificates=(CertificateAndKey(certificate, key, own.get("password")),))
        return self._options

    def _set(self, **changes: Any) -> None:
        self._options = replace(self._options, **changes)

    # -- one option each -------------------------------------------------------------------

    def keep(self, name: str, read: Callable[[Any], Any], value: Any) -> None:
        self._own[name] = read(value)

    def certs_keys(self, value: Any) -> None:
        found = []
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                raise BadValue("a list of maps expected")
            own = {str(name): part for name, part in one.items()}
            if "certfile" in own:
                key = own.get("keyfile")
                password = own.get("password")
                found.append(
                    CertificateAndKey(
                        values.path(own["certfile"]),
                        None if key is None else values.path(key),
                        None if password is None else values.text(password),
                    )
                )
            elif "cert" in own and "key" in own:
                found.append(
                    CertificateAndKey(
                        certificates.certificates(own["cert"]), certificates.private_key(own["key"])
                    )
                )
            else:
                raise BadValue("certfile, or cert and key, expected in each")
        self._set(certificates=tuple(found))

    def verify(self, value: Any) -> None:
        self._set(verify=values.one_of(verify_peer=True, verify_none=False)(value))

    def verify_fun(self, value: Any) -> None:
        match value:
            case (
                (Export(Atom("inet_tls_dist"), Atom("verify_client"), 3), _)
                | (Atom("inet_tls_dist"), Atom("verify_client"), _)  # the form of a flag
            ):
                return  # checks net_kernel:allow/1; without allowed nodes it is the same as verify_peer
        raise BadValue("only inet_tls_dist:verify_client/3 is known: no other Erlang function can be called")

    def server_name(self, value: Any) -> None:
        if value == Atom("disable"):
            self._set(check_host=False)
        else:
            self._set(server_name=values.text(value))

    def versions(self, value: Any) -> None:
        found = [str(version) for version in (value if isinstance(value, list) else [value])]
        known = tuple(version for version in ("tlsv1.2", "tlsv1.3") if version in found)
        if not known:
            raise BadValue("'tlsv1.2' or 'tlsv1.3' expected: older versions are not supported")
        self._set(versions=known)

    def ciphers(self, value: Any) -> None:
        names: list[str] = []
        for one in value if isinstance(value, list) and not _is_text(value) else [value]:
            names += values.text(one).split(":")
        # Those of TLS 1.3 cannot be chosen with Python's ssl, and are all good.
        self._set(ciphers=tuple(name for name in names if not name.startswith("TLS_")))

    def crl_check(self, value: Any) -> None:
        if value == Atom("best_effort"):
            raise BadValue("true, peer or false expected: a missing revocation list is always an error here")
        meant = {"false": "none", "peer": "peer", "true": "all"}.get(str(value).lower())
        if meant is None:
            raise BadValue("true, peer or false expected")
        self._set(crl_check=meant)

    def crl_cache(self, value: Any) -> None:
        match value:
            case (Atom("ssl_crl_hash_dir"), (Atom("internal"), list(options))):
                for option in options:
                    match option:
                        case (Atom("dir"), directory):
                            self._set(crl_dir=values.path(directory))
                            return
        raise BadValue(
            "revocation lists are read from {ssl_crl_hash_dir, {internal, [{dir, Directory}]}} only"
        )

    def set_field(self, field: str, read: Callable[[Any], Any], value: Any) -> None:
        self._set(**{field: read(value)})


def _keep(name: str, read: Callable[[Any], Any]) -> Callable[[_Side, Any], None]:
    return lambda side, value: side.keep(name, read, value)


def _field(name: str, read: Callable[[Any], Any]) -> Callable[[_Side, Any], None]:
    return lambda side, value: side.set_field(name, read, value)


_READERS: Mapping[str, Callable[[_Side, Any], None]] = {
    "certfile": _keep("certfile", values.path),
    "keyfile": _keep("keyfile", values.path),
    "password": _keep("password", values.text),
    "cert": _keep("cert", certificates.certificates),
    "key": _keep("key", certificates.private_key),
    "certs_keys": _Side.certs_keys,
    "cacertfile": _field("cacert", values.path),
    "cacerts": _field("cacert", certificates.certificates),
    "verify": _Side.verify,
    "verify_fun": _Side.verify_fun,
    "fail_if_no_peer_cert": _field("fail_if_no_peer_cert", values.boolean),
    "server_name_indication": _Side.server_name,
    "depth": _field("depth", values.integer(0, 255)),
    "versions": _Side.versions,
    "ciphers": _Side.ciphers,
    "crl_check": _Side.crl_check,
    "crl_cache": _Side.crl_cache,
    "dhfile": _field("dh_file", values.path),
}


def _of_word(name: str, word: str) -> Any:
    """A word of ``-ssl_dist_opt`` as the term that a file would contain."""
    if name in ("verify_fun", "crl_cache"):
        try:
            return parse_term(word)
        except ParseError as error:
            raise BadValue(f"a term expected: {error}") from error
    if name in ("verify", "crl_check", "versions"):
        return Atom(word)
    if name == "depth":
        return int(word) if word.isdecimal() else word
    return word


def _is_text(value: list[Any]) -> bool:
    return all(isinstance(one, int) for one in value)
