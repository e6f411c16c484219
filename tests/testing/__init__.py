"""The pytest plugin, and what it makes: nodes, a fake BEAM, a real one."""
