"""Two nodes of Debian's RabbitMQ, unchanged, each with a gateway: a cluster and a mirrored queue.

Both nodes are called ``rabbit``, and their hosts are known only from the files that the gateways write.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from quicdist.carrier.security.certificates import CertificateFiles
from tests.brokers.service import RABBITMQ, RABBITMQ_BOOTED, Service, rabbitmq
from tests.gateway.gateways import GatewayProgram, at_once, gateway_options, gateway_to
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
        [str(RABBITMQ.with_name("rabbitmqctl")), "-q", "-n", service.name, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **gateway.environment, "HOME": str(service.cookie.parent)},
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture
def gateways(certificates: CertificateFiles) -> Iterator[list[GatewayProgram]]:
    table = {f"rabbit@host{n}": ("127.0.0.1", any_port()) for n in (1, 2)}
    started = at_once(
        lambda: gateway_to(table, "rabbit@host1", gateway_options(certificates)),
        lambda: gateway_to(table, "rabbit@host2", gateway_options(certificates)),
    )
    yield started
    for gateway in started:
        gateway.close()


async def test_two_rabbitmq_nodes_form_a_cluster_and_mirror_a_queue(
    gateways: list[GatewayProgram], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        services = []
        for gateway in gateways:
            for name, value in gateway.environment.items():
                monkeypatch.setenv(name, value)
            host = gateway.name.partition("@")[2]
            services.append(stack.enter_context(rabbitmq("rabbit", tmp_path / host, host=host)))
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
