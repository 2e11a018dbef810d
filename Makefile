# Every target sets up what it needs: on a fresh clone `make demo` or `make test` is the only command to type.
#
#   PYTHON     the interpreter that makes the virtual environment (3.11 or newer)
#   PIP_FLAGS  more flags for every pip install, for instance the CPU builds of torch (README.md, Install)

PYTHON ?= python3
PIP_FLAGS ?=

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
DEVELOPMENT := $(VENV)/.installed-dev
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt $(PIP_FLAGS)
LOG := build/setup.log
# Files stay whole: what a file prepares once is prepared once.
PARALLEL := -n 2 --dist loadfile
STEP := @.ci/step $(LOG)

DEMO_PHOTOS := runs/demo/photos
DEMO_IMAGES ?= $(DEMO_PHOTOS)/chelsea.png $(DEMO_PHOTOS)/coffee.png
DEMO_QUESTION ?= Where is the cat?
DEMO_OUT ?= runs/demo

.DEFAULT_GOAL := help
.PHONY: help setup browser demo docs test test-all lint clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEVELOPMENT)  ## make .venv and install Segue and the development tools (does nothing when it is up to date)

# Stamps are written last, so an interrupted installation is taken up again by the next `make`.
$(RUNTIME): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Segue needs Python 3.11 or newer, found " + sys.version.split()[0] + "; try: make setup PYTHON=python3.11")'
	@echo "Setting up $(VENV), once. pip downloads 370 MB with the CPU build of torch, 3 GB with the CUDA build that"
	@echo "PyPI serves on Linux; README.md says how to choose. pip's own words go to $(LOG)."
	$(STEP) "1/3 a virtual environment in $(VENV)" sh -c 'test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)'
	$(STEP) "2/3 what builds the package" $(PIP_INSTALL) hatchling editables
	$(STEP) "3/3 Segue and what it needs (minutes)" $(PIP_INSTALL) --no-build-isolation -e ".[examples,demo]"
	@touch $@

$(DEVELOPMENT): $(RUNTIME)
	$(STEP) "the development tools (570 MB)" $(PIP_INSTALL) --no-build-isolation -e ".[dev]"
	@touch $@
	@echo "Ready: $(BIN)/segue --help, or 'source $(BIN)/activate' and then just segue."

# Not an error where it cannot be had: the tests that need it say so and skip.
browser:  ## install Chromium, in which the tests open pages (Debian and Ubuntu, as root)
	@if { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		.ci/step $(LOG) "Chromium, from the system's packages" sh -c 'apt-get update -q && \
			DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium fonts-dejavu-core' \
			|| echo "Chromium could not be installed: the tests in a browser will skip"; \
	else echo "no Chromium: install it (Debian: apt-get install chromium), or the tests in a browser will skip"; fi

demo: $(RUNTIME)  ## ask the embedded model a question about two photographs
	@$(BIN)/python examples/photographs.py $(DEMO_PHOTOS)
	@echo 'segue ask $(DEMO_IMAGES) -q "$(DEMO_QUESTION)" --out $(DEMO_OUT)'
	@$(BIN)/segue ask $(DEMO_IMAGES) -q "$(DEMO_QUESTION)" --out $(DEMO_OUT)
	@echo "Open $(DEMO_OUT)/answer.html in a browser: each phrase has the colour of its mask."
	@echo "A page for your own pictures and questions: $(BIN)/segue demo"

docs: setup  ## build the documents as a site, strictly and without a network: build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Open build/site/index.html in a browser."

test: setup browser  ## the tests that a change must pass (minutes)
	$(BIN)/python -m pytest $(PARALLEL)

test-all: setup browser  ## all tests, the slow ones too, with the optional packages that some of them need
	$(STEP) "the optional packages" $(PIP_INSTALL) --no-build-isolation -e ".[dev,deepspeed,quant,data,scale]"
	$(BIN)/python -m pytest -m "" $(PARALLEL)

lint: setup  ## ruff, mypy, and hadolint for the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

clean:  ## remove caches, build output and .venv; keep runs/
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -type d \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +
