#!/usr/bin/env bash
# Finds the outlier channels of Phi-3-mini on OIG's chip2, as the published code does (mean_times 100, at most 1%).
#
#   scripts/generate_outlier/run_phi3.sh MODEL DATA [further options of calibrate]
#   scripts/generate_outlier/run_phi3.sh --dry-run
set -euo pipefail
exec "$(dirname "$0")/../published.sh" calibrate phi3_mini chip2 "$@"
