"""TLS distribution against a stock BEAM with ``-proto_dist inet_tls``, in both roles."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quicdist import Node
from quicdist.carrier import CertificateRefused
from quicdist.node import NotConnected
from quicdist.term import Atom
from tests.carrier.security import Shown, TestCa
from tests.support.beam import Beam, tcp_args

pytestmark = [pytest.mark.beam, pytest.mark.otp_application("ssl")]

PYTHON = "py@localhost"
BEAM = "beam@localhost"
#: One that lasts for several tests, beside that of each.
VERSIONED = "versioned@localhost"


@dataclass
class TlsCluster:
    """A CA, and BEAMs that speak TLS distribution with certificates of it."""

    directory: Path
    ca: TestCa
    stack: ExitStack

    def options(
        self,
        *,
        server: str = "",
        client: str = "",
        shown: Shown | None = None,
        name: str = "inet_tls.conf",
    ) -> Path:
        """An option file: ``server`` and ``client`` are more options for each side."""
        shown = shown or self.ca.sign()
        own = f'{{certfile, "{shown.cert}"}}, {{keyfile, "{shown.key}"}}, {{cacertfile, "{self.ca.file}"}}'
        file = self.directory / name
        file.write_text(f"[{{server, [{own}{server}]}}, {{client, [{own}{client}]}}].\n")
        return file

    def beam(self, options: Path, name: str = BEAM) -> Beam:
        more = ["-proto_dist", "inet_tls", "-ssl_dist_optfile", str(options)]
        return self.stack.enter_context(Beam(tcp_args(name, more=more)))

    def vm_args(self, options: Path, name: str = PYTHON) -> Path:
        file = self.directory / "vm.args"
        file.write_text(
            f"-sname {name}\n-setcookie secret\n-proto_dist inet_tls\n-ssl_dist_optfile {options}\n"
        )
        return file


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[TlsCluster]:
    with ExitStack() as stack:
        yield TlsCluster(tmp_path, TestCa(tmp_path, "cluster-ca"), stack)


VERIFY = ", {verify, verify_peer}"
MUTUAL = VERIFY + ", {fail_if_no_peer_cert, true}"


@pytest.mark.parametrize("versions", ["['tlsv1.2']", "['tlsv1.3']", "['tlsv1.2', 'tlsv1.3']"])
async def test_a_node_that_reads_the_option_file_of_a_cluster_is_up_in_both_roles(
    cluster: TlsCluster, versions: str
) -> None:
    options = cluster.options(
        server=f"{MUTUAL}, {{versions, {versions}}}", client=f"{VERIFY}, {{versions, {versions}}}"
    )
    beam = cluster.beam(options)
    async with Node(vm_args=cluster.vm_args(options)) as node:
        assert await node.ping(BEAM)
        assert await node.call(BEAM, "erlang", "node") == BEAM_ATOM
        assert await beam.eval("nodes(hidden)") == f"[{PYTHON}]"
        assert node.disconnect(BEAM)
        await _gone(beam)
        # The other role.
        assert await beam.eval(f"net_adm:ping('{PYTHON}')") == "pong"
        assert node.nodes("connected") == [BEAM]


async def test_dynamic_names_are_asked_for_and_given(cluster: TlsCluster) -> None:
    options = cluster.options(server=MUTUAL, client=VERIFY)
    undefined = "undefined@localhost"
    beam = cluster.beam(options)
    async with Node(vm_args=cluster.vm_args(options, undefined)) as node:
        await node.connect(BEAM)
        assert await beam.eval("nodes(hidden)") == f"['{node.name}']"
    beam = cluster.beam(options, undefined)
    async with Node(vm_args=cluster.vm_args(options)) as node:
        assert await beam.eval(f"net_kernel:connect_node({PYTHON})") == "true"
        (name,) = node.nodes("connected")
        assert await beam.eval("node()") == f"'{name}'"
        assert await node.ping(name)


async def _gone(beam: Beam) -> None:
    await beam.eval("(fun Wait() -> case nodes(hidden) of [] -> ok; _ -> timer:sleep(10), Wait() end end)()")


BEAM_ATOM = Atom(BEAM)


@pytest.fixture(scope="module", params=["tlsv1.2", "tlsv1.3"])
def of_version(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A BEAM with that version; the arguments of a node, in a file."""
    directory = tmp_path_factory.mktemp(request.param)
    version = f", {{versions, ['{request.param}']}}"
    with ExitStack() as stack:
        cluster = TlsCluster(directory, TestCa(directory, "cluster-ca"), stack)
        options = cluster.options(server=version, client=version)
        cluster.beam(options, VERSIONED)
        yield cluster.vm_args(options)


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 1 << 20, 24 << 20])
async def test_messages_of_any_size_come_back_unchanged(of_version: Path, size: int) -> None:
    async with Node(vm_args=of_version) as node:
        data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        assert await node.call(VERSIONED, "erlang", "list_to_binary", [[data]]) == data


