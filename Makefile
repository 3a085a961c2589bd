# Everything on a fresh machine: `make demo` (a real campaign) and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_PROCESSES ?= 2

.PHONY: demo test soak test-browser check clean

demo: $(STAMP)
	$(BIN)/evo run configs/quickstart.yaml

test: $(STAMP)
	$(BIN)/python -m pytest -m "not soak and not serial" -n $(TEST_PROCESSES) --dist worksteal
	$(BIN)/python -m pytest -m "not soak and serial"

soak: $(STAMP)
	$(BIN)/python -m pytest -m soak --timeout 1800 $(SOAK_FLAGS)

test-browser: $(STAMP)  # needs chromium and chromedriver
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[browser]"
	$(BIN)/python -m pytest -m browser -s tests/report

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,bench]"
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
