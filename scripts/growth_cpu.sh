#!/usr/bin/env bash
# Measures how the cost of a quaff step on this processor grows with tokens, sequence length, layers, rank, share of
# outlier channels, vocabulary and threads. It varies one at a time, around four layers of TinyLlama's shape and two
# sequences of 256 tokens. Writes dev/results/cpu_growth_<CPU>.csv, and with --python a plot of measured and predicted time.
#
#   scripts/growth_cpu.sh [--python PROGRAM]     PROGRAM needs matplotlib
set -euo pipefail
cd "$(dirname "$0")/.."

python=""
while [ $# -gt 0 ]; do
    case $1 in
        --python) python=${2:?"growth_cpu: --python needs a program"} ;;
        *) echo "growth_cpu: there is no option $1; see the top of $0" >&2 && exit 2 ;;
    esac
    shift 2
done

build=build/cpu
make NVCC= BUILD=$build $build/dev/cpu/bench_step $build/random_model >/dev/null
models=$(mktemp -d build/growth.XXXXXX)
trap 'rm -rf "$models"' EXIT
cpu=$(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)
out=dev/results/cpu_growth_$(tr -c 'A-Za-z0-9\n' _ <<<"$cpu")
mkdir -p dev/results

# model LAYERS VOCABULARY: makes a model directory of that shape and prints its path.
model() {
    local folder=$models/$1-$2
    if [ ! -e "$folder" ]; then
        mkdir -p "$models/config"
        sed -E -e "s/(\"num_hidden_layers\": )[0-9]+/\1$1/" -e "s/(\"vocab_size\": )[0-9]+/\1$2/" \
            dev/configs/tinyllama/config.json >"$models/config/config.json"
        $build/random_model "$models/config" "$folder" 1 8 >&2
    fi
    echo "$folder"
}
field() { sed -nE "s/.*\"$1\": ?([0-9.e+-]+).*/\1/p" <<<"$2"; }
# point WHAT VALUE MODEL OPTIONS...: measures one line of the table.
point() {
    local what=$1 value=$2 line
    shift 2
    line=$($build/dev/cpu/bench_step "$@" --methods quaff --rounds 2 --json)
    echo "$what,$value,$(field step_seconds "$line"),$(field floor_seconds "$line"),$(field peak_bytes "$line")" | tee -a "$out.csv"
}

echo "what,value,step_seconds,floor_seconds,peak_bytes" >"$out.csv"
base=$(model 4 32000)
two=(--sequences 2 --tokens 256)
point base 1 "$base" "${two[@]}"
for n in 1 2 4 8; do point tokens $((n * 256)) "$base" --sequences "$n" --tokens 256; done
for length in 64 128 256 512 1024; do
    point "sequence length" "$length" "$base" --sequences $((1024 / length)) --tokens "$length"
done
for layers in 2 4 8; do point layers "$layers" "$(model "$layers" 32000)" "${two[@]}"; done
for r in 4 16 64 256; do point rank "$r" "$base" "${two[@]}" --lora-r "$r"; done
for ratio in 0.001 0.01 0.02 0.05 0.1; do
    point "outlier share" "$ratio" "$base" "${two[@]}" --outlier-max-ratio "$ratio"
done
for vocabulary in 2000 8000 32000 128000; do
    point vocabulary "$vocabulary" "$(model 4 "$vocabulary")" "${two[@]}"
done
for ((threads = 1; threads <= $(nproc); threads *= 2)); do
    point threads "$threads" "$base" "${two[@]}" --threads "$threads"
done
if [ -n "$python" ]; then "$python" dev/plot_growth.py "$out.csv" "$out.svg" "$cpu, commit $(git rev-parse --short HEAD)"; fi