async def test_options_of_the_program_serve_where_there_is_no_file(cluster: TlsCluster) -> None:
    cluster.beam(cluster.options(server=MUTUAL, client=VERIFY))
    shown = cluster.ca.sign()
    async with Node(
        PYTHON, cookie="secret", carrier="tls", cert=shown.cert, key=shown.key, cacert=cluster.ca.file
    ) as node:
        assert await node.ping(BEAM)


async def test_dialling_a_beam_whose_certificate_another_ca_signed_is_refused(cluster: TlsCluster) -> None:
    stranger = TestCa(cluster.directory, "stranger-ca")
    cluster.beam(cluster.options(shown=stranger.sign()))
    options = cluster.options(client=VERIFY, name="mine.conf")
    async with Node(vm_args=cluster.vm_args(options)) as node:
        with pytest.raises(NotConnected, match="the peer's certificate is refused: unable to get"):
            await node.connect(BEAM)


async def test_dialling_a_beam_whose_certificate_names_another_host_is_refused(cluster: TlsCluster) -> None:
    cluster.beam(cluster.options(shown=cluster.ca.sign(hosts=["elsewhere.example"])))
    options = cluster.options(client=VERIFY, name="mine.conf")
    async with Node(vm_args=cluster.vm_args(options)) as node:
        with pytest.raises(NotConnected, match=r"refused: .*localhost"):
            await node.connect(BEAM)
    options = cluster.options(client=VERIFY + ", {server_name_indication, disable}", name="mine.conf")
    async with Node(vm_args=cluster.vm_args(options)) as node:
        assert await node.ping(BEAM)


@pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])
async def test_a_beam_that_wants_another_certificate_refuses_and_the_error_says_so(
    cluster: TlsCluster, version: str
) -> None:
    stranger = TestCa(cluster.directory, "stranger-ca")
    cluster.beam(cluster.options(server=f"{MUTUAL}, {{versions, ['{version}']}}"))
    options = cluster.options(
        shown=stranger.sign(), client=f", {{versions, ['{version}']}}", name="mine.conf"
    )
    async with Node(vm_args=cluster.vm_args(options)) as node:
        with pytest.raises(NotConnected, match="the peer sent the alert unknown ca") as caught:
            await node.connect(BEAM)
        (refused,) = caught.value.attempts
        assert isinstance(refused, CertificateRefused)
        assert refused.by_peer


async def test_a_beam_without_a_certificate_is_refused_where_one_is_required(cluster: TlsCluster) -> None:
    beam = cluster.beam(_without_client_certificate(cluster))
    options = cluster.options(server=MUTUAL, name="mine.conf")
    async with Node(vm_args=cluster.vm_args(options)):
        assert await beam.eval(f"net_adm:ping('{PYTHON}')") == "pang"
    options = cluster.options(server=VERIFY + ", {fail_if_no_peer_cert, false}", name="mine.conf")
    async with Node(vm_args=cluster.vm_args(options)):
        assert await beam.eval(f"net_adm:ping('{PYTHON}')") == "pong"


def _without_client_certificate(cluster: TlsCluster) -> Path:
    shown = cluster.ca.sign()
    file = cluster.directory / "bare.conf"
    file.write_text(
        f'[{{server, [{{certfile, "{shown.cert}"}}, {{keyfile, "{shown.key}"}}]}},'
        f" {{client, [{{verify, verify_none}}]}}].\n"
    )
    return file


async def test_a_chain_longer_than_depth_is_refused(cluster: TlsCluster) -> None:
    middle = TestCa(cluster.directory, "middle-ca", cluster.ca)
    low = TestCa(cluster.directory, "low-ca", middle)
    cluster.beam(cluster.options(shown=low.sign(chain=[low, middle])))
    options = cluster.options(client=VERIFY + ", {depth, 1}", name="mine.conf")
    async with Node(vm_args=cluster.vm_args(options)) as node:
        with pytest.raises(NotConnected, match="2 certificates between it and its root, at most 1 allowed"):
            await node.connect(BEAM)
    options = cluster.options(client=VERIFY + ", {depth, 2}", name="mine.conf")
    async with Node(vm_args=cluster.vm_args(options)) as node:
        assert await node.ping(BEAM)


async def test_a_tls_node_and_a_tcp_node_tell_that_they_do_not_speak_the_same(cluster: TlsCluster) -> None:
    cluster.stack.enter_context(Beam(["-name", BEAM, "-setcookie", "secret"]))
    # The BEAM waits for the rest of what it takes for a length.
    async with Node(vm_args=cluster.vm_args(cluster.options()), listen=False, setup_time=1) as node:
        with pytest.raises(NotConnected, match="expected the TLS handshake"):
            await node.connect(BEAM)


async def test_a_beam_that_is_killed_is_noticed(cluster: TlsCluster) -> None:
    options = cluster.options()
    beam = cluster.beam(options)
    async with Node(vm_args=cluster.vm_args(options)) as node:
        assert await node.ping(BEAM)
        down: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        node.subscribe(down.set_result)
        beam.kill()
        assert (await asyncio.wait_for(down, 30)).node == BEAM
