"""Two nodes of Debian's RabbitMQ, unchanged, each with a gateway: a cluster and a mirrored queue.

Both nodes are called ``rabbit``, and their hosts are known only from the files that the gateways write.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quicdist.carrier.security.certificates import CertificateFiles
from tests.gateway.gateways import GatewayProgram, at_once, gateway_options, gateway_to
from tests.support.epmd import free_port
from tests.support.ports import any_port

BIN = Path("/usr/lib/rabbitmq/bin")

pytestmark = [
    pytest.mark.beam,
    pytest.mark.gateway,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not (BIN / "rabbitmq-server").exists(), reason="no rabbitmq-server package here"),
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


class Rabbit:
    """A node of RabbitMQ whose gateway is ``gateway``."""

    def __init__(self, gateway: GatewayProgram, folder: Path) -> None:
        folder.mkdir()
        for file, content in (("env.conf", ""), ("enabled_plugins", "[].\n"), (".erlang.cookie", "rabbits")):
            (folder / file).write_text(content)
        (folder / ".erlang.cookie").chmod(0o400)
        self.name = gateway.name
        self._log = folder / "output.log"
        self._environment = {
            **os.environ,
            **gateway.environment,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": gateway.name,
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(free_port()),
            "RABBITMQ_DIST_PORT": str(free_port()),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(BIN / "rabbitmq-server")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=self._environment,
                start_new_session=True,
            )

    def booted(self, within: float = 120.0) -> None:
        deadline = time.monotonic() + within
        while "Starting broker... completed" not in self._log.read_text(errors="replace"):
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            assert time.monotonic() < deadline, self._log.read_text(errors="replace")
            time.sleep(0.1)  # another program, no event tells

    def ctl(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(BIN / "rabbitmqctl"), "-q", "-n", self.name, *arguments],
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=90,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


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


def test_two_rabbitmq_nodes_form_a_cluster_and_mirror_a_queue(
    gateways: list[GatewayProgram], tmp_path: Path
) -> None:
    rabbits = [Rabbit(gateway, tmp_path / gateway.name) for gateway in gateways]
    one, two = rabbits
    try:
        at_once(one.booted, two.booted)
        two.ctl("stop_app")
        two.ctl("join_cluster", one.name)
        two.ctl("start_app")
        one.ctl("set_policy", "all", ".*", '{"ha-mode":"all","ha-sync-mode":"automatic"}')
        one.ctl("eval", DECLARE)
        one.ctl("eval", PUBLISH)
        assert one.ctl("eval", LENGTH) == "{200,[rabbit@host2]}"
        # All of it went over QUIC: the mirror has the messages when the master is gone.
        assert gateways[1].metrics()['quicdist_gateway_bytes_total{direction="to_local"}'] > 200 * 10000
        one.kill()
        assert two.ctl("eval", LENGTH) == "{200,[]}"
    finally:
        for rabbit in rabbits:
            rabbit.kill()
