#!/usr/bin/env bash
# Finds the outlier channels of LLaMA-2-7B on OIG's chip2, as the published code does (mean_times 100, at most 1%).
#
#   scripts/generate_outlier/run_llama2.sh MODEL DATA [further options of calibrate]
#   scripts/generate_outlier/run_llama2.sh --dry-run
set -euo pipefail
exec "$(dirname "$0")/../published.sh" calibrate llama2_7b chip2 "$@"
