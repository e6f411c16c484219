"""Attacks on a node that serves a good peer meanwhile, and what each costs it: ``make hostile``.

One module a family of attacks; :mod:`tests.hostile.node` is the node under attack, in a process of its
own, and :mod:`tests.hostile.measure` what is measured and which goals it has to keep.
"""
