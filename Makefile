# `make demo` and `make test` do all their own set-up; see `make help`.

SECONDS ?= 60
PYTEST_ARGS ?=
# Half of the time of the tests is waiting, so that two go side by side on two cores, and on one.
WORKERS ?= 2
MATRIX ?=
BENCH_ARGS ?=
PATHS_ARGS ?=
RESTARTS_ARGS ?=
HOSTILE_ARGS ?=
SIMULATE_ARGS ?=
# About ten minutes of tests in one process; with those of the carrier it would be twenty.
COVERED_BY := tests/term tests/protocol tests/discovery tests/config tests/node tests/otp tests/cli

python := .venv/bin/python
setup := @scripts/setup-venv.sh
bench_setup := @$(python) -c "import importlib.metadata as m; m.version('matplotlib'), m.version('py-spy')" \
	2>/dev/null || $(python) -m pip install --quiet --disable-pip-version-check --editable '.[bench]' || \
	echo "-- what draws could not be installed: the table alone" >&2

.DEFAULT_GOAL := help
.PHONY: help demo test coverage matrix lint format fuzz simulate hostile paths restarts soak bench profile bench-term interop clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## Python nodes over QUIC, then a stock BEAM over TCP, line by line
	$(setup)
	@scripts/setup-erlang.sh "the part of the demo with a stock BEAM"
	@$(python) examples/demo.py

test: ## all tests; PYTEST_ARGS="-k term" chooses
	$(setup)
	@scripts/setup-erlang.sh "the tests that talk to a BEAM"
	@$(python) -m pytest --numprocesses $(WORKERS) --dist loadfile $(PYTEST_ARGS)

coverage: ## which lines and branches the tests without a BEAM run, in some minutes; fails below the floor in pyproject.toml
	$(setup)
	@$(python) -m pytest -q --numprocesses $(WORKERS) --dist loadfile -m "not beam and not quic_dist" \
		--cov --cov-report=term $(COVERED_BY) $(PYTEST_ARGS)

matrix: ## the tests that need no BEAM on every Python there is, lowest and newest dependencies; MATRIX="3.12 lowest"
	$(setup)
	@scripts/setup-erlang.sh "the few tests of the matrix that talk to a BEAM"
	@$(python) -m scripts.matrix $(MATRIX) --pytest-args="$(PYTEST_ARGS)"

lint: ## ruff and mypy
	$(setup)
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

format: ## let ruff put the code in form
	$(setup)
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

fuzz: ## bad bytes for the term codec, the QUIC carrier and a node's peers, a third each; SECONDS=3600 for an hour
	$(setup)
	@set -e; for fuzzer in tests.term.fuzz tests.carrier.fuzz tests.node.fuzz_peer; do \
		$(python) -m $$fuzzer --seconds $$(( ($(SECONDS) + 2) / 3 )); done

simulate: ## nodes on bad paths in a simulated network, seed after seed; SECONDS=3600 for an hour, SIMULATE_ARGS="--matrix"
	$(setup)
	@$(python) -m tests.simulated --seconds $(SECONDS) $(SIMULATE_ARGS)

hostile: ## attack a node that serves a good peer, in some minutes; HOSTILE_ARGS="--only tcp" chooses, --list names
	$(setup)
	@$(python) -m tests.hostile $(HOSTILE_ARGS)

bench: ## each goal as a ratio to its peer, in some minutes; BENCH_ARGS="--rows echo" chooses
	$(setup)
	$(bench_setup)
	@scripts/setup-erlang.sh "the rows with a BEAM"
	@$(python) -m benchmarks $(BENCH_ARGS)

paths: ## messages, calls and dials on every path beside TCP, in about an hour; PATHS_ARGS="--only loss-1-50" chooses
	$(setup)
	@scripts/setup-erlang.sh "the pairs with a BEAM"
	@$(python) -m tests.paths $(PATHS_ARGS)

restarts: ## a node killed and started again 100 times, over each carrier; RESTARTS_ARGS="--times 10" chooses
	$(setup)
	@scripts/setup-erlang.sh "the pairs with a BEAM"
	@$(python) -m tests.restarts $(RESTARTS_ARGS)

soak: ## mixed traffic of all kinds between Python nodes and BEAMs; SECONDS=3600 for an hour
	$(setup)
	@scripts/setup-erlang.sh "the nodes that are BEAMs"
	@$(python) -m tests.soak --seconds $(SECONDS)

profile: ## where the time of an echo and of 1 MiB goes: flame graphs into docs/
	$(setup)
	$(bench_setup)
	@$(python) -m benchmarks.profile

bench-term: ## the term codec beside erlang_py
	$(setup)
	$(python) benchmarks/term.py

interop: ## only the tests against a real quic_dist (docs/development.md says what they need)
	$(setup)
	@$(python) -m pytest -m quic_dist $(PYTEST_ARGS)

clean: ## remove .venv and what the tools have left
	rm -rf .venv .matrix .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov build dist
	find src tests examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +
