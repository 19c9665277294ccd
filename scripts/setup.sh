#!/usr/bin/env bash
# Prepares .venv with everything that demo and tests need, and sees to it that OpenGL loads.
# Called by make; safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.14; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
            >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    echo "oddoneout needs Python 3.11 or newer with its venv module; found: $(
        python3 --version 2>&1 || true)." >&2
    echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv)," >&2
    echo "or name it: make PYTHON=/path/to/python3.11 ..." >&2
    return 1
}

free_at() {
    df -Ph "$1" | awk 'NR == 2 { print $4 }'
}

opens_gl() {
    .venv/bin/python -c 'import mujoco; mujoco.GLContext(64, 64).make_current()' >/dev/null 2>&1
}

python=$(find_python)
[ -x .venv/bin/python ] || "$python" -m venv .venv

echo "Installing into .venv: a few minutes the first time (PyTorch is large) ..."
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'; then
    echo "Installing into .venv failed; pip's own error stands above. If there was no room left:" >&2
    echo "  .venv needs 7 GB; its disk has $(free_at .) free" >&2
    echo "  pip needs 3 GB besides; ${TMPDIR:-/tmp} has $(free_at "${TMPDIR:-/tmp}") free (TMPDIR chooses another place)" >&2
    exit 1
fi

if [ "$(uname)" = Linux ]; then
    export MUJOCO_GL=egl
    packages="libegl1 libgl1 libgl1-mesa-dri"
    if ! opens_gl && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Rendering needs OpenGL through EGL: installing $packages ..."
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages; } \
            </dev/null >/dev/null || true
    fi
    if ! opens_gl; then
        echo "Rendering needs OpenGL through EGL, and no context could be opened. Install it:" >&2
        echo "  Debian, Ubuntu: sudo apt-get install $packages" >&2
        echo "  Fedora:         sudo dnf install libglvnd-egl mesa-dri-drivers" >&2
        echo "  Arch:           sudo pacman -S libglvnd mesa" >&2
        echo "then run make again. The error was:" >&2
        .venv/bin/python -c 'import mujoco; mujoco.GLContext(64, 64).make_current()' 2>&1 |
            tail -n 1 >&2 || true
        exit 1
    fi
fi
touch .venv/ready
