#!/usr/bin/env bash
# What each choice of the method is worth: quaff with one choice changed at a time, measured by `train_quaff compare`.
# Prints a Markdown table: KL to full precision (before and after training), the loss after training, seconds of a step.
#
#   scripts/ablations.sh OUT [options of compare: --model M --data F --max-steps N --seeds 3 ..]
#
# OUT gets a folder for each variant. What is there already is not measured again; what was interrupted goes on.
set -euo pipefail

if [ $# -lt 1 ] || [[ $1 == -* ]]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
    exit 2
fi
out=$1
shift
program=$(cd "$(dirname "$0")/.." && pwd)/train_quaff
[ -x "$program" ] || { echo "ablations.sh: $program is missing; build it with: make" >&2; exit 1; }
mkdir -p "$out"

# name|options
variants=(
    "default|"
    "no outlier channels|--outlier-max-ratio 0"
    "ratio 0.01|--outlier-max-ratio 0.01"
    "ratio 0.05|--outlier-max-ratio 0.05"
    "mean_times 20|--outlier-strategy mean_times --outlier-threshold 20"
    "mean_times 100|--outlier-strategy mean_times --outlier-threshold 100"
    "top_abs|--outlier-strategy top_abs"
    "no rotation|--rotation off"
    "split|--outlier-term split"
    "no rotation, split|--rotation off --outlier-term split"
    "strength 0.5|--scale-strength 0.5"
    "strength 0.75|--scale-strength 0.75"
    "no rotation, strength 1|--rotation off --scale-strength 1"
    "gamma 0|--scale-momentum 0"
    "gamma 0.5|--scale-momentum 0.5"
    "gamma 0.9|--scale-momentum 0.9"
    "grad-bits 16|--grad-bits 16"
    "r 4|--lora-r 4"
    "r 64|--lora-r 64"
)

printf '| quaff with | KL to fp before | after | loss after | seconds of a step |\n| --- | ---: | ---: | ---: | ---: |\n'
for variant in "${variants[@]}"; do
    name=${variant%%|*}
    read -ra options <<<"${variant#*|}"
    folder=$out/${name//[ ,]/_}
    if [ ! -e "$folder.log" ] || ! grep -q '^finished$' "$folder.log"; then
        resume=()
        [ ! -e "$folder/compare.json" ] || resume=(--resume)
        "$program" compare --methods quaff --out "$folder" "$@" "${options[@]}" "${resume[@]}" >"$folder.log" 2>&1 ||
            { cat "$folder.log" >&2; exit 1; }
        grep -q '^stopped' "$folder.log" && exit 130
        echo finished >>"$folder.log"
    fi
    # The rows of quaff: before training, after it, and a step's costs. Without training there is no second one.
    awk -F'|' -v name="$name" '
        /^\| quaff / { rows++; kl[rows] = $3; loss[rows] = $4 }
        END {
            after = rows > 2 ? 2 : 0
            printf "| %s |%s|%s|%s|%s|\n", name, kl[1], after ? kl[2] : " ", after ? loss[2] : " ", kl[rows]
        }' "$folder/compare.md"
done
