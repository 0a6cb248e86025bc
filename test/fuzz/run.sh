#!/usr/bin/env bash
# run.sh BUILD SECONDS HARNESS..: first every harness over its seeds and past findings, once; then each for SECONDS, as
# many at a time as there are cores. Prints executions and coverage of each; exits 1 when there is a finding, naming its file.
set -euo pipefail
build=$1 seconds=$2
shift 2
limits=(-rss_limit_mb=1024 -malloc_limit_mb=256 -timeout=10)
export LSAN_OPTIONS=report_objects=0 ASAN_OPTIONS=abort_on_error=0:handle_abort=1

# Every file that is remembered, in one process: seeds and findings of the repository.
replay() {
    local harness=$1 folders=()
    for folder in "test/fuzz/corpus/$harness" "test/fuzz/findings/$harness"; do
        if [ -d "$folder" ]; then folders+=("$folder"); fi
    done
    find "${folders[@]}" -type f -print0 | xargs -0 "$build/$harness" "${limits[@]}" >"$build/$harness.replay.log" 2>&1 || {
        tail -n 40 "$build/$harness.replay.log" >&2
        echo "fuzz: $harness fails on a file of ${folders[*]}; see $build/$harness.replay.log" >&2
        return 1
    }
    echo "$harness: $(find "${folders[@]}" -type f | wc -l) files replayed"
}

explore() {
    local harness=$1
    local corpus=$build/corpus/$harness
    mkdir -p "$corpus" "$build/crashes"
    "$build/$harness" "${limits[@]}" -max_total_time="$seconds" -print_final_stats=1 -max_len=16384 -use_value_profile=1 \
        -dict=test/fuzz/words.dict -artifact_prefix="$build/crashes/$harness-" "$corpus" "test/fuzz/corpus/$harness" \
        >"$build/$harness.log" 2>&1 </dev/null || {
        tail -n 60 "$build/$harness.log" >&2
        echo "fuzz: $harness has a finding; its input is $build/crashes/$harness-*, its log $build/$harness.log" >&2
        return 1
    }
    awk -v harness="$harness" '
        /cov:/ { for (i = 1; i < NF; i++) if ($i == "cov:") coverage = $(i + 1) }
        /stat::number_of_executed_units/ { executions = $2 }
        /stat::peak_rss_mb/ { memory = $2 }
        END { printf "%-16s %10d executions, %6d branches, peak %d MB, nothing found\n", harness, executions, coverage, memory }
    ' "$build/$harness.log"
}

for harness in "$@"; do replay "$harness"; done
if [ "$seconds" -gt 0 ]; then
    export -f explore
    export build seconds limits_text="${limits[*]}"
    # shellcheck disable=SC2016  # the inner shell expands it
    printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'set -euo pipefail; read -r -a limits <<<"$limits_text"; explore {}'
fi
