"""libcluster's ``topologies`` in a ``sys.config``."""

from __future__ import annotations

from pathlib import Path

import pytest

from quicdist import Config, ConfigError, Node, read_config
from quicdist.cluster import StaticNodes

ALL = """
[{libcluster, [{topologies, [
  {static, [{strategy, 'Elixir.Cluster.Strategy.Epmd'}, {config, [{hosts, ['a@10.0.0.1', 'b@10.0.0.2']}]}]},
  {none, [{strategy, 'Elixir.Cluster.Strategy.Epmd'}, {config, [{hosts, []}]}]},
  {local, [{strategy, 'Elixir.Cluster.Strategy.LocalEpmd'}]},
  {hosts, [{strategy, 'Elixir.Cluster.Strategy.ErlangHosts'}, {config, [{timeout, 30000}]}]},
  {dns, [{strategy, 'Elixir.Cluster.Strategy.Kubernetes.DNS'},
         {config, [{service, "app-headless"}, {application_name, app}, {polling_interval, 10000}]}]},
  {srv, [{strategy, 'Elixir.Cluster.Strategy.Kubernetes.DNSSRV'},
         {config, [{service, <<"app-headless">>}, {application_name, <<"app">>}, {namespace, <<"prod">>}]}]},
  {poll, [{strategy, 'Elixir.Cluster.Strategy.DNSPoll'},
          {config, [{query, <<"app.example.com">>}, {node_basename, <<"app">>}]}]},
  {gossip, [{strategy, 'Elixir.Cluster.Strategy.Gossip'}]},
  {own, [{strategy, 'Elixir.My.Strategy'}, {connect, {a, b, []}}]}
]}]}].
"""


def read(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "sys.config"
    path.write_text(text)
    return read_config(path)


def test_each_strategy_that_has_a_counterpart_is_used_and_the_others_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLUSTER_DOMAIN", raising=False)
    config = read(tmp_path, ALL)
    assert [(repr(each), each.interval) for each in config.cluster] == [
        ("StaticNodes('a@10.0.0.1', 'b@10.0.0.2')", None),
        ("LocalEpmd()", None),
        ("ErlangHosts()", 30.0),
        ("DnsPoll('app-headless', 'app')", 10.0),
        ("DnsSrv('app-headless.prod.svc.cluster.local', 'app')", 5.0),
        ("DnsPoll('app.example.com', 'app')", 5.0),
    ]
    reported = {each.option: each.reason for each in config.unsupported}
    assert list(reported) == ["libcluster topology gossip", "libcluster topology own"]
    assert "'Elixir.My.Strategy'" in reported["libcluster topology own"]


def test_functions_of_a_topology_are_reported(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        "[{libcluster, [{topologies, [{t, [{strategy, 'Elixir.Cluster.Strategy.DNSPoll'},"
        " {connect, {m, f, []}},"
        ' {config, [{query, "a.test"}, {node_basename, "a"}, {resolver, fun m:f/1}]}]}]}]}].',
    )
    assert [each.option for each in config.unsupported] == [
        "libcluster topology t connect",
        "libcluster topology t resolver",
    ]
    assert [repr(each) for each in config.cluster] == ["DnsPoll('a.test', 'a')"]


def test_the_domain_of_kubernetes_is_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLUSTER_DOMAIN", "k8s.test.")
    assert repr(read(tmp_path, ALL).cluster[4]) == "DnsSrv('app-headless.prod.svc.k8s.test', 'app')"


def test_a_node_uses_the_topologies_of_its_configuration_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    config = read(tmp_path, ALL)
    node = Node("own@127.0.0.1", cookie="secret", config=config)
    assert node.cluster.strategies == config.cluster
    other = Node("own@127.0.0.1", cookie="secret", config=config, cluster=["c@10.0.0.3"])
    assert [type(each) for each in other.cluster.strategies] == [StaticNodes]
    none = Node("own@127.0.0.1", cookie="secret", config=config, cluster=[])
    assert none.cluster.strategies == ()


def topology(config: str, strategy: str = "Kubernetes.DNS") -> str:
    name = f"'Elixir.Cluster.Strategy.{strategy}'"
    return f"[{{libcluster, [{{topologies, [{{t, [{{strategy, {name}}}, {{config, {config}}}]}}]}}]}}]."


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (topology("[{service, <<115>>}]"), "libcluster topology t: application_name is missing"),
        (topology("[{service, 17}]"), "libcluster topology t: service: a string expected, got 17"),
        (
            topology("[{service, <<115>>}, {application_name, <<115>>}, {polling_interval, 0}]"),
            "polling_interval: milliseconds above 0 expected, got 0",
        ),
        (topology("[{hosts, [<<115>>]}]", "Epmd"), "hosts: a list of node names as atoms expected"),
        (topology("[{hosts, [nohost]}]", "Epmd"), "it must be of the form alive@host"),
        (topology("[17]"), "libcluster topology t config: {Option, Value} expected, got 17"),
        ("[{libcluster, [{topologies, 17}]}].", "libcluster topologies: {Option, Value} expected, got 17"),
    ],
)
def test_an_invalid_topology_is_a_config_error_that_names_it(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert error in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "sys.config"))
