# Two commands set everything up on a fresh machine: `make demo` runs the main job on real data, `make test` the tests.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
DEMO := demo
TAMIS := $(BIN)/tamis
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := requirements-dev.lock

.PHONY: help demo demo-data general general-data general-sets small test test-engines check lint coverage lock format docs release release-check clean mutants audit fuzz
help:  ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+[a-z%-]*:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) '$(TORCH)'
	$(PIP) --editable '.[demo,train]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed $(LOCK)
	$(PIP) --constraint $(LOCK) --editable '.[demo,dev]'
	touch $@

$(VENV)/installed-llm: $(VENV)/installed corpora/requirements.txt
	$(PIP) --editable '.[demo,llm,train]' --requirement corpora/requirements.txt
	touch $@

demo-data: $(VENV)/installed  ## Fetch the demo's corpus and the encoder
	$(BIN)/python -m corpora.fetch debian-faq $(DEMO)/data/debian-faq
	$(TAMIS) fetch e5-small $(DEMO)/models/e5-small

general-data: demo-data  ## Fetch the documents that tamis-base learns from, beside judged sets
	$(BIN)/python -m corpora.fetch debian-reference $(DEMO)/data/debian-reference
	$(BIN)/python -m corpora.fetch gnome-help $(DEMO)/data/gnome-help
	$(BIN)/python -m corpora.fetch manpages general/data/manpages
	$(BIN)/python -m corpora.fetch software-faqs general/data/software-faqs

ifdef LLM
demo: $(VENV)/installed-llm
LLM_SETTINGS := --set queries.written=[] --set queries.generator=llama --set queries.documents=300 --set queries.per_document=1 --set lists.round_trip=10 \
	--set queries.llama.model=$(DEMO)/models/qwen-0.5b.gguf
endif

QUESTIONS ?= 40

demo: demo-data  ## Adapt a reranker to the Debian FAQ and measure it; LLM=1 lets a small language model write the queries
ifdef LLM
	$(BIN)/python -m corpora.fetch qwen-0.5b $(DEMO)/models/qwen-0.5b.gguf
endif
	$(TAMIS) run recipes/demo.yaml --yes --out $(DEMO)/run --set evaluate.questions=$(QUESTIONS) $(LLM_SETTINGS) \
		--results $(DEMO)/results.json --report $(DEMO)/report.html --model $(DEMO)/model

GENERAL_SETS := $(addprefix xquad-,ar de en es hi ru th zh) $(addprefix tydiqa-,ar bn en fi id ko) scifact

general-sets: general-data
	@test -n "$(DATA)" || (echo "make general or small DATA=DIR: the folder with the judged sets, see docs/data.md"; exit 2)
	mkdir -p general/data
	for set in $(GENERAL_SETS); do ln -sfn $(abspath $(DATA))/$$set general/data/$$set; done

general: general-sets  ## Train tamis-base again and ship it; DATA=DIR holds the judged sets that docs/data.md names
	$(TAMIS) run recipes/general.yaml --yes --out general/run --until merge --model general/model
	$(BIN)/python -m tamis.weights.shipped general/model tamis-base

small: general-sets  ## Train tamis-small again and ship it, taught by tamis-base; DATA=DIR as for general
	$(TAMIS) run recipes/small.yaml --yes --out general/small --until merge --model general/small-model
	$(BIN)/python -m tamis.weights.shipped general/small-model tamis-small

test: check  ## Make the environment and run every check

check: lint
	$(BIN)/python -m pytest

lint: $(VENV)/installed-dev  ## Check format, style, types and import contracts
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every branch of what durable results and figures rest on; the floor for the rest stands in pyproject.toml.
WHOLE := */tamis/artifacts/*,*/tamis/formulas/*,*/tamis/stages/train/checkpoint.py

coverage: $(VENV)/installed-dev  ## Run the tests and see that they reach the share of the code that pyproject.toml asks for
	$(BIN)/python -m pytest --cov --cov-report=term
	$(BIN)/coverage report --include='$(WHOLE)' --fail-under=100

mutants: $(VENV)/installed-dev  ## Change the formulas in small ways, one at a time, and list the changes that no test notices
	$(PIP) --editable '.[dev,mutants]'
	$(BIN)/mutmut run
	$(BIN)/mutmut results

audit: $(VENV)/installed-dev  ## Look up known flaws of the packages in requirements-dev.lock
	$(PIP) --editable '.[dev,audit]'
	$(BIN)/pip-audit --requirement $(LOCK) --no-deps --disable-pip --strict --progress-spinner off

SECONDS ?= 60

fuzz: $(VENV)/installed-dev  ## Feed every reader of files and every dialect made-up bytes, SECONDS each
	$(PIP) --editable '.[dev,fuzz]'
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

lock: $(VENV)/installed  ## Choose the newest versions that fit pyproject.toml and write them into requirements-dev.lock
	printf '%s\n' '# Versions that the checks are run with, on Python 3.11; written by `make lock`. The Makefile chooses torch.' > $(LOCK).new
	$(BIN)/python -m pip install --quiet --dry-run --ignore-installed --report - '$(TORCH)' --editable '.[demo,dev,docs]' | $(BIN)/python -c \
		'import json, sys; found = [one["metadata"] for one in json.load(sys.stdin)["install"]]; print(*sorted(("%(name)s==%(version)s" % one for one in found if one["name"] not in ("tamis", "torch")), key=str.lower), sep="\n")' >> $(LOCK).new
	mv $(LOCK).new $(LOCK)

format: $(VENV)/installed-dev  ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

$(VENV)/installed-docs: $(VENV)/installed $(LOCK)
	$(PIP) --constraint $(LOCK) --editable '.[demo,docs,train]'
	touch $@

docs: $(VENV)/installed-docs  ## Write docs/settings.md and build the site of docs/ into site/; any warning fails
	$(BIN)/python docs/tools/settings_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/installed-release: $(VENV)/installed
	$(PIP) 'build>=1.3' 'twine>=6'
	touch $@

release: $(VENV)/installed-release  ## Build wheel and source twice into dist/, see that both are the same bytes, and let twine check them
	$(BIN)/python deploy/release.py build
	$(BIN)/python -m twine check --strict dist/*.whl dist/*.tar.gz

release-check: release  ## Install the wheel into new environments and run the README's first lines there
	TORCH='$(TORCH)' $(BIN)/python deploy/release.py check

$(VENV)/installed-bench: $(VENV)/installed-dev
	$(PIP) --editable '.[demo,dev,bench]'
	touch $@

$(VENV)/installed-engines: $(VENV)/installed-dev
	$(PIP) --editable '.[demo,dev,engines]'
	touch $@

test-engines: $(VENV)/installed-engines  ## Test the pages of docs/behind with the engines and frameworks themselves
	$(BIN)/python -m pytest tests/behind tests/integrations

# Rerankers whose libraries do not go with ours.
$(PEERS)/installed: benchmarks/scoring_peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check '$(TORCH)' --requirement benchmarks/scoring_peers.txt
	touch $@

bench-behind: $(VENV)/installed-engines

bench-scoring: $(PEERS)/installed

bench-queries: $(VENV)/installed-llm

bench-training bench-estimates: general-data

bench-%: $(VENV)/installed-bench demo-data  ## Run benchmarks/NAME.py and write benchmarks/results/NAME.json
	$(BIN)/python benchmarks/$*.py

clean:  ## Remove the environment and the caches; keeps the demo's data and results
	rm -rf $(VENV) $(PEERS) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
