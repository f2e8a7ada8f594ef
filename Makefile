# Each target sets up all that it needs in .venv by itself; nothing is installed system-wide.
# Paths are relative, so that the repository may lie in a folder with spaces in its name.

VENV := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup demo page test fuzz coverage lint format types wheel check artifacts docs schemas bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: .venv/.synced ## Make or update .venv (the other targets do it by themselves)

.venv/.synced: pyproject.toml uv.lock scripts/setup.sh
	@sh scripts/setup.sh

demo: setup ## Run every stage on synthetic images, or on real ones: make demo DATA=folder
	$(VENV)/dermdistill demo $(if $(DATA),--data "$(DATA)" --out work/demo-real,--out work/demo)

page: setup ## Write the page that judges images in the browser into dist/page/
	$(VENV)/dermdistill page --to dist/page

test: setup ## Run the tests, in two processes
	$(VENV)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0

coverage: setup ## Run the tests and measure branch coverage; below the floor in pyproject.toml it fails
	$(VENV)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 --cov --cov-report=
	$(VENV)/python -m coverage report

fuzz: setup ## Fuzz the readers of files from elsewhere for ten minutes (FUZZ_SECONDS=…); Linux on x86_64
	UV_PROJECT_ENVIRONMENT=.venv .venv/bin/uv sync --quiet --inexact --all-extras --no-extra ray --group fuzz --frozen
	$(VENV)/python fuzz/run.py --seconds $(or $(FUZZ_SECONDS),600)

lint: setup ## Check style
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .

format: setup ## Mend style
	$(VENV)/ruff check --fix .
	$(VENV)/ruff format .

types: setup ## Check types
	$(VENV)/mypy

wheel: setup ## Build the wheel into dist/
	$(VENV)/python -m pip --disable-pip-version-check wheel -qq --no-deps --wheel-dir dist .
	@ls -l dist

check: ## All that continuous integration checks
	@.ci/run

artifacts: setup ## Pack a finished run's weights and soft labels for a release: make artifacts RECIPE=release
	$(VENV)/python -m dermdistill.publish.artifacts recipes/$(RECIPE).toml --work work/$(RECIPE) --out dist/artifacts

docs: setup ## Build the documentation into site/; it reads offline
	NO_MKDOCS_2_WARNING=1 $(VENV)/mkdocs build --strict --quiet

schemas: setup ## Write docs/schemas/ from the pydantic models
	$(VENV)/python -m dermdistill.publish.schemas

BENCHED := lite0-cut-112 lite0-cut-64
bench: setup ## Run the benchmarks; each prints its figure, in about a quarter of an hour together
	@unset PYTHONDONTWRITEBYTECODE; missed=; \
	for name in $(BENCHED); do $(VENV)/dermdistill export --quiet --force --from $$name \
		--formats onnx-int8,openvino-int8 --out work/bench/$$name || missed="$$missed export"; done; \
	COLUMNS=250 $(VENV)/dermdistill bench $(BENCHED:%=work/bench/%) --out work/bench || missed="$$missed bench"; \
	for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(VENV)/python "$$script" || missed="$$missed $$script"; done; \
	if [ -n "$$missed" ]; then echo "missed their targets, or failed:$$missed"; exit 1; fi

clean: ## Remove what was built (not .venv, not work/)
	rm -rf build dist site .coverage* .mypy_cache .ruff_cache .pytest_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
