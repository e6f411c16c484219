"""The TCP carrier, compatible with OTP's ``inet_tcp_dist``."""
