"""A Python program as a node of an Erlang or Elixir cluster, over QUIC."""

__version__ = "0.1.0"

