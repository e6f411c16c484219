"""``quicdist certs``."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

from cryptography import x509

from tests.cli.command import run, run_program


def test_what_it_makes_and_says(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "certs"
    status, out, err = run_program("certs", str(directory), "--host", "a.example", "--host", "10.0.0.1")
    assert (status, err) == (0, "")
    ca, certificate, key, fingerprint = out.splitlines()
    assert ca == f"CA           {directory}/ca.pem"
    assert certificate == f"certificate  {directory}/cert.pem  for a.example, 10.0.0.1"
    assert key == f"key          {directory}/key.pem"
    assert stat.S_IMODE((directory / "key.pem").stat().st_mode) == 0o600
    leaf = x509.load_pem_x509_certificate((directory / "cert.pem").read_bytes())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes()))
    digest = fingerprint.removeprefix("SHA-256      ")
    openssl = ["openssl", "x509", "-in", str(directory / "cert.pem"), "-noout", "-fingerprint", "-sha256"]
    said = subprocess.run(openssl, capture_output=True, text=True, check=True).stdout
    assert said.strip().lower() == f"sha256 fingerprint={digest}".lower()


def test_what_is_there_stays(tmp_path: Path) -> None:
    assert run("certs", str(tmp_path)).status == 0
    before = (tmp_path / "key.pem").read_bytes()
    status, out, err = run("certs", str(tmp_path))
    assert (status, out) == (1, "")
    assert err == f"quicdist: {tmp_path} holds ca.pem, cert.pem, key.pem already; --force replaces them\n"
    assert (tmp_path / "key.pem").read_bytes() == before
    assert run("certs", str(tmp_path), "--force").status == 0
    assert (tmp_path / "key.pem").read_bytes() != before


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    status, out, err = run("certs", str(blocked / "certs"))
    assert (status, out) == (1, "")
    assert err == f"quicdist: cannot write certificates into {blocked / 'certs'}: Not a directory\n"


def test_a_host_that_is_none(tmp_path: Path) -> None:
    status, out, err = run("certs", str(tmp_path), "--host", "zwölf.example")
    assert (status, out) == (1, "")
    assert err.startswith("quicdist: 'zwölf.example' is neither a host name (in ASCII) nor an IP address")
    assert list(tmp_path.iterdir()) == []
