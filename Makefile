# `make run` and `make test` are the whole set-up; both create .venv first.
#
#   run          open the app on the bundled demo model (plain lines without a terminal)
#   test         run the test suite
#   quick        run the everyday subset of it
#   check        formatting, lint, types, import contracts, tests
#   torture      inject every kind of fault, print what came of it (15 minutes on two idle cores)
#   bench        measure time and memory, write docs/performance.md (ARGS="timing": its rows alone)
#   screenshots  redraw screenshots/
#   tour         walk through every screen in tmux, at 80x24 and 200x50
#   docs         regenerate docs/isa.md from the instruction table
#   clean        remove .venv and every cache

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2
ARGS ?=

.PHONY: run test quick check bench torture screenshots tour docs install install-dev clean help

help:
	@sed -n 's/^#   //p' Makefile

run: $(VENV)/.installed
	@$(BIN)/hyperdex-tui $(or $(ARGS),hyperdex/demo)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

quick: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m 'not slow' $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

torture: $(VENV)/.installed-dev
	$(BIN)/python -m torture $(ARGS)

bench: $(VENV)/.installed
	$(BIN)/python -m bench $(ARGS)

screenshots: $(VENV)/.installed-dev
	$(BIN)/python -m scripts.screenshots $(ARGS)

tour: $(VENV)/.installed
	$(BIN)/python -m scripts.tour $(ARGS)

docs: $(VENV)/.installed
	$(BIN)/python -m compiler.isa.docs > docs/isa.md.new
	mv docs/isa.md.new docs/isa.md

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "error: $(PYTHON) is older than 3.10; name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The stamps depend on pyproject.toml alone: the install is editable, so a changed source needs no new one.
$(VENV)/.installed: $(VENV)/.created pyproject.toml
	@echo 'installing into $(VENV); the first time this takes a minute or two' >&2
	@$(PIP) install --quiet -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml
	@echo 'installing into $(VENV); the first time this takes a minute or two' >&2
	@$(PIP) install --quiet -e '.[dev]'
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) build dist *.egg-info bench/out snapshot_report.html .coverage
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
