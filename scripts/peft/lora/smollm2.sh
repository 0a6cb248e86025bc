#!/usr/bin/env bash
# Fine-tunes SmolLM2 with LoRA on a file of questions and answers. Evaluates on another file before and after.
#
#   make smollm2
#   scripts/peft/lora/smollm2.sh TRAIN.jsonl EVAL.jsonl [further options of train, such as --method fp]
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 TRAIN.jsonl EVAL.jsonl [further options of train]" >&2
    exit 2
fi
train=$(realpath "$1") eval=$(realpath "$2")
shift 2
cd "$(dirname "$0")/../../.."
./train_quaff train --model models/smollm2-135m-instruct --data "$train" --eval-data "$eval" --max-cal-samples 64 \
    --batch-size 8 --max-steps 40 --learning-rate 5e-4 --eval-steps 0 --save-steps 0 "$@"
