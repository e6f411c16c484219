# Every target does its own set-up; see `make help`.

SECONDS ?= 60
PYTEST_ARGS ?=
# Tests wait for half of their time, so three processes are faster even on two cores.
WORKERS ?= 3
MATRIX ?=
BENCH_ARGS ?=
PATHS_ARGS ?=
RESTARTS_ARGS ?=
CLUSTER_ARGS ?=
HOSTILE_ARGS ?=
SIMULATE_ARGS ?=
TUTORIALS ?=
# The tests of the carrier would double the time.
COVERED_BY := tests/term tests/protocol tests/discovery tests/config tests/node tests/otp tests/membership tests/metrics \
	tests/cli

python := .venv/bin/python
setup := @scripts/setup-venv.sh
bench_setup := @$(python) -c "import importlib.metadata as m; m.version('matplotlib'), m.version('py-spy')" \
	2>/dev/null || $(python) -m pip install --quiet --disable-pip-version-check --editable '.[bench]' || \
	echo "-- matplotlib or py-spy could not be installed: no plots and profiles" >&2

docs_setup := @$(python) -c "import mkdocs, material, mkdocstrings_handlers.python" 2>/dev/null || \
	$(python) -m pip install --quiet --disable-pip-version-check --editable '.[docs]'

release_setup := @$(python) -c "import build, twine, check_wheel_contents" 2>/dev/null || \
	$(python) -m pip install --quiet --disable-pip-version-check --editable '.[release]'

.DEFAULT_GOAL := help
# Every target below with a description.
.PHONY: $(shell awk -F: '/^[a-z-]+:.*## / { print $$1 }' Makefile)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## show two Python nodes over QUIC, then one with a stock BEAM over TCP, line by line
	$(setup)
	@scripts/setup-erlang.sh "the part of the demo with a BEAM"
	@$(python) examples/demo.py

test: ## run all tests; PYTEST_ARGS="-k term" selects
	$(setup)
	@scripts/setup-erlang.sh "the tests that need a BEAM"
	@$(python) -m pytest --numprocesses $(WORKERS) --dist loadfile $(PYTEST_ARGS)

docs: ## build the documentation as a site, which needs no network, into build/site
	$(setup)
	$(docs_setup)
	@NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --quiet
	@echo "build/site: open index.html, or serve it (with search): $(python) -m http.server --directory build/site"

tutorials: ## run each command of the tutorials, as a reader would, in a copy of the repository
	$(setup)
	@scripts/setup-erlang.sh "the tutorials"
	@$(python) -m tests.tutorials $(TUTORIALS)

coverage: ## measure the coverage of tests without a BEAM (ten minutes); fail below the minimum in pyproject.toml
	$(setup)
	@$(python) -m pytest -q --numprocesses $(WORKERS) --dist loadfile -m "not beam and not quic_dist" \
		--cov --cov-report=term $(COVERED_BY) $(PYTEST_ARGS)

matrix: ## run tests on every installed Python, with lowest and newest dependencies; MATRIX="3.12 lowest"
	$(setup)
	@scripts/setup-erlang.sh "the tests of the matrix that need a BEAM"
	@$(python) -m scripts.matrix $(MATRIX) --pytest-args="$(PYTEST_ARGS)"

lint: ## run ruff and mypy
	$(setup)
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

format: ## format the code with ruff
	$(setup)
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

fuzz: ## fuzz the term codec, the QUIC carrier and a node's peers, a third of SECONDS=3600 each
	$(setup)
	@set -e; for fuzzer in tests.term.fuzz tests.carrier.fuzz tests.node.fuzz_peer; do \
		$(python) -m $$fuzzer --seconds $$(( ($(SECONDS) + 2) / 3 )); done

simulate: ## run nodes in a simulated network with faults, by seeds; SECONDS=3600, SIMULATE_ARGS="--matrix"
	$(setup)
	@$(python) -m tests.simulated --seconds $(SECONDS) $(SIMULATE_ARGS)

