# make bench: a report from nothing, also when a cell failed (OUT=folder, ARGS="--seeds 3"). make test: lint, types, imports, tests. Needs python3.11+ and make only.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= runs
ARGS ?=

.PHONY: bench install test clean

bench: install
	@status=0; $(BIN)/bench run --all-cities --out $(OUT) $(ARGS) || status=$$?; \
	if [ $$status -le 1 ]; then $(BIN)/bench report --out $(OUT) || status=$$?; fi; \
	exit $$status

install: .venv/installed

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

clean:
	rm -rf .venv

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v >= (3, 11) else "python 3.11 or newer is needed, but $(PYTHON) is %d.%d; set PYTHON=python3.11" % v)'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-dev: pyproject.toml .venv/installed | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
