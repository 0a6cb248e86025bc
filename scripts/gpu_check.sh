#!/usr/bin/env bash
# Everything that only a GPU can tell, in one call of under 9 minutes and without the network: builds for the card, runs
# the CUDA tests natively and under compute-sanitizer, trains the demo on the GPU and on the CPU, and writes one table to
# dev/results/. Needs nvcc and the packages of `make deps`.
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
# check NAME SECONDS COMMAND...: runs it with a time limit; its log is kept, its last line is shown.
check() {
    local name=$1 limit=$2 log begin=$SECONDS
    shift 2
    log=$logs/${name// /_}.log
    if timeout "$limit" "$@" >"$log" 2>&1; then
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
check "tests" 60 "$build/test_gpu"
if command -v compute-sanitizer >/dev/null; then
    check "memcheck" 120 compute-sanitizer --error-exitcode 9 --tool memcheck "$build/test_gpu" "[rmsnorm],[quantize],[int8_gemm]"
    check "racecheck" 120 compute-sanitizer --error-exitcode 9 --tool racecheck "$build/test_gpu" "[rmsnorm],[quantize]"
fi
for dtype in bf16 fp16 fp32; do
    for method in quaff fp; do
        name="demo $method $dtype"
        result=$logs/demo_${method}_$dtype.json
        check "$name" 60 bash -c "'$build/train_quaff' --device cuda --dtype $dtype --method $method --quiet --json \
            --out '$build/demo' >'$result'"
        [ -s "$result" ] && row "$name" "$(number exact_match "$result")" \
            "exact match; $(number tokens_per_second "$result") tokens/s"
    done
done

echo
echo "$failures checks failed; the table is in $table"
exit $((failures > 0))
