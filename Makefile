# swagent from a checkout: `make demo` shows it at work, `make test` tests it. Needs git, make and Python 3.11.
# The first target that needs .venv makes it (tools/bootstrap).

# losetup, mount and the like live where a plain user's path does not look
export PATH := $(PATH):/usr/sbin:/sbin

PY := .venv/bin/python
CODE := swagent tests sw-description.examples tools/bench tools/bench-delta tools/bench-fleet tools/bench-lab tools/bench-uptane tools/cli-page tools/demo tools/fuzz tools/handlers-page tools/hwbench/hwbench tools/mutate-uptane tools/record-reference
SECONDS ?= 20
SHORT ?=
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help check test test-all test-hw fuzz bench demo docs clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20

.venv/.stamp-dev: pyproject.toml tools/bootstrap
	@tools/bootstrap dev

.venv/.stamp-fuzz: pyproject.toml tools/bootstrap | .venv/.stamp-dev
	@tools/bootstrap fuzz

check: .venv/.stamp-dev ## lint, format and types
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)
	$(PY) -m mypy
	$(PY) -m mypy tests
	$(PY) -m mypy --scripts-are-modules tools/bench tools/bench-fleet tools/bench-lab tools/bench-uptane tools/cli-page tools/demo tools/fuzz tools/handlers-page tools/hwbench/hwbench tools/mutate-uptane tools/record-reference

test: .venv/.stamp-dev ## all tests but the slow ones; what is skipped is listed with its reason
	$(PY) -m pytest -n 2 -ra -m "not slow and not hardware" $(PYTEST_ARGS)

test-all: .venv/.stamp-dev ## the slow ones too
	$(PY) -m pytest -n 2 -ra -m "not hardware" $(PYTEST_ARGS)

test-hw: .venv/.stamp-dev ## the tests that need hardware, on a real kernel with simulated devices (tools/hwbench)
	@tools/test-hw $(PYTEST_ARGS)

fuzz: .venv/.stamp-fuzz ## feed every parser with mutated input; SECONDS=20 for each
	$(PY) tools/fuzz --seconds $(SECONDS)

bench: .venv/.stamp-dev ## time installs beside swupdate, where it is installed, TUF beside python-tuf, a Director's fleets and the lab; SHORT=1 for small images
	$(PY) tools/bench $(if $(SHORT),--short)
	$(PY) tools/bench-uptane $(if $(SHORT),--short)
	$(PY) tools/bench-fleet $(if $(SHORT),--short)
	$(PY) tools/bench-lab $(if $(SHORT),--short)

demo: .venv/.stamp-dev ## make, install and tamper with an A/B image on a device made of files
	@$(PY) tools/demo

docs: .venv/.stamp-dev ## make the reference pages, run every command of the documentation, follow its links
	for page in cli handlers; do \
	    PYTHONPATH=. $(PY) tools/$$page-page > .venv/$$page.md && mv .venv/$$page.md docs/reference/$$page.md || exit; \
	done
	$(PY) -m pytest -n0 tests/docs tests/test_standalone.py

clean: ## remove what was made here
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
