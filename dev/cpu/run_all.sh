#!/usr/bin/env bash
# Runs every program of this folder and prints one table: each version on each shape. Exit status 1 where a version is
# wrong or a program fails.
#
#   dev/cpu/run_all.sh               all shapes
#   dev/cpu/run_all.sh --quick       one shape, fewer runs
#   dev/cpu/run_all.sh --validate    times nothing: tells which versions are right
#   dev/cpu/run_all.sh --threads N   with so many threads; all there are if it is not given
#   dev/cpu/run_all.sh --record      also writes the table to dev/results/cpu_kernels_<CPU>.md, with what it was measured on
#   dev/cpu/run_all.sh --from DIR    programs in DIR/dev/cpu, where make BUILD=DIR put them; build if it is not given
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() { echo "run_all.sh: $1" >&2 && exit 2; }
build=build options=() record=0 command="dev/cpu/run_all.sh $*"
while [ $# -gt 0 ]; do
    case $1 in
        --quick | --validate) options+=("$1") ;;
        --threads) options+=("$1" "${2:?"run_all.sh: --threads needs a number"}") && shift ;;
        --record) record=1 ;;
        --from) build=${2:?"run_all.sh: --from needs a folder"} && shift ;;
        *) usage "there is no option $1, only --quick, --validate, --threads N, --record and --from DIR" ;;
    esac
    shift
done
if [ $record = 1 ] && [[ " ${options[*]} " == *" --validate "* ]]; then
    usage "--validate times nothing that --record could write"
fi

run_programs() {
    local failed=0 source
    for source in dev/cpu/*.cpp; do
        grep -q '"dev/cpu/common.h"' "$source" || continue
        "$build/${source%.cpp}" --json "${options[@]}" || { echo "$build/${source%.cpp} failed" >&2 && failed=1; }
    done
    return $failed
}

if [ $record = 0 ]; then
    run_programs | awk -f dev/table.awk
    exit
fi

cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
cpu=${cpu:-unknown processor}
file=dev/results/cpu_kernels_$(tr -cs 'A-Za-z0-9\n' _ <<<"$cpu").md
isa=$(sed -n 's/^flags[^:]*: //p' /proc/cpuinfo | head -n 1 | tr ' ' '\n' |
    grep -xE 'fma|avx2|avx512f|avx512bw|avx_vnni|avx512_vnni|avx512_bf16|amx_int8|amx_bf16' | tr '\n' ' ' || true)
cores=$(nproc)
load=$(cut -d ' ' -f 1 /proc/loadavg)
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
git diff --quiet HEAD -- dev llmc quaff Makefile 2>/dev/null || commit="$commit with changes"
mkdir -p dev/results
{
    echo "# CPU operators on $cpu"
    echo
    echo "\`$command\`, commit $commit, $(date -u +%F); $cores cores, $isa; $(g++ --version | head -n 1)."
    echo "Load average when it began: $load. Of ceiling: GB/s against a copy of memory by all threads, GFLOP/s and GOP/s against"
    echo "oneDNN on matrices in the caches, measured in the same run (dev/cpu/common.h)."
    run_programs | awk -v markdown=1 -f dev/table.awk
} >"$file.new" || { rm -f "$file.new" && exit 1; }
mv "$file.new" "$file"
cat "$file"
if awk -v load="$load" 'BEGIN { exit !(load > 0.5) }'; then
    echo "run_all.sh: the load average was $load: other programs took part. On a quiet machine the figures are others." >&2
fi
