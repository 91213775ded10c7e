#!/usr/bin/env bash
# The daily refresh: new logs to tasks, and their embeddings to the store.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/refresh.sh [prepare | refresh] [--config.NAME=VALUE ...]

Adds new log files to the dataset, then adapts every entity to its events before
the cutoff and publishes the embeddings; with a word, does only that half.
Settings come from the environment; relative paths start at the repository.

  LIMAML_SCHEMA          TOML file that says which column is what
  LIMAML_LOGS            files of the log: globs, separated by commas
  LIMAML_DATA            dataset, made anew beside itself and replaced
  LIMAML_WORKDIR         of the training run
  LIMAML_STORE           lmdb:PATH or redis[s]://[USER@]HOST:PORT/DB
Optional:
  LIMAML_REDIS_PASSWORD  of the store; never part of LIMAML_STORE
  LIMAML_CUTOFF          ISO time with zone (default: today's 00:00)
  LIMAML_ZONE            whose 00:00 that is (default UTC)
  LIMAML_ENCODING_OF     dataset that the model was trained on (default what
                         training kept of it in LIMAML_WORKDIR, or LIMAML_DATA)
  LIMAML_CONFIG          file of settings that the dataset was made with
  LIMAML_DATA_DIR        has the side tables (default: beside log or schema)
  LIMAML_MEMORY_LIMIT    of DuckDB, such as 8GB
  PYTHON                 interpreter (default .venv/bin/python)

--config.NAME=VALUE goes to prepare, as when the dataset was first made.

Exit status: 0 published, or already there; 1 failed, may be tried again;
2 a setting is missing or wrong; 3 the gate refused the snapshot: the store
serves the one before, and only a person should go on.
TEXT
}

fail() {
  echo "error: $1; see launch/refresh.sh --help" >&2
  exit 2
}

steps=
prepare_flags=()
for argument in "$@"; do
  case "$argument" in
    prepare | refresh) steps+="$argument" ;;
    --config.*=*) prepare_flags+=("$argument") ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown argument $argument" ;;
  esac
done
case "$steps" in
  '') steps='prepare refresh'; needed=(SCHEMA LOGS DATA WORKDIR STORE) ;;
  prepare) needed=(SCHEMA LOGS DATA) ;;
  refresh) needed=(DATA WORKDIR STORE) ;;
  *) fail 'prepare or refresh: give one of them, or neither' ;;
esac

missing=
for name in "${needed[@]}"; do
  variable="LIMAML_$name"
  [[ -n "${!variable:-}" ]] || missing+=" $variable"
done
[[ -z "$missing" ]] || fail "not set:$missing"
# A URL is shown by ps and by every log; what it holds is not repeated here.
case "${LIMAML_STORE:-}" in
  *://*:*@*) fail 'LIMAML_STORE holds a password: use LIMAML_REDIS_PASSWORD' ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# A scheduled run installs nothing: what runs today ran yesterday.
PYTHON="${PYTHON:-$PWD/.venv/bin/python}"
command -v "$PYTHON" >/dev/null ||
  fail "$PYTHON: no such program; run launch/install.sh once, or set PYTHON"
# Taken before anything runs: the day may end meanwhile.
if [[ "$steps" == *refresh* && -z "${LIMAML_CUTOFF:-}" ]]; then
  LIMAML_CUTOFF="$("$PYTHON" -m launch.cutoff "${LIMAML_ZONE:-UTC}")"
fi

if [[ "$steps" == *prepare* ]]; then
  [[ -z "${LIMAML_CONFIG:-}" ]] ||
    prepare_flags=("--config=$LIMAML_CONFIG"
      ${prepare_flags[@]+"${prepare_flags[@]}"})
  [[ -z "${LIMAML_DATA_DIR:-}" ]] ||
    prepare_flags+=("--data_dir=$LIMAML_DATA_DIR")
  [[ -z "${LIMAML_MEMORY_LIMIT:-}" ]] ||
    prepare_flags+=("--memory_limit=$LIMAML_MEMORY_LIMIT")
  encoding_of="${LIMAML_ENCODING_OF:-${LIMAML_WORKDIR:-}/encoding}"
  [[ -d "$encoding_of" ]] || encoding_of="${LIMAML_ENCODING_OF:-$LIMAML_DATA}"
  "$PYTHON" -m experiments.prepare --schema="$LIMAML_SCHEMA" \
    --input="$LIMAML_LOGS" --output="$LIMAML_DATA" \
    --encoding_of="$encoding_of" \
    ${prepare_flags[@]+"${prepare_flags[@]}"}
fi
if [[ "$steps" == *refresh* ]]; then
  "$PYTHON" -m experiments.refresh --data="$LIMAML_DATA" \
    --workdir="$LIMAML_WORKDIR" --store="$LIMAML_STORE" \
    --cutoff="$LIMAML_CUTOFF" \
    --compilation_cache="$LIMAML_WORKDIR/compilation_cache"
fi
