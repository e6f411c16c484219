"""The TLS carrier, compatible with OTP's ``inet_tls_dist``."""
