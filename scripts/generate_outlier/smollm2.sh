#!/usr/bin/env bash
# Finds the outlier channels of SmolLM2 on a file of examples and writes them to
# outlier/token_max100_<examples>_smollm2-135m-instruct.json, for --outliers.
#
#   make smollm2
#   scripts/generate_outlier/smollm2.sh EXAMPLES.jsonl [further options of calibrate]
set -euo pipefail
if [ $# -lt 1 ]; then
    echo "usage: $0 EXAMPLES.jsonl [further options of calibrate]" >&2
    exit 2
fi
examples=$(realpath "$1")
shift
cd "$(dirname "$0")/../.."
./train_quaff calibrate --model models/smollm2-135m-instruct --cal-data "$examples" --max-cal-samples 64 "$@"
