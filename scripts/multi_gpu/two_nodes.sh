#!/usr/bin/env bash
# Trains on the GPUs of several machines, one rank each; the options are train_quaff's.
#
#   scripts/multi_gpu/two_nodes.sh node1:8,node2:8 --model DIR --data FILE ...
#
# All machines need this folder with the built program, the model, the data and --out at the same paths, preferably on a
# shared file system. ssh from here to each must work without a password.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ $# -gt 0 ] || { echo "two_nodes.sh: name the hosts first, each with its number of GPUs: two_nodes.sh node1:8,node2:8 --model DIR .." >&2; exit 2; }
hosts=$1
shift
# -x passes on the paths of NCCL and CUDA, for machines whose login shells do not set them.
exec mpirun --host "$hosts" --bind-to none -x LD_LIBRARY_PATH -x PATH ./train_quaff --device cuda "$@"
