# Each command works on a fresh clone: it first prepares .venv (once; see scripts/setup.sh).
PY := .venv/bin/python

.PHONY: help demo test lint format pictures wheel-test clean

help:
	@echo "make demo        train two agents, one with explanations: report and films in demo/ (12 minutes)"
	@echo "make test        lint, types, tests"
	@echo "make lint        lint and types alone"
	@echo "make format      sort imports, format the code"
	@echo "make pictures    draw the README's pictures anew"
	@echo "make wheel-test  build the wheel, try it in a clean virtual environment"
	@echo "make clean       remove the virtual environment and everything built"

.venv/ready: pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh

demo: .venv/ready
	@$(PY) -m scripts.demo --out demo

# Tests last, so that pytest's summary closes the output.
test: lint
	@$(PY) -m pytest -q -n auto --dist worksteal

lint: .venv/ready
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m pyright

format: .venv/ready
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

pictures: .venv/ready
	@$(PY) -m scripts.levels_picture --out docs/images/levels.png
	@$(PY) -m scripts.record --policy expert --env OddOneOut/Intervention-v0 \
		--env-args '{"difficulty": "hard1"}' --out docs/images/intervention.gif

wheel-test: .venv/ready
	@bash scripts/wheel_test.sh

clean:
	rm -rf .venv dist build demo .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
