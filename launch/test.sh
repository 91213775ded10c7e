#!/usr/bin/env bash
# Lint, types, and the whole test suite; arguments go to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
source launch/redis.sh
source launch/browser.sh
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"

"$PYTHON" -m ruff check .
"$PYTHON" -m pyrefly check --summarize-errors
"$PYTHON" -m pytest --numprocesses=2 --dist=loadfile \
  --no-loadscope-reorder "$@"
