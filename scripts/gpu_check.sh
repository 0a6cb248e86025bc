#!/usr/bin/env bash
# Runs every check that needs a GPU, in under 9 minutes and without the network: builds for the card, runs the CUDA tests
# natively, trains the demo, times kernels and training steps at Phi-3-mini's shape, and runs compute-sanitizer. Writes
# one table to dev/results/. Needs nvcc, and the packages of `make deps` or the folder that scripts/bring_deps.sh made on
# another machine. A check for which no time is left is listed as not run.
#
#   scripts/gpu_check.sh [SECONDS]             writes dev/results/gpu_check_<GPU>.md and prints it; 520 seconds
#   scripts/gpu_check.sh --no-build [SECONDS]  uses the programs in build/gpu_check, built on another machine
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

die() { echo "gpu_check: $*" >&2; exit 1; }
command -v nvidia-smi >/dev/null || die "nvidia-smi is not here: this check needs a machine with an NVIDIA GPU"
builds=true
[ "${1:-}" != --no-build ] || { builds=false && shift; }
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1) || die "nvidia-smi does not answer: $gpu"
command -v nvcc >/dev/null || PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null || die "nvcc is not here; install the CUDA toolkit"

if [ -d build/deps ]; then # the compiler and the loader search these folders too
    export CPLUS_INCLUDE_PATH=$PWD/build/deps/include LIBRARY_PATH=$PWD/build/deps/lib
    export LD_LIBRARY_PATH=$PWD/build/deps/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi

build=build/gpu_check
logs=$build/logs
mkdir -p "$logs" dev/results
table=dev/results/gpu_check_$(tr -c 'A-Za-z0-9\n' _ <<<"$gpu").md
failures=0 skipped=0
shown=() # benchmarks whose tables are appended at the end
deadline=$((SECONDS + ${1:-520}))

