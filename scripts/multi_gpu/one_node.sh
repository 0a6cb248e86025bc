#!/usr/bin/env bash
# Trains on all GPUs of this machine, one rank each; the options are train_quaff's.
#
#   scripts/multi_gpu/one_node.sh --model DIR --data FILE ...
#
# A step takes --batch-size x --gradient-accumulation-steps sequences of every rank. Send this process SIGUSR1 to stop the
# run after a checkpoint. SIGTERM leaves it only one second.
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v nvidia-smi >/dev/null ||
    { echo "one_node.sh: nvidia-smi was not found, so this machine has no NVIDIA driver. On CPUs: mpirun -np 2 --bind-to none ./train_quaff" >&2; exit 1; }
gpus=$(nvidia-smi --list-gpus | wc -l)
# --bind-to none: the ranks divide the cores among themselves.
exec mpirun -np "$gpus" --bind-to none ./train_quaff --device cuda "$@"
