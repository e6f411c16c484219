"""A Python child in an Elixir supervision tree."""
