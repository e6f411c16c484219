"""Loss detection, congestion control and pacing (RFC 9002, RFC 9438), without I/O and without a clock."""
