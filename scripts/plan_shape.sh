#!/usr/bin/env bash
# Prints the memory plan of a training on a model that is not here: the one whose config.json is in dev/configs/SHAPE.
#
#   scripts/plan_shape.sh SHAPE [options of train]          for instance: scripts/plan_shape.sh phi3_mini --batch-size 4
#
# The plan reads shapes alone. build/random_model writes a model without values that takes no room on the disk, and 64
# examples of 1,024 random tokens: the longest that --source-max-len and --target-max-len let in by default.
set -euo pipefail
if [ $# -lt 1 ]; then
    echo "usage: $0 SHAPE [options of train]" >&2
    exit 2
fi
shape=$1
shift
cd "$(dirname "$0")/.."
[ -x build/random_model ] || make --no-print-directory random_model >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build/random_model --hollow "dev/configs/$shape" "$work/$shape" 64 1024
./train_quaff info --plan --model "$work/$shape" --data "$work/$shape/data.jsonl" "$@"
