#!/usr/bin/env bash
# Everything that only a GPU can tell, in one call of under 9 minutes and without the network: builds for the card, runs
# the CUDA tests natively and under compute-sanitizer, trains the demo on the GPU and on the CPU, and writes one table to
# dev/results/. Needs nvcc, and the packages of `make deps` already there.
#
#   scripts/gpu_check.sh            the table is dev/results/gpu_check_<GPU>.md, and on the terminal
set -uo pipefail
cd "$(dirname "$0")/.."

die() { echo "gpu_check: $*" >&2; exit 1; }
command -v nvidia-smi >/dev/null || die "nvidia-smi is not here: this check needs a machine with an NVIDIA GPU"
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1) || die "nvidia-smi does not answer: $gpu"
command -v nvcc >/dev/null || PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null || die "nvcc is not here; install the CUDA toolkit"

build=build/gpu_check
logs=$build/logs
mkdir -p "$logs" dev/results
table=dev/results/gpu_check_$(tr -c 'A-Za-z0-9\n' _ <<<"$gpu").md
failures=0

row() { printf '| %s | %s | %s |\n' "$1" "$2" "$3" | tee -a "$table"; }
# within SECONDS COMMAND...: the command may be a function of this script.
within() {
    local limit=$1
    shift
    export build logs
    export -f number trains 2>/dev/null
    timeout "$limit" bash -c '"$@"' _ "$@"
}
# check NAME SECONDS COMMAND...: runs it with a time limit; its log is kept, its last line is shown.
check() {
    local name=$1 limit=$2 log begin=$SECONDS
    shift 2
    log=$logs/${name// /_}.log
    if within "$limit" "$@" >"$log" 2>&1; then
        row "$name" ok "$((SECONDS - begin)) s; $(grep -v '^$' "$log" | tail -n 1 | cut -c 1-120)"
    else
        row "$name" "FAILED ($?)" "$((SECONDS - begin)) s; see $log; $(grep -v '^$' "$log" | tail -n 1 | cut -c 1-120)"
        failures=$((failures + 1))
    fi
}
# number FIELD FILE: a number of a JSON object that train_quaff --json printed.
number() { sed -nE "s/.*\"$1\":([0-9.e+-]+).*/\1/p" "$2" | tail -n 1; }

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

check "build" 240 make BUILD="$build" "$build/train_quaff" "$build/test_gpu"
[ "$failures" = 0 ] || die "the build failed; see $logs/build.log"
check "tests" 60 "$build/test_gpu"
if command -v compute-sanitizer >/dev/null; then
    check "memcheck" 60 compute-sanitizer --error-exitcode 9 --tool memcheck "$build/test_gpu" "[rmsnorm],[quantize],[int8_gemm]"
    check "racecheck" 60 compute-sanitizer --error-exitcode 9 --tool racecheck "$build/test_gpu" "[rmsnorm],[quantize]"
fi
# trains DEVICE DTYPE METHOD: the demo; it has learnt when it answers as the CPU's does, which is 0.85 at least.
trains() {
    "$build/train_quaff" --device "$1" --dtype "$2" --method "$3" --quiet --json --out "$build/demo" >"$logs/demo.json" &&
        awk -v right="$(number exact_match "$logs/demo.json")" 'BEGIN { exit !(right > 0.85) }'
}
demo() {
    rm -f "$logs/demo.json"
    check "demo $*" 40 trains "$@"
    row "demo $*" "$(number exact_match "$logs/demo.json")" "exact match; $(number tokens_per_second "$logs/demo.json") tokens/s"
}
demo cuda bf16 quaff
demo cuda bf16 fp
demo cuda fp16 quaff
demo cuda fp32 quaff
demo cpu fp32 quaff

echo
echo "$failures checks failed; the table is in $table"
exit $((failures > 0))
