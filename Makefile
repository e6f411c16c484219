# `make demo` and `make test` do all their own set-up; see `make help`.

SECONDS ?= 60
PYTEST_ARGS ?=

python := .venv/bin/python
setup := @scripts/setup-venv.sh

.DEFAULT_GOAL := help
.PHONY: help demo test lint format fuzz bench-term interop clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## Python nodes over QUIC, then a stock BEAM over TCP, line by line
	$(setup)
	@scripts/setup-erlang.sh "the part of the demo with a stock BEAM"
	@$(python) examples/demo.py

test: ## all tests; PYTEST_ARGS="-k term" chooses
	$(setup)
	@scripts/setup-erlang.sh "the tests that talk to a BEAM"
	@$(python) -m pytest $(PYTEST_ARGS)

lint: ## ruff and mypy
	$(setup)
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

format: ## let ruff put the code in form
	$(setup)
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

fuzz: ## feed the term decoder bad bytes; SECONDS=3600 for an hour
	$(setup)
	$(python) -m tests.term.fuzz --seconds $(SECONDS)

bench-term: ## the term codec beside erlang_py
	$(setup)
	$(python) benchmarks/term.py

interop: ## only the tests against a real quic_dist (docs/development.md says what they need)
	$(setup)
	@$(python) -m pytest -m quic_dist $(PYTEST_ARGS)

clean: ## remove .venv and what the tools have left
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find src tests examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +
