"""A server of another project, run for a test as a process of its own, with all its files in one folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from quicdist import Node, NotConnected
from tests.support.epmd import free_port

COOKIE = "brokers"


class Service:
    """A running server. ``started`` is when it was started, on the monotonic clock."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], cookie: Path, log: Path) -> None:
        #: Its node.
        self.name = name
        self.cookie = cookie
        self.started = monotonic()
        self._process = process
        self._log = log

    async def logs(self, text: str, within: float = 90.0) -> float:
        """Wait until ``text`` is in its output; seconds since its start."""
        while text not in self.logged():
            assert self._process.poll() is None, f"{self.name} has ended:\n{self.logged()}"
            if monotonic() - self.started > within:
                raise TimeoutError(
                    f"{self.name}: no {text!r} within {within:.0f} s:\n{self.logged()[-4000:]}"
                )
            await asyncio.sleep(0.05)
        return monotonic() - self.started

    async def joined_by(self, node: Node, within: float = 60.0) -> None:
        """Connect as soon as the server's node is registered, which is long before it has booted."""
        async with asyncio.timeout(within):
            joined = False
            while not joined:
                try:
                    await node.connect(self.name)
                    joined = True
                except NotConnected:
                    await asyncio.sleep(0.02)

    def logged(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def running_service(
    name: str, folder: Path, command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[Service]:
    """Start a server in ``folder``, which is also its home: its cookie is there."""
    folder.mkdir(parents=True, exist_ok=True)
    cookie = folder / ".erlang.cookie"
    cookie.write_text(COOKIE)
    cookie.chmod(0o400)
    log = folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "HOME": str(folder), **environment},
            start_new_session=True,
        )
    service = Service(name, process, cookie, log)
    try:
        yield service
    finally:
        service.kill()


#: Debian's RabbitMQ, the script that runs the server in the foreground, as whatever user.
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
RABBITMQ_BOOTED = "Starting broker... completed"


@contextmanager
def rabbitmq(
    alive: str, folder: Path, *, host: str = "127.0.0.1", erl_args: str = "", prefix: Sequence[str] = ()
) -> Iterator[Service]:
    """A RabbitMQ node that has begun to boot; ``erl_args`` are further arguments of its ``erl``, ``prefix``
    words before its command."""
    name = f"{alive}@{host}"
    folder.mkdir(parents=True)
    for file, content in (("env.conf", ""), ("enabled_plugins", "[].\n")):
        (folder / file).write_text(content)
    environment = {
        "RABBITMQ_NODENAME": name,
        "RABBITMQ_USE_LONGNAME": "true" if "." in host else "false",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(free_port()),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erl_args,
    }
    with running_service(name, folder, [*prefix, str(RABBITMQ)], environment) as service:
        yield service


#: Debian's ejabberd finds its libraries here.
_EJABBERD_LIBS = Path("/usr/lib/x86_64-linux-gnu")
EJABBERD_BOOTED = "is started in the node"


def has_ejabberd() -> bool:
    return any(_EJABBERD_LIBS.glob("ejabberd-*/ebin/ejabberd.beam"))


@contextmanager
def ejabberd(alive: str, folder: Path) -> Iterator[Service]:
    """An ejabberd node ``alive@127.0.0.1`` that has begun to boot, with the host ``localhost``."""
    name = f"{alive}@127.0.0.1"
    folder.mkdir(parents=True)
    (folder / "ejabberd.yml").write_text(
        "hosts: [localhost]\n"
        f'listen: [{{port: {free_port()}, ip: "127.0.0.1", module: ejabberd_c2s}}]\n'
        "modules: {mod_admin_extra: {}}\n"
    )
    environment = {
        "EJABBERD_CONFIG_PATH": str(folder / "ejabberd.yml"),
        "EJABBERD_LOG_PATH": str(folder / "ejabberd.log"),
        "ERL_LIBS": str(_EJABBERD_LIBS),
    }
    command = [*("erl", "-name", name, "-noinput", "-mnesia", "dir", f'"{folder}/mnesia"'), "-s", "ejabberd"]
    with running_service(name, folder, command, environment) as service:
        yield service
