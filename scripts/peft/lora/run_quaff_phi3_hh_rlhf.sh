#!/usr/bin/env bash
# Fine-tunes Phi-3-mini on HH-RLHF's chosen dialogues, in the model's chat template, with the published code's settings.
#
#   scripts/peft/lora/run_quaff_phi3_hh_rlhf.sh MODEL DATA [further options of train]
#   scripts/peft/lora/run_quaff_phi3_hh_rlhf.sh --dry-run
set -euo pipefail
exec "$(dirname "$0")/../../published.sh" train phi3_mini hh-rlhf "$@" --template auto
