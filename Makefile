# Every target sets up .venv first; when nothing changed, that takes a fraction of a second.
# PYTHON=/path/to/python chooses the interpreter, ARGS=... adds arguments to dvc repro or pytest.

.DEFAULT_GOAL := help
.PHONY: help setup repro test lint bench bench-gpu format clean distclean

WORKERS ?= 2

# Stages and tests say `python`, and import this checkout's own src.
IN_VENV := PATH="$$PWD/.venv/bin:$$PATH" PYTHONPATH=src
unexport PYTHONHOME
# compiling the tests and src anew takes every process seconds
unexport PYTHONDONTWRITEBYTECODE
# what is said to this make is not meant for those that tests start
MAKEOVERRIDES =
unexport ARGS WORKERS

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

setup: ## Make .venv from pyproject.toml and constraints.txt (Python, git and a network are enough)
	@sh tools/git_identity.sh
	@sh tools/setup.sh

repro: setup ## Run the whole pipeline on the locked configuration (params.yaml)
	@git rev-parse --git-dir >/dev/null || { echo "DVC works in a git repository: clone this one, or run: git init"; exit 1; }
	@$(IN_VENV) .venv/bin/dvc repro $(ARGS)

test: setup ## Run the fast tests
	@$(IN_VENV) OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup ## Check style, types and layers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

BENCH := .venv/bin/python -m pip install -q -c constraints.txt -e '.[bench]' && \
    $(IN_VENV) .venv/bin/python benchmarks/speed.py

bench: setup ## Measure speed beside other tools (installs the extra bench); ARGS="--data PATH"
	@$(BENCH) $(ARGS)

bench-gpu: setup ## The same on a GPU: ResNet-50 at 224 pixels in bfloat16
	@$(BENCH) --device cuda --architecture resnet50 --size 224 --pictures 2000 --epochs 4 --batch 128 $(ARGS) \
	    peers steps

format: setup ## Rewrite the code in the project's style
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean: ## Remove caches; results (artifacts, scratch, MLflow's and Optuna's stores, DVC's cache) stay
	rm -rf build .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find src pipelines tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove caches and .venv
	rm -rf .venv
