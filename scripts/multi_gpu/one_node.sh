#!/usr/bin/env bash
# Trains on all GPUs of this machine, one rank each; the options are train_quaff's.
#
#   scripts/multi_gpu/one_node.sh --model DIR --data FILE ...
#
# A step takes --batch-size x --gradient-accumulation-steps sequences of every rank. SIGUSR1, sent to this process, stops
# the run after a checkpoint; SIGTERM leaves it one second.
set -euo pipefail
cd "$(dirname "$0")/../.."

gpus=$(nvidia-smi --list-gpus | wc -l)
# --bind-to none: each rank divides the cores with the others by itself.
exec mpirun -np "$gpus" --bind-to none ./train_quaff --device cuda "$@"
