# Two commands do everything, set-up included: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEV_INSTALLED := $(VENV)/.installed-dev
LONG_INSTALLED := $(VENV)/.installed-long
SITE_INSTALLED := $(VENV)/.installed-site
# One torch thread per test worker: two workers fill a 2-core machine.
WORKERS ?= 2
# A file of tests at a time (tests/conftest.py), in the order in which they are collected.
DIVIDED := --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder

.PHONY: setup demo test test-long gpu-check site lint format clean

setup: $(DEV_INSTALLED)

# torch goes first and alone, pinned: a bare "torch" can pull gigabytes of GPU libraries.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[analysis]"
	touch $@

# What tests and tools need besides takes as long again: the demo does without.
$(DEV_INSTALLED): $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# The long tests run notebooks in a kernel, shards on Ray, and the inspector's page in a browser
# (where the system has Chromium).
$(LONG_INSTALLED): $(DEV_INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[browser,docs,notebooks,ray]"
	touch $@

$(SITE_INSTALLED): $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

# The documentation as pages, into build/site; `python -m http.server -d build/site` shows it.
site: $(SITE_INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

demo: $(INSTALLED)
	$(BIN)/proxylm demo

test: lint
	$(BIN)/python -m pytest $(DIVIDED)

# Prints the files with lines that no test reaches, and fails below pyproject.toml's floor.
test-long: lint $(LONG_INSTALLED)
	$(BIN)/python -m pytest $(DIVIDED) --timeout 3600 -m "long or not long" \
		--cov --cov-report term:skip-covered

# What only GPUs show: attention's backward there, bfloat16, ranks over NCCL; then tables of training,
# decoding and agreement with the CPU. Where there are none, or too few, it says what it leaves out.
gpu-check: $(DEV_INSTALLED)
	$(BIN)/python -m pytest -rs tests/models/test_gpu_passes.py tests/training/test_gpu_ranks.py
	$(BIN)/proxylm bench gpu

lint: $(DEV_INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV_INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
