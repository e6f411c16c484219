"""The options of TLS distribution, as ``inet_tls_dist`` reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quicdist.carrier.tls.settings import CertificateAndKey, TlsOptions, TlsSettings
from quicdist.config import Config, ConfigError, read_config
from quicdist.config.tls_settings import tls_settings

Read = Callable[..., Config]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write an option file and a vm.args that names it, and read them."""

    def write_and_read(text: str | None = None, flags: str = "") -> Config:
        words = ["-proto_dist inet_tls", flags]
        if text is not None:
            file = tmp_path / "inet_tls.conf"
            file.write_text(text)
            words.append(f"-ssl_dist_optfile {file}")
        (tmp_path / "vm.args").write_text("\n".join(words))
        return read_config(vm_args=tmp_path / "vm.args", environ={"DIR": "/etc/tls"})

    return write_and_read


def settings_of(config: Config) -> TlsSettings:
    assert config.tls is not None
    return config.tls


def test_proto_dist_inet_tls_is_the_carrier_tls(read: Read) -> None:
    assert read().carriers == ("tls",)
    assert read().tls is None


def test_both_sides_have_their_own_options(read: Read) -> None:
    settings = settings_of(
        read("""%% the cluster's own
        [{server, [{certfile, "${DIR}/cert.pem"}, {keyfile, "${DIR}/key.pem"}, {password, "open"},
                   {cacertfile, "${DIR}/ca.pem"}, {verify, verify_peer},
                   {secure_renegotiate, true}, {reuse_sessions, true}, {ktls, true}]},
         {client, [{cacertfile, <<"/other.pem">>}, {verify, verify_peer}, {depth, 3},
                   {versions, ['tlsv1.3', 'tlsv1.2']}, {server_name_indication, "db.example"}]}].
    """)
    )
    assert settings.server == TlsOptions(
        certificates=(CertificateAndKey(Path("/etc/tls/cert.pem"), Path("/etc/tls/key.pem"), "open"),),
        cacert=Path("/etc/tls/ca.pem"),
        verify=True,
        versions=("tlsv1.2",),  # inet_tls_dist's default
    )
    assert settings.client == TlsOptions(
        cacert=Path("/other.pem"),
        verify=True,
        depth=3,
        versions=("tlsv1.2", "tlsv1.3"),
        server_name="db.example",
    )


def test_a_side_without_options_has_the_defaults(read: Read) -> None:
    settings = settings_of(read('[{server, [{certfile, "c.pem"}]}].'))
    assert settings.client == TlsOptions(versions=("tlsv1.2",))
    assert settings.server.certificates == (CertificateAndKey(Path("c.pem")),)


def test_the_first_of_two_options_counts(read: Read) -> None:
    settings = settings_of(read("[{client, [{verify, verify_peer}, {verify, verify_none}]}]."))
    assert settings.client.verify


def test_flags_are_read_as_pairs_and_come_before_the_file(read: Read) -> None:
    settings = settings_of(
        read(
            '[{server, [{certfile, "file.pem"}, {depth, 1}]}].',
            "-ssl_dist_opt server_certfile flag.pem server_keyfile key.pem client_verify verify_peer"
            " client_depth 2 other_thing x",
        )
    )
    assert settings.server.certificates == (CertificateAndKey(Path("flag.pem"), Path("key.pem")),)
    assert settings.server.depth == 1
    assert settings.client.verify
    assert settings.client.depth == 2


def test_the_password_of_a_flag_opens_the_key_that_the_file_names(read: Read) -> None:
    settings = settings_of(read('[{server, [{certfile, "c.pem"}]}].', "-ssl_dist_opt server_password open"))
    assert settings.server.certificates == (CertificateAndKey(Path("c.pem"), None, "open"),)


def test_certs_keys_goes_before_certfile(read: Read) -> None:
    settings = settings_of(read('[{server, [{certfile, "a"}, {certs_keys, [#{certfile => "b"}]}]}].'))
    assert settings.server.certificates == (CertificateAndKey(Path("b")),)


@pytest.mark.parametrize(
    ("options", "verify"),
    [
        ('{cacertfile, "ca.pem"}', True),
        ('{cacertfile, "ca.pem"}, {verify, verify_none}', False),
        ("", False),  # OTP 25 and before: those after refuse to dial so
    ],
)
def test_a_client_with_cas_verifies_unless_it_is_told_not_to(read: Read, options: str, verify: bool) -> None:
    settings = settings_of(read(f"[{{client, [{options}]}}, {{server, [{options}]}}]."))
    assert settings.client.verify is verify
    assert not settings.server.verify


