#!/usr/bin/env bash
# Puts Chromium and its driver on PATH for the tests, or says why they will skip
# the page. Sourced by test.sh, in the root of the repository.
set -euo pipefail

get_browser() {
  local limited='timeout --kill-after=10 300'
  command -v apt-get >/dev/null || { echo 'there is no apt-get'; return 1; }
  [[ "$(id -u)" == 0 ]] || { echo 'only root may install it'; return 1; }
  {
    $limited apt-get update &&
      DEBIAN_FRONTEND=noninteractive $limited apt-get install --yes \
        --no-install-recommends chromium chromium-driver fonts-dejavu-core
  } >/dev/null 2>&1 ||
    { echo 'apt-get cannot get chromium and chromium-driver'; return 1; }
  command -v chromedriver >/dev/null ||
    { echo 'its packages are without chromedriver'; return 1; }
}

has_browser() {
  command -v chromedriver >/dev/null &&
    { command -v chromium || command -v chromium-browser ||
      command -v google-chrome; } >/dev/null
}

if ! has_browser; then
  echo 'Getting a browser for the tests ...' >&2
  if ! reason="$(get_browser)"; then
    echo "Tests of the page will be skipped: no browser, and $reason." >&2
  fi
fi
