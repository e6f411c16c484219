"""``quic_dist:set_connect_options/2`` on a BEAM, towards a Python node: the one way in which it verifies."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from quicdist import ExternalPsk, Node, make_development_certificates
from quicdist.carrier.security.certificates import CertificateFiles
from tests.interop.carriers import COOKIE
from tests.interop.cluster import names
from tests.support.beam import Beam, erl_facts, quic_args

pytestmark = pytest.mark.quic_dist

SECRET = bytes(range(32))
PSK = ExternalPsk(b"ours", SECRET)


class Dialler:
    """A BEAM, and the Python node that it dials, at an address of the test's choice."""

    def __init__(self, beam: Beam, node: Node, port: int) -> None:
        self.beam = beam
        self.node = node
        self.port = port

    async def dial(self, options: str, data: bytes = b"") -> bool:
        """Dial once with these options; whether there was a connection."""
        name = f"'{self.node.name}'"
        await self.beam.eval(f"ok = quic_dist:set_connect_options({name}, {options}), ok", data)
        connected = await self.beam.eval(f"net_kernel:connect_node({name})")
        assert await self.beam.eval(f"quic_dist:get_connect_options({name})") == "#{}"  # for one dial
        if connected == "true":
            await self.beam.eval(f"monitor_node({name}, true)")
            self.node.disconnect(next(iter(self.node.nodes("connected"))))
            await self.beam.eval("receive {nodedown, _} -> ok end")
        return connected == "true"

    async def verifying(self, files: CertificateFiles, more: str = "") -> bool:
        der = "element(2, hd(public_key:pem_decode(Data)))"
        return await self.dial(f"#{{verify => true, cacerts => [{der}]{more}}}", files.ca.read_bytes())


@pytest.fixture
def hosts() -> list[str]:
    """What the certificate of the Python node names."""
    return ["127.0.0.1"]


@pytest.fixture
def files(tmp_path: Path, hosts: list[str]) -> CertificateFiles:
    return make_development_certificates(tmp_path / "certs", hosts)


@pytest_asyncio.fixture
async def dialler(
    tmp_path: Path, files: CertificateFiles, free_port: Callable[[], int]
) -> AsyncIterator[Dialler]:
    release, version = erl_facts()
    if tuple(map(int, str(version).split("."))) < (1, 4, 4):
        pytest.skip(f"erlang_quic's client verifies from 1.4.4 on; this is {version} on OTP {release}")
    ours, theirs = names()
    our_port = free_port()
    table = {ours: ("127.0.0.1", our_port)}
    args = quic_args(
        theirs,
        free_port(),
        tmp_path,
        table,
        cert=files.cert,
        key=files.key,
        cookie=COOKIE,
        more=("-kernel", "net_setuptime", "3"),  # what is refused in silence takes all of it
    )
    async with (
        Beam(args) as beam,
        Node(
            ours,
            cookie=COOKIE,
            host="127.0.0.1",
            port=our_port,
            cert=files.cert,
            key=files.key,
            quic={"psks": {PSK.identity: PSK.secret}},
        ) as node,
    ):
        await beam.eval("{ok, _} = application:ensure_all_started(quic)")
        yield Dialler(beam, node, our_port)


async def test_a_beam_that_verifies_us(dialler: Dialler, files: CertificateFiles, tmp_path: Path) -> None:
    """By ``cacerts``; without them, by the system's CAs, which have not signed ours."""
    assert await dialler.verifying(files)
    assert not await dialler.verifying(make_development_certificates(tmp_path / "other"))
    assert not await dialler.dial("#{verify => true}")
    assert await dialler.dial("#{}")


@pytest.mark.parametrize("hosts", [["elsewhere.example"]])
async def test_the_host_that_a_beam_verifies(dialler: Dialler, files: CertificateFiles) -> None:
    """That of ``server_name``, and none where there is no such option and it dials an address."""
    assert await dialler.verifying(files)
    assert await dialler.verifying(files, ', server_name => <<"elsewhere.example">>')
    assert not await dialler.verifying(files, ', server_name => <<"127.0.0.1">>')


async def test_the_function_of_the_page(dialler: Dialler, files: CertificateFiles) -> None:
    """docs/reference/security.md, *What quic_dist does*."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "security.md").read_text()
    (body,) = re.findall(r"```erlang\nconnect(\(.*?)\.\n```", page, re.DOTALL)
    name = f"'{dialler.node.name}'"
    call = f'Connect({name}, <<"127.0.0.1">>, "{files.ca}")'
    assert await dialler.beam.eval(f"begin Connect = fun{body} end, {call} end") == "true"


async def test_a_psk_for_one_dial(dialler: Dialler) -> None:
    """It is shown in place of what ``dist`` says, and nothing else will do then."""
    options = '#{external_psk => {<<"ours">>, Data}}'
    assert await dialler.dial(options, SECRET)
    assert not await dialler.dial(options, bytes(32))


async def test_a_psk_without_an_exchange_of_keys(dialler: Dialler) -> None:
    """``psk_ke`` alone is refused. A BEAM takes the first mode it offers for the one chosen, so that
    ``psk_dhe_ke`` has to be that."""
    assert not await dialler.dial('#{external_psk => {<<"ours">>, Data, [psk_ke]}}', SECRET)
    assert await dialler.dial('#{external_psk => {<<"ours">>, Data, [psk_dhe_ke, psk_ke]}}', SECRET)


async def test_groups(dialler: Dialler) -> None:
    """Those of a curve; a key share that aioquic does not know is not asked for another (no
    HelloRetryRequest), so post-quantum groups first is a refusal."""
    assert await dialler.dial("#{groups => [secp256r1]}")
    assert await dialler.dial("#{groups => [secp384r1, x25519]}")
    assert not await dialler.dial("#{groups => [x25519mlkem768, x25519]}")
