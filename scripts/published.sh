#!/usr/bin/env bash
# Runs what a script of the published code runs, on a model and data that are here. generate_outlier/run_*.sh and
# peft/lora/run_*.sh call it:
#
#   scripts/published.sh calibrate|train SHAPE DATA_SET MODEL DATA [further options]
#   scripts/published.sh calibrate|train SHAPE DATA_SET --dry-run [further options]
#
# SHAPE is the model's folder in dev/configs/, DATA_SET a name of --data-format. MODEL is a Hugging Face directory. DATA
# is a file, or a folder with train.jsonl and test.jsonl as dev/data/get.py writes it. scripts/published.toml has the
# settings. --dry-run needs neither: it prints the memory plan of the training, for a model without values in this shape
# and random tokens.
#
# `calibrate` writes outlier/mean_times100_<data set>_<model>.json. `train` reads the one of chip2, on which the
# published code calibrates for every data set; without it the channels are found on the training data.
set -euo pipefail
verb=$1 shape=$2 data_set=$3
shift 3
root=$(realpath "$(dirname "$0")/..")

if [ "${1-}" = --dry-run ]; then
    shift
    exec "$root/scripts/plan_shape.sh" "$shape" --config "$root/scripts/published.toml" "$@"
fi
if [ $# -lt 2 ] || [[ $1 == -* || $2 == -* ]]; then
    echo "usage: MODEL DATA [further options of $verb], or --dry-run. DATA is $data_set's file or folder;" \
        "python3 dev/data/get.py $data_set fetches it" >&2
    exit 2
fi
model=$(realpath "$1") data=$(realpath "$2")
shift 2
cd "$root"

given() {  # option, the user's options
    local option=$1 word
    shift
    for word in "$@"; do
        if [[ $word == "$option" || $word == "$option="* ]]; then return 0; fi
    done
    return 1
}
outliers() { echo "outlier/mean_times100_$1_$(basename "$model").json"; }

train=$data
if [ -d "$data" ]; then train=$data/train.jsonl; fi
options=(--config scripts/published.toml --model "$model" --data-format "$data_set")
if [ "$verb" = calibrate ]; then
    options+=(--cal-data "$train")
    given --outliers "$@" || options+=(--outliers "$(outliers "$data_set")")
else
    options+=(--data "$train")
    if [ -e "$data/test.jsonl" ]; then options+=(--eval-data "$data/test.jsonl"); fi
    given --out "$@" || options+=(--out "out/$(basename "$model")-$data_set")
    if ! given --outliers "$@" && ! given --cal-data "$@" && ! given --resume "$@"; then
        if [ -e "$(outliers chip2)" ]; then
            options+=(--outliers "$(outliers chip2)")
        else
            echo "There is no $(outliers chip2), so the outlier channels are found on the training data." \
                "scripts/generate_outlier/run_*.sh writes it." >&2
        fi
    fi
fi
exec ./train_quaff "$verb" "${options[@]}" "$@"
