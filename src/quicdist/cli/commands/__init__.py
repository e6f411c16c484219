"""The subcommands of ``quicdist``, each in a module of its own that is loaded when it is used."""
