"""The carrier TCP, as OTP's inet_tcp_dist."""
