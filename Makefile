# Two commands for a fresh machine with Python 3.11 to 3.13: `make demo` and `make test`; then `make benchmark`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

OUT := results/smoke
CORE := $(patsubst %,tests/test_%.py,rule callback behaviours kl clocks)

.PHONY: demo test core lowest benchmark lint docs overhead throughput results calibration build extras clean

demo: $(VENV)/demo.installed  ## train with the callback for a minute, and show what it did
	$(BIN)/python -m benchmarks.demo

test: $(VENV)/test.installed  ## all tests
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

core: $(VENV)/test.installed  ## the minute of them that a user's training goes through
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(CORE)

lowest: .venv-lowest/core.installed  ## the same with Python 3.11 at the lowest version of each range
	.venv-lowest/bin/python -m pytest --numprocesses 2 --dist worksteal $(CORE)

benchmark: $(VENV)/bench.installed  ## every schedule of the benchmark on two seeds: does it all work here?
	$(BIN)/python -m benchmarks run smoke --out $(OUT)
	$(BIN)/python -m benchmarks report $(OUT)

lint: $(VENV)/lint.installed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/docs.installed  ## the pages, into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

overhead: $(VENV)/test.installed  ## what the callback costs, as ratios
	$(BIN)/python -m benchmarks.measure overhead

throughput: $(VENV)/test.installed  ## how fast the benchmark's engine is, as ratios
	$(BIN)/python -m benchmarks.measure throughput

results: $(VENV)/bench.installed  ## the pages of docs/results again, from the files beside them
	$(BIN)/python -m benchmarks.study report

calibration: $(VENV)/test.installed  ## false decays and recall of the rules on seeded traces
	$(BIN)/python -m benchmarks.measure calibration

build: $(BIN)/pip  ## sdist and wheel into dist/, their metadata and description checked
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt build twine
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

extras:  ## every extra in an empty environment: before a release
	$(PYTHON) -m tests.check_extras

$(VENV)/%.installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) ".[$*]"
	@touch $@

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

# pyarrow: pandas 2.2.0, which stable-baselines3 imports, warns without it.
.venv-lowest/core.installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt \
		--editable ".[contrib,demo]" hypothesis pytest pytest-xdist pyarrow
	@touch $@

clean:
	rm -rf .venv .venv-* dist .mypy_cache .pytest_cache .ruff_cache .hypothesis runs docs/_build
