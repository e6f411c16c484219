"""Erlang's source syntax: terms parsed from it, and printed as a BEAM prints them."""
