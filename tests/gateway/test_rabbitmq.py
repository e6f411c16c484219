"""Two nodes of Debian's RabbitMQ, unchanged, each with a gateway: a cluster and a mirrored queue.

Both nodes are called ``rabbit``, and their hosts are known only from the files that the gateways write. They
run on this machine, and in two network namespaces, where all ports are the same on both sides.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from quicdist import make_development_certificates
from quicdist.carrier.security.certificates import CertificateFiles
from tests.brokers.service import RABBITMQ, RABBITMQ_BOOTED, Service, rabbitmq
from tests.gateway.gateways import GatewayProgram, gateway_options, gateway_to
from tests.netns.spaces import CLIENT, SERVER, Spaces, Unavailable
from tests.support.ports import any_port

pytestmark = [
    pytest.mark.beam,
    pytest.mark.gateway,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not RABBITMQ.exists(), reason="no RabbitMQ (Debian, Ubuntu: rabbitmq-server)"),
]

DECLARE = """
{new, _} = rabbit_amqqueue:declare(rabbit_misc:r(<<"/">>, queue, <<"mirrored">>), true, false, [], none,
    <<"test">>), ok.
"""
PUBLISH = """
Name = rabbit_misc:r(<<"/">>, exchange, <<>>),
[ok = rabbit_basic:publish(Name, <<"mirrored">>, [{delivery_mode, 2}], <<N:32, 0:80000>>)
 || N <- lists:seq(1, 200)], ok.
"""
LENGTH = """
{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"mirrored">>)),
[{messages, N}, {slave_pids, Mirrors}] = rabbit_amqqueue:info(Q, [messages, slave_pids]),
{N, [node(P) || P <- Mirrors]}.
"""


def ctl(service: Service, gateway: GatewayProgram, *arguments: str) -> str:
    """``rabbitmqctl`` on the host of a node, with the environment of the node."""
    done = subprocess.run(
        [*gateway.prefix, str(RABBITMQ.with_name("rabbitmqctl")), "-q", "-n", service.name, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **gateway.environment, "HOME": str(service.cookie.parent)},
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


HOSTS = ("host1", "host2")


@contextmanager
def on_one_machine(files: CertificateFiles) -> Iterator[list[GatewayProgram]]:
    table = {f"rabbit@{host}": ("127.0.0.1", any_port()) for host in HOSTS}
    with ExitStack() as stack:
        yield [stack.enter_context(gateway_to(table, name, gateway_options(files))) for name in table]


@contextmanager
def in_two_namespaces(files: CertificateFiles) -> Iterator[list[GatewayProgram]]:
    try:
        spaces = Spaces(networks=1)
    except Unavailable as error:
        pytest.skip(f"netns: {error}")
    with ExitStack() as stack:
        stack.callback(spaces.close)
        addresses = dict(zip(HOSTS, (CLIENT, SERVER), strict=True))
        gateways = []
        for host, space in zip(HOSTS, (spaces.client, spaces.server), strict=True):
            others = [
                f"rabbit@{other}={address}:4433" for other, address in addresses.items() if other != host
            ]
            gateway = GatewayProgram(
                f"rabbit@{host}",
                *gateway_options(files),
                *("--address", *others),
                port=4433,
                listen_host=addresses[host],
                prefix=spaces.command(space),
            )
            gateways.append(stack.enter_context(gateway))
        yield gateways


@pytest.fixture(params=[on_one_machine, in_two_namespaces])
def gateways(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[GatewayProgram]]:
    hosts = ["127.0.0.1", CLIENT, SERVER, *HOSTS]
    files = make_development_certificates(tmp_path_factory.mktemp("certificates"), hosts)
    with request.param(files) as started:
        yield started


async def test_two_rabbitmq_nodes_form_a_cluster_and_mirror_a_queue(
    gateways: list[GatewayProgram], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        services = []
        for gateway in gateways:
            for name, value in gateway.environment.items():
                monkeypatch.setenv(name, value)
            host = gateway.name.partition("@")[2]
            services.append(
                stack.enter_context(rabbitmq("rabbit", tmp_path / host, host=host, prefix=gateway.prefix))
            )
        one, two = services
        await asyncio.gather(one.logs(RABBITMQ_BOOTED), two.logs(RABBITMQ_BOOTED))
        ctl(two, gateways[1], "stop_app")
        ctl(two, gateways[1], "join_cluster", one.name)
        ctl(two, gateways[1], "start_app")
        mirrored = '{"ha-mode":"all","ha-sync-mode":"automatic"}'
        ctl(one, gateways[0], "set_policy", "all", ".*", mirrored)
        ctl(one, gateways[0], "eval", DECLARE)
        ctl(one, gateways[0], "eval", PUBLISH)
        assert ctl(one, gateways[0], "eval", LENGTH) == "{200,[rabbit@host2]}"
        # All of it went over QUIC: the mirror has the messages when the master is gone.
        assert gateways[1].metrics()['quicdist_gateway_bytes_total{direction="to_local"}'] > 200 * 10000
        one.kill()
        assert ctl(two, gateways[1], "eval", LENGTH) == "{200,[]}"
