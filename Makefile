# What one does with AIMA in this folder. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
DEMO ?= demo
CLUSTER_DEMO ?= cluster-demo
PYTEST_ARGS ?=
# Two processes share the tests, each with servers of its own; what shares a server stays together (tests/conftest.py).
TOGETHER ?= --numprocesses 2 --no-loadscope-reorder

# A cluster starts dozens of processes. Where bytecode may not be kept, each compiles all it imports: 2.2 s instead of 1.0.
unexport PYTHONDONTWRITEBYTECODE

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ------------------------------------------------------------------------------------------ see it work

.PHONY: demo
demo: models ## set everything up and analyse the demo case; the dossier lies in demo/
	@$(BIN)/aima demo --out $(DEMO)

.PHONY: models
models: setup ## build the model pack in your cache folder, once (verified by hash)
	@$(BIN)/aima models build

.PHONY: setup
setup: $(VENV)/.runtime ## make .venv with what AIMA needs to run
	@:

.PHONY: setup-dev
setup-dev: $(VENV)/.dev ## make .venv with what its developers need, too
	@:

.PHONY: servers
servers: setup-dev ## run Kafka, MongoDB, S3 and vectors on this machine until Ctrl-C; prints where they are
	@$(BIN)/python -m aima_servers up $(SERVERS)

.PHONY: cluster-demo
cluster-demo: setup-dev models ## the demo case on a cluster: real servers, every service as processes; results in cluster-demo/
	@$(BIN)/python -m aima_cluster demo --out $(CLUSTER_DEMO)

# --------------------------------------------------------------------------------------------- keep it so

.PHONY: test
test: setup-dev models ## run every test this machine has the means for; say what was skipped and why
	@$(BIN)/pytest -rs $(TOGETHER) $(PYTEST_ARGS)

.PHONY: test-all
test-all: setup-dev models ## every test, those on a second S3 server (MinIO, compiled once) included
	@$(BIN)/pytest -rs --minio $(TOGETHER) $(PYTEST_ARGS)

.PHONY: check
check: style types layers generated containers ## style, types, who may import whom, generated files, container files

.PHONY: style types layers generated containers
style: setup-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
types: setup-dev
	@$(BIN)/mypy
layers: setup-dev
	@$(BIN)/lint-imports --no-logo
generated: setup-dev
	@$(BIN)/python -m aima_common.contracts --check
containers: setup-dev
	@$(BIN)/hadolint docker/Dockerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml docker/compose.gpu.yaml

.PHONY: fmt
fmt: setup-dev ## format, and mend what can be mended without thinking
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: cover
cover: setup-dev ## unit, service and simulation tests with line and branch coverage
	@$(BIN)/pytest tests/unit tests/service tests/simulation --cov --cov-report=term-missing $(PYTEST_ARGS)

.PHONY: contracts
contracts: setup-dev ## write docs/generated anew from the contracts
	@$(BIN)/python -m aima_common.contracts

.PHONY: chaos
chaos: setup-dev models ## harm AIMA on one machine, then a cluster, in every way; prove that nothing is lost (over an hour)
	@failed=0; $(BIN)/python -m tests.chaos $(CHAOS) || failed=1; \
	$(BIN)/python -m tests.chaos.heart $(HEART_CHAOS) || failed=1; \
	$(BIN)/python -m tests.chaos.cluster_matrix $(CLUSTER_CHAOS) || failed=1; exit $$failed

.PHONY: screenshot
screenshot: setup-dev ## take the README's picture of the demo case's dossier (after `make demo`)
	@$(BIN)/python -m aima_demo.screenshot $(DEMO)/dossier.html docs/images/dossier.png

bench-%: setup-dev models ## run one benchmark, such as bench-pipeline
	@$(BIN)/python -m benchmarks.$*

.PHONY: clean
clean: ## remove caches and build products; the environment, models and your data stay
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov
	@find libs services tests -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------ the environment

# A stamp is as new as the locks it was made from. Whoever has the developers' environment has the other one as well.
SETUP := pyproject.toml requirements/bootstrap.txt

$(VENV)/.runtime: requirements/runtime.txt $(SETUP)
	@if [ -e $(VENV)/.dev ] && [ $(VENV)/.dev -nt requirements/all.txt ] && [ $(VENV)/.dev -nt pyproject.toml ]; \
	then touch $@; else rm -f $(VENV)/.dev; $(MAKE) environment LOCK=requirements/runtime.txt && touch $@; fi

$(VENV)/.dev: requirements/all.txt $(SETUP)
	@$(MAKE) environment LOCK=requirements/all.txt
	@touch $(VENV)/.runtime $@

# uv is fast and removes what a lock no longer names; where it cannot reach the index that pip is configured for, pip goes.
# Wheels only: nothing is compiled here, and nobody's build script runs.
.PHONY: environment
environment: $(UV)
	@echo "[2/3] installing $$(grep -c '^[a-z].*==' $(LOCK)) packages from $(LOCK), verified by hash"
	@$(UV) pip sync --python $(BIN)/python --require-hashes --no-build $(LOCK) \
	  || $(BIN)/python -m pip install --require-hashes --only-binary :all: -r $(LOCK)
	@echo "[3/3] installing AIMA itself"
	@$(UV) pip install --quiet --python $(BIN)/python --offline --no-deps --no-build-isolation --editable .

$(UV): requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "AIMA needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	       "Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "[1/3] making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "No virtual environment could be made. On Debian: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/bootstrap.txt
	@touch $(UV)

# Each has an image of its own, and a lock of what lies in it.
SERVICES := gateway upload preprocessing scheduler gpu_manager analysis fusion dossier storage monitoring embedded

COMPILE := $(UV) pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --no-header

.PHONY: lock
lock: $(UV) ## resolve the locks anew (UPGRADE=--upgrade takes newer versions)
	@$(BIN)/python -c 'import tomllib; print(*(r for r in tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["setup"] if r.startswith("uv==")))' \
	  | $(COMPILE) $(UPGRADE) - --output-file requirements/bootstrap.txt
	@$(COMPILE) $(UPGRADE) pyproject.toml --extra embedded --extra demo --extra models --extra setup \
	  --output-file requirements/runtime.txt
	@$(COMPILE) $(UPGRADE) pyproject.toml --extra dev --constraint requirements/runtime.txt \
	  --output-file requirements/all.txt
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["setup"], sep="\n")' \
	  | $(COMPILE) - --constraint requirements/all.txt --output-file requirements/build.txt
	@for service in $(SERVICES); do echo "lock of $$service"; \
	  $(COMPILE) pyproject.toml --extra $$service --constraint requirements/all.txt \
	  --output-file requirements/services/$$service.txt || exit 1; done
	@$(COMPILE) pyproject.toml requirements/cuda.in --override requirements/cuda.in --extra analysis \
	  --constraint requirements/all.txt --output-file requirements/services/analysis_cuda.txt
