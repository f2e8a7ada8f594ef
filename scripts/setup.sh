#!/bin/sh
# Make .venv with the locked environment; used by the Makefile. Changes nothing outside this folder,
# besides the download caches of pip and uv. PYTHON=… chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."

usable() {
    "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14 python; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
        if [ "$candidate" = "${PYTHON:-}" ]; then
            echo "error: PYTHON=$PYTHON is not Python 3.11 or newer with its venv module" >&2
            return 1
        fi
    done
    echo "error: no Python 3.11 or newer with its venv module was found on the PATH." >&2
    echo "Install one (on Debian and Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python" >&2
    return 1
}

python=.venv/bin/python
# A .venv whose interpreter is gone, or that was cut off before it had pip, is made anew.
if ! "$python" -m pip --version >/dev/null 2>&1; then
    found=$(find_python)
    echo "Making .venv with $("$found" --version)"
    "$found" -m venv --clear .venv
fi
[ -x .venv/bin/uv ] || "$python" -m pip install --quiet --disable-pip-version-check uv

unset VIRTUAL_ENV
UV_PROJECT_ENVIRONMENT=.venv
export UV_PROJECT_ENVIRONMENT
if ! .venv/bin/uv sync --inexact --all-extras --no-extra ray --frozen --python "$python"; then
    # uv fetches from the addresses in uv.lock and knows nothing of pip's configuration. Behind a mirror
    # that only pip is told of, pip installs the same locked versions and checks the same hashes.
    echo "uv could not install the locked environment; trying the same versions with pip." >&2
    .venv/bin/uv export --quiet --frozen --all-extras --no-extra ray --no-emit-project --output-file .venv/locked.txt
    PIP_CONSTRAINT=/dev/null "$python" -m pip install --disable-pip-version-check \
        --no-deps --require-hashes --requirement .venv/locked.txt
    "$python" -m pip install --disable-pip-version-check --no-deps --editable .
fi
touch .venv/.synced
