# Every target sets up .venv by itself, from python3 and constraints.txt, and does nothing the second time.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
.DEFAULT_GOAL := help

.PHONY: help demo test check format bench conformance contracts crash clean
help:            ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $(STAMP)

# The demo needs the bundled servers only: on a new machine it starts long before the test tools would be installed.
DEMO := .venv/.demo
$(DEMO): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -f $(STAMP) || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[servers]'
	@touch $(DEMO)

NODE := .cache/node/.installed
$(NODE): $(STAMP) tests/node/package.json tests/node/package-lock.json
	@$(BIN)/python tests/node/install.py >/dev/null
	@touch $(NODE)

CONTRACTS := .cache/contracts/.fetched
$(CONTRACTS): $(STAMP) tests/servers/contracts/fetch.py
	@$(BIN)/python tests/servers/contracts/fetch.py >/dev/null
	@touch $(CONTRACTS)

demo: $(DEMO)    ## the three patterns with every server up, then once more with Jira broken
	@$(BIN)/python -m motet demo --twice --break jira; code=$$?; test $$code -eq 3 || exit $$code

test: $(NODE) $(CONTRACTS) ## all tests
	@$(BIN)/python -m pytest -n 2 -q

check: $(NODE) $(CONTRACTS) ## what CI runs: format, lint, types, import contracts, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/pyright
	@$(BIN)/python -m pytest -n 2 -q

format: $(STAMP) ## format and fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP)  ## measure: ratios in one run, medians; writes bench/RESULTS.md
	@$(BIN)/python -m bench

contracts: $(CONTRACTS) ## the vendors' OpenAPI documents, cut to the paths in use

conformance: $(STAMP) ## the official suite against our client, both revisions
	@$(BIN)/python -m conformance.run

crash: $(STAMP)  ## kill durable runs 500 times on SQLite and 200 on PostgreSQL; then the control, which must fail
	@$(BIN)/python tests/crash/crash_sweep.py --kills 500
	@$(BIN)/python tests/crash/crash_sweep.py --kills 200 --postgres
	@! $(BIN)/python tests/crash/crash_sweep.py --kills 60 --no-intents

clean:           ## remove what these targets made
	rm -rf .venv .cache
