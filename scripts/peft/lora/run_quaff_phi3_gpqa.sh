#!/usr/bin/env bash
# Fine-tunes Phi-3-mini on GPQA with the published code's settings.
#
#   scripts/peft/lora/run_quaff_phi3_gpqa.sh MODEL DATA [further options of train]
#   scripts/peft/lora/run_quaff_phi3_gpqa.sh --dry-run
set -euo pipefail
exec "$(dirname "$0")/../../published.sh" train phi3_mini gpqa "$@"
