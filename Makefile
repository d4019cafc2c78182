# valkeeper: `make help` lists every target.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FAST := tests/unit tests/property tests/component

.PHONY: help up down kubeconfig status test check lint types e2e nightly bench crds pins clean

help: ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

up: $(VENV)/installed ## From nothing to a Ready Valkey cluster on this machine's Kubernetes (or KUBECONFIG's)
	@$(BIN)/python -m local quickstart

down: $(VENV)/installed ## Stop the local Kubernetes; nothing stays running or mounted
	@$(BIN)/python -m local down

kubeconfig: $(VENV)/installed ## Print the path of the local cluster's kubeconfig
	@$(BIN)/python -m local kubeconfig

status: $(VENV)/installed ## Say what of the local Kubernetes runs
	@$(BIN)/python -m local status

test: check e2e ## Every test, the end-to-end ones on the local Kubernetes (started when needed)

check: lint types ## What needs no Kubernetes: style, types, layers, generated files, fast tests
	$(BIN)/python -m pytest $(FAST)

lint: $(VENV)/installed ## Style, spelling, import layers, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell --skip '*.sum,*.mod,./.venv,./.git,./crds,requirements*.txt'
	$(BIN)/python -m valkey_cluster.crd --check

types: $(VENV)/installed ## mypy, strict
	$(BIN)/mypy

e2e: $(VENV)/installed ## The end-to-end tests alone
	$(BIN)/python -m local session -- $(BIN)/python -m pytest tests/e2e

nightly: $(VENV)/installed ## The property tests with thousands of examples
	$(BIN)/python -m pytest tests/property --hypothesis-profile=search

bench: up ## Every operation under traffic and creation, five times each, into docs/benchmarks.md (half an hour)
	export KUBECONFIG="$${KUBECONFIG:-$$($(BIN)/python -m local kubeconfig)}"
	$(BIN)/python -m tests.bench.create
	$(BIN)/python -m tests.bench.operations --write

crds: $(VENV)/installed ## Write crds/ and docs/reference.md from the models
	$(BIN)/python -m valkey_cluster.crd

pins: $(VENV)/installed ## Write requirements*.txt, with hashes, from requirements*.in
	$(BIN)/pip-compile -q --generate-hashes --no-emit-find-links --strip-extras -o requirements.txt requirements.in
	$(BIN)/pip-compile -q --generate-hashes --no-emit-find-links --allow-unsafe --strip-extras \
	  -c requirements.txt -o requirements-dev.txt requirements-dev.in

clean: ## Remove the venv and caches of tools; builds outside the checkout stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/installed: requirements-dev.txt
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
	  echo "valkeeper needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1
	fi
	echo "making $(VENV) from requirements-dev.txt (once, about a minute)"
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	touch $@
