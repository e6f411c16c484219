"""libcluster's ``topologies`` as strategies.

Source: libcluster 3.5.0: the options of each strategy and their defaults.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from quicdist.cluster import DnsPoll, DnsSrv, ErlangHosts, LocalEpmd, StaticNodes, Strategy
from quicdist.config.errors import ConfigError, Unsupported, shown
from quicdist.config.sys_config import Parameter
from quicdist.config.values import BadValue, text
from quicdist.protocol import InvalidNodeName
from quicdist.term import Atom

_PREFIX = "Elixir.Cluster.Strategy."
#: Milliseconds between two lookups by DNS.
_POLLING_INTERVAL = 5_000
#: The domain of a Kubernetes cluster, for ``$CLUSTER_DOMAIN``.
_CLUSTER_DOMAIN = "cluster.local."


def strategies(topologies: Parameter | None, unsupported: list[Unsupported]) -> tuple[Strategy, ...]:
    """The strategy of each topology; those that are not supported are added to ``unsupported``.

    Raises :class:`ConfigError`.
    """
    if topologies is None or topologies.value is None:
        return ()
    value, source = topologies
    found: list[Strategy] = []
    for name, topology in _pairs(value, source, "libcluster topologies").items():
        option = f"libcluster topology {name}"
        settings = _pairs(topology, source, option)
        module = settings.get("strategy")
        short = str(module).removeprefix(_PREFIX)
        config = _pairs(settings.get("config") or [], source, f"{option} config")
        if not isinstance(module, Atom) or short not in _STRATEGIES:
            reason = (
                f"there is no counterpart of the strategy {shown(module)}; pass one of your own in "
                "Node(cluster=...)"
            )
            unsupported.append(Unsupported(option, reason, source))
            continue
        try:
            strategy = _STRATEGIES[short](config)
        except (BadValue, ValueError, InvalidNodeName) as error:
            raise ConfigError(source, f"{option}: {error}") from error
        for key in ("connect", "disconnect", "list_nodes", "resolver"):
            if key in (config if key == "resolver" else settings):
                reason = "Erlang functions are not called"
                unsupported.append(Unsupported(f"{option} {key}", reason, source))
        if strategy is not None:
            found.append(strategy)
    return tuple(found)


def _pairs(value: Any, source: str, option: str) -> dict[str, Any]:
    """A property list or a map; of two entries with one name the first counts (``Keyword.get/2``)."""
    if isinstance(value, Mapping):
        return {str(key): one for key, one in value.items()}
    found: dict[str, Any] = {}
    for entry in value if isinstance(value, list) else [value]:
        match entry:
            case (Atom() as key, one):
                found.setdefault(str(key), one)
            case _:
                raise ConfigError(source, f"{option}: {{Option, Value}} expected, got {shown(entry)}")
    return found


def _required(config: Mapping[str, Any], key: str) -> str:
    if config.get(key) is None:
        raise BadValue(f"{key} is missing")
    return _text(config, key)


def _text(config: Mapping[str, Any], key: str) -> str:
    try:
        return str(config[key]) if isinstance(config[key], Atom) else text(config[key])
    except BadValue as error:
        raise BadValue(f"{key}: {error}, got {shown(config[key])}") from error


def _interval(config: Mapping[str, Any], key: str, default: int | None) -> float | None:
    """Milliseconds as seconds; ``infinity`` is None."""
    value = config.get(key, default)
    if value is None or value == Atom("infinity"):
        return None
    if not isinstance(value, int) or value <= 0:
        raise BadValue(f"{key}: milliseconds above 0 expected, got {shown(value)}")
    return value / 1000


def _epmd(config: Mapping[str, Any]) -> Strategy | None:
    hosts = config.get("hosts") or []
    if not isinstance(hosts, list) or not all(isinstance(host, Atom) for host in hosts):
        raise BadValue(f"hosts: a list of node names as atoms expected, got {shown(hosts)}")
    return StaticNodes(*hosts) if hosts else None


def _polling(config: Mapping[str, Any]) -> float:
    interval = _interval(config, "polling_interval", _POLLING_INTERVAL)
    if interval is None:
        raise BadValue("polling_interval: milliseconds above 0 expected")
    return interval


def _kubernetes_dns(config: Mapping[str, Any]) -> Strategy:
    return DnsPoll(
        _required(config, "service"), _required(config, "application_name"), interval=_polling(config)
    )


def _kubernetes_dns_srv(config: Mapping[str, Any]) -> Strategy:
    domain = os.environ.get("CLUSTER_DOMAIN", _CLUSTER_DOMAIN)
    service = f"{_required(config, 'service')}.{_required(config, 'namespace')}.svc.{domain}"
    return DnsSrv(service, _required(config, "application_name"), interval=_polling(config))


def _dns_poll(config: Mapping[str, Any]) -> Strategy:
    return DnsPoll(_required(config, "query"), _required(config, "node_basename"), interval=_polling(config))


_STRATEGIES: dict[str, Callable[[Mapping[str, Any]], Strategy | None]] = {
    "Epmd": _epmd,
    "LocalEpmd": lambda config: LocalEpmd(interval=None),
    "ErlangHosts": lambda config: ErlangHosts(interval=_interval(config, "timeout", None)),
    "Kubernetes.DNS": _kubernetes_dns,
    "Kubernetes.DNSSRV": _kubernetes_dns_srv,
    "DNSPoll": _dns_poll,
}
