PYTHON ?= python3
BIN := .venv/bin
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt $$($(PYTHON) .ci/uv_options.py)
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
export UV_CACHE_DIR := $(CURDIR)/.venv/uv-cache
export PIP_CACHE_DIR := $(CURDIR)/.venv/pip-cache
endif
EXTRAS := demo,hub,web,serve,video,batch,tune,report,coco,fast
QUICK := not slow and not weights and not gpu and not e2e
NUMERIC := tests/test_golden_maps.py tests/test_saliency.py tests/test_postprocess.py tests/test_segmenter.py tests/test_method_shows.py tests/test_trace.py tests/refiners tests/vlms/test_contract.py tests/evaluation/test_ablation.py

.PHONY: demo test check site golden slow kernels mutants lowest newest dist e2e label-studio crf-oracle clean

demo: .venv/demo ## Segment photographs that come with scikit-image; overlays go to demo-out/
	$(BIN)/pnp-ovss demo --out demo-out

test: .venv/dev ## All tests but those marked slow, weights, gpu, e2e
	$(BIN)/pytest -q -n 2 -m "$(QUICK)"

check: .venv/dev site ## Format, lint, types, links of the documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ty check
	$(BIN)/python docs/check_links.py

site: .venv/dev ## The documentation as a site in build/site, its reference from the docstrings; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

golden: .venv/dev ## Sums, scores and labels of many runs at BASE=COMMIT and now, bit by bit
	$(BIN)/python tests/golden/driver.py --base $(BASE)

slow: .venv/dev kernels ## The long tests, the property tests on new examples, the numeric ones as on other processors
	$(BIN)/pytest -q -m slow
	PNP_OVSS_PROPERTIES=search $(BIN)/pytest -q -n 2 -m "hypothesis and $(QUICK)"

kernels: .venv/dev ## The numeric tests with the instructions of other processors, one thread and two
	for cpu in default avx2; do for threads in 1 2; do echo "ATEN_CPU_CAPABILITY=$$cpu, $$threads threads"; \
	ATEN_CPU_CAPABILITY=$$cpu ONEDNN_MAX_CPU_ISA=AVX2 PNP_OVSS_TEST_THREADS=$$threads \
	$(BIN)/pytest -q -m "$(QUICK)" $(NUMERIC) || exit 1; done; done

mutants: .venv/dev ## One-line faults in the source, each of which must turn a test red
	$(BIN)/python tests/mutants/run.py

lowest: ## The tests with the oldest of the libraries that pyproject.toml names (torch as in constraints.txt)
	$(call suite_in,lowest,--resolution lowest-direct $$(grep '^torch==' constraints.txt))

newest: ## The tests with the newest of them (torch as in constraints.txt)
	$(call suite_in,newest,--upgrade $$(grep '^torch==' constraints.txt))

define suite_in
	$(PYTHON) -m venv .venv/$(1)
	.venv/$(1)/bin/pip install --quiet uv
	.venv/$(1)/bin/uv pip install --quiet --python .venv/$(1)/bin/python $$($(PYTHON) .ci/uv_options.py) $$(grep '^torch==' constraints.txt)
	.venv/$(1)/bin/uv pip install --quiet --python .venv/$(1)/bin/python $$($(PYTHON) .ci/uv_options.py) $(2) --group dev -e '.[$(EXTRAS)]'
	.venv/$(1)/bin/pytest -q -n 2 -m "$(QUICK)"
endef

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet uv

.venv/demo: .venv/bin/uv pyproject.toml constraints.txt
	$(INSTALL) -e '.[demo]'
	@touch $@

.venv/dev: .venv/bin/uv pyproject.toml constraints.txt
	$(INSTALL) --group dev -e '.[$(EXTRAS)]'
	@touch $@ .venv/demo

dist: .venv/dist ## The files of a release, checked, installed in a clean environment and run there
	rm -rf dist
	$(BIN)/uv build --quiet $$($(PYTHON) .ci/uv_options.py) --out-dir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/python .ci/check_dist.py dist

e2e: .venv/e2e ## The browser page in the system's Chromium; after `make label-studio` the service in Label Studio, too
	LABEL_STUDIO=$${LABEL_STUDIO:-$$(ls .venv/label-studio/bin/label-studio 2>/dev/null)} $(BIN)/pytest -q -rs -m e2e

label-studio: .venv/bin/uv ## Label Studio for `make e2e`, in an environment of its own
	$(PYTHON) -m venv .venv/label-studio
	$(BIN)/uv pip install --quiet --python .venv/label-studio/bin/python $$($(PYTHON) .ci/uv_options.py) label-studio==1.23.2

crf-oracle: .venv/crf-oracle ## The Dense CRF against pydensecrf2 (needs a C++ compiler; compiles for a minute or two)
	$(BIN)/pytest -q -m "slow or not slow" tests/refiners

.venv/dist: .venv/dev
	$(INSTALL) --group dist
	@touch $@

.venv/e2e: .venv/dev
	$(INSTALL) --group e2e
	@touch $@

.venv/crf-oracle: .venv/dev
	$(INSTALL) setuptools numpy cython
	$(INSTALL) --no-build-isolation-package pydensecrf2 --group crf-oracle
	@touch $@

clean: ## Remove what was made here
	rm -rf .venv demo-out out build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
