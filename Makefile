PYTHON ?= python3
BIN := .venv/bin
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt $$($(PYTHON) .ci/uv_options.py)

.PHONY: demo test check docs golden slow e2e crf-oracle clean

demo: .venv/demo ## Segment photographs that come with scikit-image; overlays go to demo-out/
	$(BIN)/pnp-ovss demo --out demo-out

test: .venv/dev ## All tests but those marked slow, weights, gpu, e2e
	$(BIN)/pytest -q -n 2 -m "not slow and not weights and not gpu and not e2e"

check: .venv/dev ## Format, lint, types, links of the documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ty check
	$(BIN)/python docs/check_links.py

docs: .venv/dev ## The library's reference, docs/api.md, from the docstrings
	$(BIN)/python docs/make_api.py

golden: .venv/dev ## Sums, scores and labels of many runs at BASE=COMMIT and now, bit by bit
	$(BIN)/python tests/golden/driver.py --base $(BASE)

slow: .venv/dev ## The long tests
	$(BIN)/pytest -q -m slow

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet uv

.venv/demo: .venv/bin/uv pyproject.toml constraints.txt
	$(INSTALL) -e '.[demo]'
	@touch $@

.venv/dev: .venv/bin/uv pyproject.toml constraints.txt
	$(INSTALL) -e '.[demo,batch,tune,report,coco,dev]'
	@touch $@ .venv/demo

e2e: .venv/e2e ## The browser page in the system's Chromium
	$(BIN)/pytest -q -m e2e

crf-oracle: .venv/crf-oracle ## The Dense CRF against pydensecrf2 (needs a C++ compiler; compiles for a minute or two)
	$(BIN)/pytest -q -m "slow or not slow" tests/refiners

.venv/e2e: .venv/dev
	$(INSTALL) -e '.[demo,web,e2e,dev]'
	@touch $@

.venv/crf-oracle: .venv/dev
	$(INSTALL) setuptools numpy cython
	$(INSTALL) --no-build-isolation-package pydensecrf2 -e '.[demo,crf-oracle,dev]'
	@touch $@

clean: ## Remove what was made here
	rm -rf .venv demo-out out build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
