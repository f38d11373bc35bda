# make demo   the main job on an emulated board: train, quantize, compile, run, compare
# make test   the test suite            make lint   formatting, types, style
# make bench  the benchmark tables (slow; uses the data folder named by TINYOPT_DATA where there is one)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2
READY := $(VENV)/.ready

.PHONY: demo test lint bench format clean

# Two steps: torch first, alone, so that the pinned build is taken. labgrid brings a serial library that takes the place
# of pyserial: it gets an environment of its own.
$(READY): pyproject.toml constraints.txt
	.ci/system-packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(PYTHON) -m venv $(VENV)/labgrid
	$(VENV)/labgrid/bin/pip install --quiet --disable-pip-version-check labgrid
	touch $@

demo: $(READY)
	$(BIN)/tinyopt demo --output build/demo

test: $(READY)
	$(BIN)/pytest -n $(JOBS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files '*.c' '*.h' | xargs -r clang-format --dry-run -Werror

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	git ls-files '*.c' '*.h' | xargs -r clang-format -i

bench: $(READY)
	$(BIN)/python -m benchmarks.run

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