hostile: ## attack a node and measure the cost, in some minutes; HOSTILE_ARGS="--only tcp" selects, --list lists
	$(setup)
	@$(python) -m tests.hostile $(HOSTILE_ARGS)

bench: ## measure the benchmarks against their peers, in a quarter of an hour; BENCH_ARGS="--rows echo" selects
	$(setup)
	$(bench_setup)
	@scripts/setup-erlang.sh "the rows with a BEAM"
	@$(python) -m benchmarks $(BENCH_ARGS)

paths: ## measure network faults over QUIC and TCP, in about an hour; PATHS_ARGS="--only loss-1-50" selects
	$(setup)
	@scripts/setup-erlang.sh "the pairs with a BEAM"
	@$(python) -m tests.paths $(PATHS_ARGS)

restarts: ## kill and restart a node 100 times over each carrier; RESTARTS_ARGS="--times 10"
	$(setup)
	@scripts/setup-erlang.sh "the pairs with a BEAM"
	@$(python) -m tests.restarts $(RESTARTS_ARGS)

cluster: ## compare a cluster of BEAMs and Python nodes with one of BEAMs; CLUSTER_ARGS="--erls A:B" for releases
	$(setup)
	@scripts/setup-erlang.sh "the clusters"
	@$(python) -m tests.cluster $(CLUSTER_ARGS)

brokers: ## join RabbitMQ and ejabberd (Debian's rabbitmq-server, ejabberd), if they are there
	$(setup)
	@scripts/setup-erlang.sh "the brokers"
	@$(python) -m pytest --slow tests/brokers $(PYTEST_ARGS)

soak: ## run mixed traffic between Python nodes and BEAMs; SECONDS=3600 for an hour
	$(setup)
	@scripts/setup-erlang.sh "the pairs with a BEAM"
	@$(python) -m tests.soak --seconds $(SECONDS)

profile: ## profile the CPU time of echoes and messages: table into docs/, flame graphs into build/profile
	$(setup)
	$(bench_setup)
	@$(python) -m benchmarks.profile

bench-term: ## compare the term codec with erlang_py
	$(setup)
	$(python) benchmarks/term.py

screenshots: ## make the pictures of the observer in docs/ (needs erlang-observer, Xvfb, ImageMagick)
	$(setup)
	@$(python) -m scripts.observer_screenshots

command-pictures: ## make the pictures of the command in docs/, from a run against a BEAM
	$(setup)
	@scripts/setup-erlang.sh "the pictures"
	@$(python) -m scripts.command_pictures

release: ## build and check the wheel and the sdist, and run the demo with the wheel on each Python; publish nothing
	$(setup)
	$(release_setup)
	@scripts/setup-erlang.sh "the part of the demo with a BEAM"
	@$(python) -m scripts.release

interop: ## run only the tests against a real quic_dist (needs: docs/development.md)
	$(setup)
	@$(python) -m pytest -m quic_dist $(PYTEST_ARGS)

gateway: ## run the BEAM tests with the BEAM behind a gateway, and two RabbitMQ nodes over gateways, in ten minutes
	$(setup)
	@scripts/setup-erlang.sh "the tests with a BEAM behind a gateway"
	@$(python) -m pytest --gateway --numprocesses $(WORKERS) --dist loadfile -m gateway $(PYTEST_ARGS)

tls: ## run the BEAM tests over TLS, in ten minutes (needs an erl with ssl: Debian's erlang-ssl)
	$(setup)
	@scripts/setup-erlang.sh "the tests with a BEAM over TLS"
	@$(python) -m pytest --tls --numprocesses $(WORKERS) --dist loadfile -m tls $(PYTEST_ARGS)

clean: ## remove .venv, caches and build files
	rm -rf .venv .matrix .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov build dist
	find src tests examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +
