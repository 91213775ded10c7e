#!/usr/bin/env bash
# Puts a redis-server on PATH for the tests, which start it themselves, or says
# why they will skip Redis. Sourced by test.sh, in the root of the repository.
set -euo pipefail

# The package redis-server would enable a service. The same program comes with
# the tools, and goes by the name that it is called by.
get_redis() {
  local limited='timeout --kill-after=10 150'
  command -v apt-get >/dev/null || { echo 'there is no apt-get'; return 1; }
  [[ "$(id -u)" == 0 ]] || { echo 'only root may install it'; return 1; }
  {
    [[ -x /usr/bin/redis-check-rdb ]] || {
      $limited apt-get update &&
        DEBIAN_FRONTEND=noninteractive $limited apt-get install --yes \
          --no-install-recommends redis-tools
    }
  } >/dev/null 2>&1 || { echo 'apt-get cannot get redis-tools'; return 1; }
  mkdir -p .venv/redis
  ln -sf /usr/bin/redis-check-rdb .venv/redis/redis-server
  .venv/redis/redis-server --version >/dev/null 2>&1 ||
    { echo 'its tools are without the server'; return 1; }
}

if ! command -v redis-server >/dev/null; then
  echo 'Getting a redis-server for the tests ...' >&2
  if reason="$(get_redis)"; then
    export PATH="$PWD/.venv/redis:$PATH"
  else
    echo "Tests of Redis will be skipped: no redis-server, and $reason." >&2
  fi
fi
