# Everything a developer types. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# Most of the tests' time is waiting; the tests of one file share what they have set up, and the slow ones come first.
PARALLEL ?= -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test check bench soak image image-test cluster-test fmt lock docs clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: .venv/.installed ## See it work: control records in, live ticks out, until Ctrl-C
	@exec $(BIN)/tickbridge demo $(ARGS)

test: .venv/.installed .venv/.tools ## Run all tests, on a real Kafka
	@$(BIN)/python -m tests.support.jars >/dev/null || true
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

check: .venv/.installed .venv/.tools ## Everything that CI holds: format, lint, types, drift of generated files, tests with coverage
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m scripts.settings_table --check
	$(BIN)/python -m scripts.chart_schema --check
	$(BIN)/python -m scripts.chart_readme --check
	$(BIN)/python -m scripts.topics_doc --check
	$(BIN)/python -m scripts.symbols_table --check
	$(BIN)/python -m scripts.compose_alerts --check
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: .venv/.installed .venv/.tools ## Measure against a real Kafka, the naive script beside it
	$(BIN)/python -m bench.flood $(ARGS)
	$(BIN)/python -m bench.reaction
	$(BIN)/python -m bench.control

soak: .venv/.installed .venv/.tools ## Random faults for as long as one likes, judged at the end: ARGS="--minutes 30 --seed 7"
	$(BIN)/python -m bench.soak $(ARGS)

image: ## Build the image: ARGS="[--no-registry] [OUT.tar [TAG]]"
	@scripts/image-tools.sh
	scripts/image.sh $(ARGS)

image-test: .venv/.installed .venv/.tools ## Build the image for real, and try it with a real Kafka (not part of `test`)
	@scripts/image-tools.sh
	TICKBRIDGE_TEST_IMAGE=$${TICKBRIDGE_TEST_IMAGE:-yes} $(BIN)/python -m pytest tests/image $(ARGS)

cluster-test: .venv/.installed .venv/.tools ## Try chart and image on a real Kubernetes, built here once (not part of `test`)
	@scripts/image-tools.sh || true
	@scripts/cluster-tools.sh
	@$(BIN)/python -m tests.cluster.programs >/dev/null || true
	$(BIN)/python -m pytest tests/cluster --exitfirst $(ARGS)

fmt: .venv/.installed ## Format, and mend what the linter can
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

docs: .venv/.installed ## Write the generated files anew
	$(BIN)/python -m scripts.settings_table
	$(BIN)/python -m scripts.chart_schema
	$(BIN)/python -m scripts.chart_readme
	$(BIN)/python -m scripts.topics_doc
	$(BIN)/python -m scripts.symbols_table
	$(BIN)/python -m scripts.compose_alerts

lock: .venv/.installed ## Pin the newest versions that pyproject.toml allows
	PYTHON=$(BIN)/python scripts/lock.sh

clean: ## Remove what was installed and cached here
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*

.venv/.installed: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tickbridge needs Python 3.11 or newer; name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Installing into .venv (once) …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.tools: .venv/.installed scripts/test-tools.sh
	@scripts/test-tools.sh
	@touch $@
