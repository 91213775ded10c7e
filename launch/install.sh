#!/usr/bin/env bash
# Makes .venv from requirements.lock where it is missing or out of date.
# Sourced by the other scripts; leaves $PYTHON set to the environment's Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      echo "$candidate"
      return
    fi
  done
  echo 'error: no Python >= 3.11 found; install one and try again' >&2
  return 1
}

make_environment() {
  local base
  echo "Installing into .venv (once, about a minute) ..." >&2
  if [[ ! -x .venv/bin/python ]]; then
    base="$(find_python)"
    # Some distributions ship venv without pip: then pip installs itself.
    "$base" -m venv .venv >/dev/null 2>&1 || {
      "$base" -m venv --clear --without-pip .venv
      "$base" -m pip --python .venv/bin/python install --quiet pip
    }
  fi
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --requirement requirements.lock
  cp requirements.lock .venv/installed.lock
}

PYTHON="$PWD/.venv/bin/python"
if ! cmp --silent requirements.lock .venv/installed.lock; then
  make_environment
fi