row() { printf '| %s | %s | %s |\n' "$1" "$2" "$3" | tee -a "$table"; }
# within SECONDS COMMAND...: runs the command, which may be a function of this script, with a time limit.
within() {
    local limit=$1
    shift
    export build logs
    export -f number trains step as_planned 2>/dev/null
    timeout -s KILL "$limit" bash -c '"$@"' _ "$@" # KILL: on TERM train_quaff would first write a checkpoint
}
# check NAME SECONDS COMMAND...: runs the command with a time limit, keeps its log and prints its last line.
check() {
    local name=$1 limit=$2 log begin=$SECONDS left=$((deadline - SECONDS))
    shift 2
    log=$logs/${name// /_}.log
    if [ "$left" -lt 5 ]; then
        row "$name" "not run" "no time was left"
        skipped=$((skipped + 1))
        return 1
    fi
    [ "$limit" -le "$left" ] || limit=$left
    if within "$limit" "$@" >"$log" 2>&1; then
        row "$name" ok "$((SECONDS - begin)) s; $(grep -v '^$' "$log" | tail -n 1 | cut -c 1-120)"
    else
        row "$name" "FAILED" "$((SECONDS - begin)) s; see $log; $(grep -v '^$' "$log" | tail -n 1 | cut -c 1-120)"
        failures=$((failures + 1))
        return 1
    fi
}
# number FIELD FILE: prints the last such number in a file of JSON lines.
number() { sed -nE "s/.*\"$1\":([0-9.e+-]+).*/\1/p" "$2" | tail -n 1; }
# median FIELD FILE: prints the median over a run's log without its two warm-up steps.
median() { sed -nE "s/.*\"step\":.*\"$1\":([0-9.e+-]+).*/\1/p" "$2" | tail -n +3 | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

{
    echo "# $gpu"
    echo
    echo "\`scripts/gpu_check.sh\`, commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%F)," \
        "driver $(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)," \
        "$(nvcc --version | grep -o 'release [0-9.]*')"
    echo
    echo "| check | result | what it said |"
    echo "| --- | --- | --- |"
} | tee "$table"

if $builds; then
    check "build" 240 make BUILD="$build" "$build/train_quaff" "$build/random_model" benchmarks ||
        die "the build failed; see $logs/build.log"
    check "registers" 10 make BUILD="$build" resources
    check "build of the tests" 120 make BUILD="$build" "$build/test_gpu"
fi
[ -x "$build/train_quaff" ] || die "$build/train_quaff is not there; run this without --no-build"
[ ! -x "$build/test_gpu" ] || check "tests" 60 "$build/test_gpu"

# trains DEVICE DTYPE METHOD: trains the demo. Its exact match on held-out instructions rises from 9% to between 91% and
# 98% with every method, type and seed.
# shellcheck disable=SC2317  # check calls it
trains() {
    "$build/train_quaff" --device "$1" --dtype "$2" --method "$3" --quiet --json --out "$build/demo_$1_$2_$3" \
        >"$logs/demo.json" &&
        awk -v matched="$(number exact_match "$logs/demo.json")" 'BEGIN { exit !(matched > 0.88) }'
}
demo() {
    check "demo $*" 90 trains "$@" &&
        row "demo $*" "$(number exact_match "$logs/demo.json")" "exact match; $(number tokens_per_second "$logs/demo.json") tokens/s"
}
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1)
export dtype=bf16
[ "${capability%.*}" -ge 8 ] || dtype=fp16
demo cuda "$dtype" quaff
demo cuda "$dtype" fp
[ "$dtype" = fp16 ] || demo cuda fp16 quaff
demo cuda fp32 quaff

# Two processes share the GPU and sum their gradients in host memory.
if command -v mpirun >/dev/null; then
    check "two ranks" 60 mpirun --allow-run-as-root --oversubscribe --bind-to none -np 2 "$build/train_quaff" \
        --device cuda --comm mpi --max-steps 60 --eval-steps 0 --save-steps 0 --quiet --out "$build/demo_ranks"
fi

check "kernels" 120 dev/cuda/run_all.sh --quick --from "$build" && shown+=("kernels")

# A training step of Phi-3-mini: random weights, 4 packed sequences of 2,048 tokens, r = 16 on every linear.
export phi3=$build/phi3_mini
trap 'rm -rf "$phi3"' EXIT
rm -rf "$phi3"
# step METHOD: trains a few steps.
# shellcheck disable=SC2317
step() {
    "$build/train_quaff" train --device cuda --dtype "$dtype" --method "$1" --model "$phi3" --data "$phi3/data.jsonl" \
        --source-max-len 2048 --target-max-len 2048 --batch-size 4 --max-cal-samples 2 --eval-split 0 --eval-steps 0 \
        --save-steps 0 --max-steps 8 --quiet --json --out "$build/step_$1" >"$logs/step_$1.json"
}
# as_planned FILE: succeeds if the run used the planned memory, within 3%.
# shellcheck disable=SC2317
as_planned() {
    local planned taken
    planned=$(number planned_memory_bytes "$1") taken=$(number peak_memory_bytes "$1")
    echo "$planned bytes planned, $taken taken"
    [ $((taken * 100)) -le $((planned * 103)) ] && [ $((taken * 100)) -ge $((planned * 97)) ]
}
if check "random Phi-3-mini" 60 "$build/random_model" dev/configs/phi3_mini "$phi3" 64 2048; then
    for method in quaff fp; do
        check "step $method" 60 step "$method" &&
            row "step $method, $dtype" "$(median tokens_per_second "$build/step_$method/log.jsonl") tokens/s" \
                "$(median sol "$build/step_$method/log.jsonl") of the speed of light; $(number peak_memory_bytes "$logs/step_$method.json") bytes at most" &&
            check "memory plan $method" 5 as_planned "$logs/step_$method.json"
    done
    if python3 -c 'import torch, transformers, peft' 2>/dev/null; then
        torch_dtype=bfloat16
        [ "$dtype" = bf16 ] || torch_dtype=float16
        check "step PEFT" 90 python3 dev/reference/time_peft.py "$phi3" "$phi3/data.jsonl" --dtype $torch_dtype \
            --device cuda --batch-size 4 --steps 6
    fi
fi
if [ -x "$build/test_gpu" ] && command -v compute-sanitizer >/dev/null; then
    # Tests make calls fail on purpose, so CUDA's API errors do not count as memory errors.
    check "memcheck" 90 compute-sanitizer --report-api-errors no --error-exitcode 9 --tool memcheck "$build/test_gpu"
    check "racecheck" 90 compute-sanitizer --error-exitcode 9 --tool racecheck "$build/test_gpu" \
        "[attention],[int8_gemm],[lora_down],[quantize],[rmsnorm]"
fi

for benchmark in "${shown[@]}"; do
    { printf '\n```\n'; cat "$logs/$benchmark.log"; printf '```\n'; } | tee -a "$table"
done
echo
echo "$failures checks failed, $skipped were not run for lack of time; the table is $table"
exit $((failures + skipped > 0))
