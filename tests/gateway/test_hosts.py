"""The loopback addresses of remote hosts, the file for ERL_INETRC, and the text of the metrics page."""

from __future__ import annotations

import pytest

from quicdist.gateway import GatewayError
from quicdist.gateway.hosts import RemoteHosts, hosts_of
from quicdist.gateway.metrics import Metric, page
from tests.support.beam import Beam


def test_hosts_get_addresses_in_order_and_keep_those_that_were_given() -> None:
    hosts = RemoteHosts({"two": None, "three": "127.0.0.2", "127.5.5.5": None, "four": None})
    assert dict(hosts) == {
        "three": "127.0.0.2",
        "127.5.5.5": "127.5.5.5",
        "two": "127.0.0.3",
        "four": "127.0.0.4",
    }


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1", "somewhere"])
def test_an_address_that_is_no_loopback_address_is_refused(address: str) -> None:
    with pytest.raises(GatewayError, match=r"it must be in 127\.0\.0\.0/8"):
        RemoteHosts({"two": address})


def test_an_address_that_is_given_twice_is_refused() -> None:
    with pytest.raises(GatewayError, match="three and two have the same address"):
        RemoteHosts({"two": "127.0.0.9", "three": "127.0.0.9"})


def test_the_hosts_of_nodes_are_listed_once_without_the_own_one() -> None:
    assert list(hosts_of(["a@one", "b@two", "c@two", "d@three"], "one")) == ["two", "three"]


@pytest.mark.beam
def test_a_beam_resolves_hosts_by_the_file(beam: Beam, tmp_path: object) -> None:
    hosts = RemoteHosts({"host2": None, 'od"d': None, "127.0.0.77": None})
    written = hosts.inetrc("host1").encode()
    read = """begin File = "/tmp/quicdist_inetrc_" ++ os:getpid(), ok = file:write_file(File, Data),
        ok = inet_db:add_rc(File), ok = file:delete(File),
        [inet:getaddr(H, inet) || H <- ["host1", "host2", "od\\"d", "localhost"]] end"""
    assert beam.eval_now(f"(fun() -> {read} end)()", written) == (
        "[{ok,{127,0,0,1}},{ok,{127,0,0,2}},{ok,{127,0,0,3}},{ok,{127,0,0,1}}]"
    )


def test_labels_of_the_metrics_page_are_escaped() -> None:
    metric = Metric("m", "gauge", "Meaning.", [({"node": 'a\\"\n@h'}, 12345678901), ({}, 2)])
    assert page([metric]) == ('# HELP m Meaning.\n# TYPE m gauge\nm{node="a\\\\\\"\\n@h"} 12345678901\nm 2\n')
