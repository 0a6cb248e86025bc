#!/usr/bin/env bash
# Trains on all GPUs of this machine, one rank each; the options are train_quaff's.
#
#   scripts/multi_gpu/one_node.sh --model DIR --data FILE ...
#
# A step takes --batch-size x --gradient-accumulation-steps sequences of every rank. Send this process SIGUSR1 to stop the
# run after a checkpoint. SIGTERM leaves it only one second.
set -euo pipefail
cd "$(dirname "$0")/../.."

gpus=$(nvidia-smi --list-gpus | wc -l)
# --bind-to none: the ranks divide the cores among themselves.
exec mpirun -np "$gpus" --bind-to none ./train_quaff --device cuda "$@"
