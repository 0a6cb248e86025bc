#!/usr/bin/env bash
# Trains on the GPUs of several machines, one rank each; the options are train_quaff's.
#
#   scripts/multi_gpu/two_nodes.sh node1:8,node2:8 --model DIR --data FILE ...
#
# What has to be the same on all of them, best by a file system they share: this folder with the built program, the
# model, the data and --out, at the same paths; and ssh from here to each without a password.
set -euo pipefail
cd "$(dirname "$0")/../.."

hosts=${1:?"the hosts come first, each with its number of GPUs: node1:8,node2:8"}
shift
# -x passes on where the libraries of NCCL and CUDA lie, for machines whose login shells do not say.
exec mpirun --host "$hosts" --bind-to none -x LD_LIBRARY_PATH -x PATH ./train_quaff --device cuda "$@"
