# Two commands for a fresh machine with Python 3.11 to 3.13: `make demo` and `make test`; then `make benchmark`.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

OUT := results/smoke

.PHONY: demo test benchmark lint docs overhead throughput results calibration build extras clean

demo: .venv/demo.installed  ## train with the callback for a minute, and show what it did
	$(BIN)/python -m benchmarks.demo

test: .venv/test.installed  ## all tests
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

benchmark: .venv/bench.installed  ## every schedule of the benchmark on two seeds: does it all work here?
	$(BIN)/python -m benchmarks run smoke --out $(OUT)
	$(BIN)/python -m benchmarks report $(OUT)

lint: .venv/lint.installed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/docs.installed  ## the pages, into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

overhead: .venv/test.installed  ## what the callback costs, as ratios
	$(BIN)/python -m benchmarks.measure overhead

throughput: .venv/test.installed  ## how fast the benchmark's engine is, as ratios
	$(BIN)/python -m benchmarks.measure throughput

results: .venv/bench.installed  ## the pages of docs/results again, from the files beside them
	$(BIN)/python -m benchmarks.study report
	$(BIN)/python -m benchmarks.control report
	$(BIN)/python -m benchmarks.control batch
	$(BIN)/python -m benchmarks.measure defaults

calibration: .venv/test.installed  ## false decays and recall of the rules on seeded traces
	$(BIN)/python -m benchmarks.measure calibration

build: .venv/bin/pip  ## sdist and wheel into dist/, their metadata and description checked
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt build twine
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

extras:  ## every extra in an empty environment: before a release
	$(PYTHON) -m tests.check_extras

.venv/%.installed: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) ".[$*]"
	@touch $@

.venv/bin/pip:
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache .hypothesis runs docs/_build
