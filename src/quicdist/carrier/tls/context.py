"""Python's ``ssl`` contexts, made from the settings, and made again when a file has changed."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from quicdist.carrier.errors import CertificateError
from quicdist.carrier.security.pem import Pem
from quicdist.carrier.tls.settings import CertificateAndKey, TlsOptions, Version
from quicdist.logs import get_logger

_VERSIONS: dict[Version, ssl.TLSVersion] = {
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}

logger = get_logger("quicdist.carrier.tls")


class ContextSource:
    """The context of one side. Its files are read again when they have changed: a certificate can be
    renewed while the node runs, as OTP's PEM cache allows."""

    def __init__(self, options: TlsOptions, *, server_side: bool) -> None:
        self._options = options
        self._server_side = server_side
        self._seen: tuple[tuple[int, int], ...] = ()
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """The current context. Raises :class:`CertificateError` if there is none yet; a changed file that
        cannot be used is ignored."""
        seen = tuple(_identity(path) for path in _files(self._options))
        if self._context is None or seen != self._seen:
            try:
                self._context = make_context(self._options, server_side=self._server_side)
            except CertificateError as error:
                if self._context is None:
                    raise
                logger.warning("changed TLS files are not used: %s", error)
            self._seen = seen
        return self._context


def make_context(options: TlsOptions, *, server_side: bool) -> ssl.SSLContext:
    """The context for connections as server or client. Raises :class:`CertificateError`."""
    if server_side and not options.certificates:
        raise CertificateError(
            "a node that listens over TLS needs a certificate and its key, and none is configured"
        )
    if server_side and options.verify and options.cacert is None:
        # Those of the system would admit every holder of a certificate of any public CA.
        raise CertificateError(
            "a node that verifies the nodes that dial it needs their CAs, and no cacert is configured"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if server_side:
        # No client of ours resumes, and a kernel that reads TLS for a BEAM (ktls) fails at a ticket.
        context.num_tickets = 0
    versions = [_VERSIONS[version] for version in options.versions]
    context.minimum_version, context.maximum_version = min(versions), max(versions)
    for certificate in options.certificates:
        _load_certificate(context, certificate)
    if options.ciphers:
        try:
            context.set_ciphers(":".join(options.ciphers))
        except ssl.SSLError as error:
            raise CertificateError(
                f"OpenSSL knows none of the cipher suites {', '.join(options.ciphers)}"
            ) from error
    if server_side and options.dh_file is not None:
        _load(context.load_dh_params, options.dh_file, "Diffie-Hellman parameters")
    context.check_hostname = not server_side and options.verify and options.check_host
    if options.verify:
        required = not server_side or options.fail_if_no_peer_cert
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        _load_trust(context, options, server_side)
    else:
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_certificate(context: ssl.SSLContext, given: CertificateAndKey) -> None:
    # An empty password: OpenSSL would ask for one at the terminal.
    password = given.password or ""
    with _as_file(given.certificate) as certificate, _as_file(given.key) as key:
        assert certificate is not None
        try:
            context.load_cert_chain(certificate, key, password)
        except FileNotFoundError as error:
            missing = certificate if key is None or not Path(certificate).exists() else key
            raise CertificateError(f"cannot read {missing}: no such file") from error
        except (ssl.SSLError, OSError, ValueError) as error:
            where = _shown(given.certificate, "the certificate (bytes)")
            reason = tls_reason(error) if isinstance(error, ssl.SSLError) else str(error)
            raise CertificateError(f"cannot use {where} and its key: {reason}") from error


def _load_trust(context: ssl.SSLContext, options: TlsOptions, server_side: bool) -> None:
    if options.cacert is None:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH if server_side else ssl.Purpose.SERVER_AUTH)
    elif isinstance(options.cacert, bytes):
        _load(lambda data: context.load_verify_locations(cadata=data.decode()), options.cacert, "CAs")
    else:
        _load(context.load_verify_locations, options.cacert, "CAs")
    if options.crl_check == "none":
        return
    flags = ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    if options.crl_check == "all":
        flags = ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN
    context.verify_flags |= flags
    if options.crl_dir is None:
        raise CertificateError("crl_check needs crl_dir, a directory of revocation lists (ssl_crl_hash_dir)")
    if not Path(options.crl_dir).is_dir():
        raise CertificateError(f"crl_dir {options.crl_dir} is not a directory")
    context.load_verify_locations(capath=options.crl_dir)


def _load(load: object, given: Pem, what: str) -> None:
    assert callable(load)
    try:
        load(given)
    except FileNotFoundError as error:
        raise CertificateError(f"cannot read {given!r}: no such file") from error
    except (ssl.SSLError, OSError, ValueError) as error:
        where = _shown(given, "the configured bytes")
        reason = tls_reason(error) if isinstance(error, ssl.SSLError) else str(error)
        raise CertificateError(f"no {what} in {where}: {reason}") from error


def _shown(given: Pem, kind: str) -> str:
    return kind if isinstance(given, bytes) else os.fspath(given)


@contextlib.contextmanager
def _as_file(given: Pem | None) -> Iterator[str | None]:
    """The path of a file with the PEM: OpenSSL reads certificates and keys only from files."""
    if given is None:
        yield None
    elif isinstance(given, bytes):
        # Readable by this user only, and deleted at the end of the block.
        with tempfile.NamedTemporaryFile(prefix="quicdist-", suffix=".pem") as file:
            file.write(given)
            file.flush()
            yield file.name
    else:
        yield os.fspath(given)


def _files(options: TlsOptions) -> Iterator[Path]:
    given = [options.cacert, options.crl_dir]
    for certificate in options.certificates:
        given += [certificate.certificate, certificate.key]
    for one in given:
        if one is not None and not isinstance(one, bytes):
            yield Path(one)


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)


#: Plainer texts for some reasons of OpenSSL.
_REASONS = {
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS on this port",
    "HTTP_REQUEST": "the peer does not speak TLS on this port (HTTP)",
    "UNSUPPORTED_PROTOCOL": "no TLS version in common",
    "NO_SHARED_CIPHER": "no cipher suite in common",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer showed no certificate",
    "KEY_VALUES_MISMATCH": "the key does not match the certificate",
    "BAD_DECRYPT": "wrong password for the key",
}


def tls_reason(error: ssl.SSLError) -> str:
    """The reason of an OpenSSL error, in words. It contains no text chosen by the peer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is refused: {error.verify_message}"
    reason = error.reason or ""
    if "_ALERT_" in reason:
        return f"the peer sent the alert {reason.partition('_ALERT_')[2].replace('_', ' ').lower()}"
    return _REASONS.get(reason) or reason.replace("_", " ").lower() or str(error)
