#!/usr/bin/env bash
# Builds the wheel, installs it into a clean virtual environment outside the checkout,
# and there makes, resets, steps and renders every id.
set -euo pipefail
cd "$(dirname "$0")/.."
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

.venv/bin/python -m hatchling build --target wheel --directory "$room/wheel"
.venv/bin/python -m venv "$room/venv"
"$room/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$room"/wheel/*.whl

cp tests/contracts/try_installed.py "$room"
cd "$room"
"$room/venv/bin/python" try_installed.py
