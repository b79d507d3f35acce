# Every target makes what it needs: its own virtual environment, the installation, then the task.
# Reruns skip what is done. Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow test-gpu test-formats mutants lint format docs dev clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

quickstart: $(VENV)/.installed ## search, export, check and time a network on this machine
	$(BIN)/ofa-tk quickstart
	@echo "To type ofa-tk in this shell, in any folder:  . '$$(cd $(VENV) && pwd)/bin/activate'"

test: $(VENV)/.installed-test ## the test suite
	$(BIN)/python -m pytest -n auto

test-slow: $(VENV)/.installed-test ## the tests marked slow
	$(BIN)/python -m pytest -m slow -n auto

test-gpu: $(VENV)/.installed-test ## the tests that need a CUDA device, under ten minutes
	$(BIN)/python -m pytest -m gpu -rs tests/gpu

test-formats: $(VENV)-formats/.installed ## convert to every other format, run and compare, in .venv-formats
	$(VENV)-formats/bin/python -m pytest -m formats -W ignore tests/integration/test_formats.py

mutants: $(VENV)-mutants/.installed ## change the code in 1,000 places and see whether tests notice; hours, resumable
	$(VENV)-mutants/bin/python tools/mutants.py --out build/mutants

lint: $(VENV)/.installed-lint ## style, types, layers, oldest Python
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/vermin --quiet --no-tips --eval-annotations --target=3.10- --violations ofa_toolkit cli

format: $(VENV)/.installed-lint ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dev: $(VENV)/.installed-test $(VENV)/.installed-lint $(VENV)/.installed-docs ## everything a contributor needs

clean: ## remove what the other targets made
	rm -rf $(VENV) $(VENV)-formats $(VENV)-mutants build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew when an earlier attempt was cut short, since the stamp comes last.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "Error: Python 3.10 or newer is needed; '$(PYTHON)' is not. Hint: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Other formats pin their own versions of many packages.
$(VENV)-formats/.installed: pyproject.toml
	@echo "Installing into $(VENV)-formats; this takes some minutes and gigabytes."
	$(PYTHON) -m venv $(VENV)-formats
	$(VENV)-formats/bin/python -m pip --disable-pip-version-check install --quiet --editable \
		'.[test,openvino,litert,executorch,coreml,ncnn]'
	@touch $@

$(VENV)-mutants/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-mutants
	$(VENV)-mutants/bin/python -m pip --disable-pip-version-check install --quiet --editable '.[test]' cosmic-ray coverage
	@touch $@

# The stamps make a rerun instant; a change of the dependencies renews them.
$(VENV)/.installed: pyproject.toml $(VENV)/.made
	@echo "Installing into $(VENV); the first time this takes some minutes, PyTorch is large."
	$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.installed-%: pyproject.toml $(VENV)/.made
	@echo "Installing into $(VENV); the first time this takes some minutes, PyTorch is large."
	$(PIP) install --quiet --editable '.[$*]'
	@touch $@
