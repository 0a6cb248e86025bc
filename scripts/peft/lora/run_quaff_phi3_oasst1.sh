#!/usr/bin/env bash
# Fine-tunes Phi-3-mini on Guanaco's part of OASST1, in the model's chat template, with the published code's settings.
#
#   scripts/peft/lora/run_quaff_phi3_oasst1.sh MODEL DATA [further options of train]
#   scripts/peft/lora/run_quaff_phi3_oasst1.sh --dry-run
set -euo pipefail
exec "$(dirname "$0")/../../published.sh" train phi3_mini oasst1 "$@" --template auto
