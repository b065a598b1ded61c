# make run    sets up what it needs and runs the quick experiment to tables, figures and a page
# make test   sets up what it needs and passes the tests
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# One thread each: two processes of two threads on two cores wait for each other more than they work.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q

.PHONY: run test test-slow faults mutants perf perf-short gpu lint docs clean

run: $(VENV)/.run
	$(BIN)/python -m bench -m experiment=quick mixing.synthetic_ratio=0,1 \
		hydra/launcher=processes hydra.launcher.n_jobs=-1 runtime.num_threads=1
	$(BIN)/python -m bench.report outputs/quick
	@echo "Try a ratio in between: $(BIN)/python -m bench mixing.synthetic_ratio=0.5 && $(BIN)/python -m bench.report outputs/quick"

test: $(VENV)/.dev
	$(PYTEST) -n 2 --dist loadfile

test-slow: $(VENV)/.dev   # minutes: whole runs of every experiment, kill tests
	$(PYTEST) -m slow --timeout 3600

faults: $(VENV)/.dev       # long: kills, stops, full disks, harmed files, each many times; SHORT=1 takes some ten minutes
	$(BIN)/python tests/faults/run.py $(if $(SHORT),--short)

mutants: $(VENV)/.dev      # an hour: plants errors one at a time and counts those that the tests catch
	$(BIN)/python tests/mutants/run.py

perf: $(VENV)/.perf        # us and what one would pick instead, in turn: 50 minutes on two cores
	$(BIN)/python -m bench.perf

perf-short: $(VENV)/.perf  # 2 minutes: fails where a ratio is below a quarter of its target
	$(BIN)/python -m bench.perf --short --out outputs/perf-short

gpu: $(VENV)/.dev          # the first hour with a GPU: tests, smoke, speed, equal runs; writes outputs/gpu/report.json
	$(BIN)/python -m bench.perf.first_hour

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev         # the pages of docs/ into site/, with no request to the network
	$(BIN)/mkdocs build --strict --quiet

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %s: make PYTHON=python3.12" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.run

$(VENV)/.perf: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[perf]'
	touch $@

clean:                    # what was installed; outputs/ stays
	rm -rf $(VENV) site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
