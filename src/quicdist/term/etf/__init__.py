"""The External Term Format (erl_ext_dist), in both directions."""
