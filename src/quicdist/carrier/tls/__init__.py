"""The TLS carrier: OTP's ``inet_tls_dist``. Imported by name only where it is used."""
