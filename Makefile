# What a person types. Everything runs in .venv, which is made on first use and again when pyproject.toml changes.
#
#   make demo    run the first notebook headless: crashes, retries, restarts; then say what came back and how fast
#   make lab     open JupyterLab on it
#   make test    every check and every test
#   make matrix  the tests of the notebook side with each ipykernel that it is made for
#   make chaos   durable actors under ten minutes of random kills: a table and a picture in out/ (MINUTES=1, SEED=7)
#
# PYTHON is the interpreter that .venv is made from; Python 3.11 or newer.

.DEFAULT_GOAL := demo
.SILENT:
.PHONY: demo lab test matrix lint bench chaos clean

# Candidates in order; the first that exists and is new enough is taken.
PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	echo $$candidate; break; fi; done)

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NOTEBOOK := notebooks/01_survive_a_crash.ipynb

demo: $(STAMP)
	$(BIN)/python notebooks/demo.py

# Jupyter refuses to run as root unless told, and in a container one often is.
lab: $(STAMP)
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) $(NOTEBOOK)

# A process of tests that dies is not replaced: pytest-xdist would wait for ever for what the dead one had done.
PYTEST := $(BIN)/python -m pytest -q -n auto --dist loadfile --max-worker-restart 0

# What is quick and needs no process comes first.
test: $(STAMP) lint
	$(PYTEST) tests/unit
	$(PYTEST) --ignore tests/unit tests

# Each lies in a folder of its own before all else on the path, which a kernel inherits: one environment is enough.
KERNELS := 6.31.0 7.1.0 7.3.0 7.4.0
matrix: $(STAMP)
	set -e; for version in $(KERNELS); do \
		folder=$(VENV)/matrix/ipykernel-$$version; \
		test -d $$folder || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
			--target $$folder ipykernel==$$version; \
		echo "ipykernel $$version"; \
		PYTHONPATH=$$folder IPYACTORS_TEST_IPYKERNEL=$$version $(PYTEST) tests/notebook; done

lint: $(STAMP)
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	echo "lint: ruff, mypy and the import contracts are content"

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m benchmarks

# The seed is printed; the status is 1 if anything was lost or done twice.
MINUTES ?= 10
chaos: $(STAMP)
	$(BIN)/python -m tests.chaos.durable_storm --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) --table out/storm.md

clean:
	rm -rf $(VENV) build dist out .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# The stamp is written last: an install that was cut short is done again.
$(STAMP): pyproject.toml
	if ! $(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "ipyactors needs Python 3.11 or newer, and $(or $(PYTHON),no python3 on the PATH) is not."; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; fi
	test -x $(BIN)/python || $(MAKE) --no-print-directory new-venv PYTHON='$(PYTHON)'
	echo "installing into $(VENV) (a minute, the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[notebook,test]'
	touch $@

# Debian splits ensurepip off into python3-venv; virtualenv brings its own pip.
.PHONY: new-venv
new-venv:
	if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(VENV); \
	elif $(PYTHON) -m virtualenv --version >/dev/null 2>&1; then $(PYTHON) -m virtualenv --quiet $(VENV); \
	elif command -v virtualenv >/dev/null; then virtualenv --quiet --python $(PYTHON) $(VENV); \
	else echo "$(PYTHON) cannot make a virtual environment: its module 'ensurepip' is missing."; \
		echo "On Debian and Ubuntu: apt-get install python3-venv. Elsewhere: pip install virtualenv."; exit 1; fi