def test_verify_fun_of_a_flag_is_a_triple(read: Read) -> None:
    flags = '-ssl_dist_opt server_verify_fun "{inet_tls_dist,verify_client,[]}"'
    assert not settings_of(read(flags=flags)).server.verify


def test_a_flag_that_is_no_term_is_refused(read: Read) -> None:
    with pytest.raises(ConfigError, match="server: crl_cache: a term expected"):
        read(flags="-ssl_dist_opt server_crl_cache {")


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ("{crl_check, peer}", "crl_check", "peer"),
        ("{fail_if_no_peer_cert, false}", "fail_if_no_peer_cert", False),
        ("{crl_check, true}", "crl_check", "all"),
        ("{crl_check, false}", "crl_check", "none"),
        ("{crl_cache, {ssl_crl_hash_dir, {internal, [{dir, \"/crls\"}]}}}", "crl_dir", Path("/crls")),
        ("{server_name_indication, disable}", "check_host", False),
        ('{ciphers, "AES256-SHA:TLS_AES_128_GCM_SHA256"}', "ciphers", ("AES256-SHA",)),
        ('{ciphers, ["AES256-SHA"]}', "ciphers", ("AES256-SHA",)),
        ("{verify_fun, {fun inet_tls_dist:verify_client/3, initial}}", "verify", False),
        ("{certs_keys, [#{certfile => \"a.pem\", keyfile => \"b.pem\"}]}", "certificates",
         (CertificateAndKey(Path("a.pem"), Path("b.pem")),)),
    ],
)  # fmt: skip
def test_an_option_is_read(read: Read, options: str, field: str, value: object) -> None:
    assert getattr(settings_of(read(f"[{{server, [{options}]}}].")).server, field) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[{server, [{verify_fun, {fun m:f/3, []}}]}].", "verify_fun: only inet_tls_dist:verify_client"),
        ("[{server, [{sni_fun, fun m:f/1}]}].", "server: the option sni_fun is not supported"),
        ("[{client, [{verify, maybe}]}].", "client: verify: verify_peer or verify_none expected"),
        ("[{client, [{versions, ['tlsv1.1']}]}].", r"client: versions: 'tlsv1.2' or 'tlsv1.3' expected"),
        ("[{client, [{crl_check, best_effort}]}].", "client: crl_check: true, peer or false expected"),
        ("[{client, [{crl_cache, {ssl_crl_cache, {internal, [{http, 5}]}}}]}].", "client: crl_cache: "),
        ("[{client, [{password, 7}]}].", r"client: password: a string expected$"),
        ("[{peer, []}].", "{server, Options} or {client, Options} expected, got {peer,"),
        ("{server, []}.", r"\[{server, Options}, {client, Options}\] expected"),
        ("[{server, [{cacerts, public_key:cacerts_get()}]}].", "only terms are read, not expressions"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_followed_is_refused(read: Read, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        read(text)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "vm.args").write_text(f"-proto_dist inet_tls -ssl_dist_optfile {tmp_path}/none.conf")
    with pytest.raises(ConfigError, match=r"none\.conf: cannot be read"):
        read_config(vm_args=tmp_path / "vm.args", environ={})


def test_the_certificate_of_the_program_comes_before_that_of_the_file(read: Read) -> None:
    config = read('[{server, [{certfile, "c.pem"}, {verify, verify_peer}]}, {client, [{depth, 1}]}].')
    settings = tls_settings(config, cert="own.pem", key="own.key", cacert="own-ca.pem")
    assert settings.server.certificates == (CertificateAndKey("own.pem", "own.key"),)
    assert settings.client.certificates == settings.server.certificates
    assert settings.server.cacert == settings.client.cacert == "own-ca.pem"
    assert settings.server.verify
    assert settings.client.depth == 1


def test_settings_of_the_program_stand_in_place_of_the_file(read: Read) -> None:
    given = TlsSettings(server=TlsOptions(verify=True, fail_if_no_peer_cert=False))
    assert tls_settings(read("[{client, [{depth, 1}]}]."), given) == given


@pytest.mark.parametrize("verify", [True, False])
def test_without_a_file_a_client_verifies_as_the_program_says(verify: bool) -> None:
    settings = tls_settings(Config(), cert="c", key="k", cacert="ca", verify=verify)
    assert settings.client.verify is verify
    assert settings.client.versions == ("tlsv1.2", "tlsv1.3")
    assert not settings.server.verify
