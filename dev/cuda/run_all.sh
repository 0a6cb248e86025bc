#!/usr/bin/env bash
# Runs every program of this folder and prints one table: each version on each shape, with its fastest block size. Exit
# status 1 where a version is wrong or a program fails.
#
#   dev/cuda/run_all.sh               all shapes and block sizes
#   dev/cuda/run_all.sh --quick       one shape and one block size of each version, fewer runs
#   dev/cuda/run_all.sh --validate    times nothing: tells which versions are right
#   dev/cuda/run_all.sh --from DIR    programs in DIR/dev/cuda, where make BUILD=DIR put them; build if it is not given
set -euo pipefail
cd "$(dirname "$0")/../.."

build=build options=()
while [ $# -gt 0 ]; do
    case $1 in
        --quick | --validate) options+=("$1") ;;
        --from) build=${2:?"run_all.sh: --from needs a folder"} && shift ;;
        *) echo "run_all.sh: there is no option $1, only --quick, --validate and --from DIR" >&2 && exit 2 ;;
    esac
    shift
done

# A program is a source that includes the harness, so that a new one is found by itself.
run_programs() {
    local failed=0 source
    for source in dev/cuda/*.cu; do
        grep -q '"dev/cuda/common.cuh"' "$source" || continue
        "$build/${source%.cu}" --json "${options[@]}" || { echo "$build/${source%.cu} failed" >&2 && failed=1; }
    done
    return $failed
}

# The lines are dev/report.cpp's: flat objects, in whose strings there is no quote.
run_programs | awk '
function field(name,  rest) {
    if (!match($0, "\"" name "\":")) return ""
    rest = substr($0, RSTART + RLENGTH)
    if (sub(/^"/, "", rest)) sub(/".*/, "", rest); else sub(/[,}].*/, "", rest)
    return rest
}
/"fastest":true/ {
    if (!rows++) {
        printf "\n%s; median of the runs, +- half the distance between their quartiles\n", field("device")
        printf "%-24s %6s %-4s %-26s %5s %12s %8s %10s %-7s %10s  %s\n", "operator", "kernel", "type", "shape", "block", \
            "microseconds", "+-", "rate", "", "of ceiling", "what"
    }
    printf "%-24s %6d %-4s %-26s %5s %12.1f %8.1f %10.1f %-7s %9.1f%%  %s\n", field("operator"), field("version"), \
        field("type"), field("shape"), (field("block") > 0 ? field("block") : "-"), field("microseconds"), \
        field("spread"), field("rate"), field("unit"), field("percent"), field("what")
}
/"correct":/ {
    id = field("operator") " kernel " field("version")
    if (!(id in checks)) order[++versions] = id
    checks[id] += field("checks")
    if (/"correct":true/) types[id] = types[id] " " field("type")
    else { wrong++; print id, field("type"), "WRONG: " field("wrong") }
}
END {
    if (!rows) for (k = 1; k <= versions; k++) if (types[order[k]]) printf "%-40s %5d checks, right in%s\n", order[k], checks[order[k]], types[order[k]]
    printf "%d versions validated; wrong in some type: %d times\n", versions, wrong
}'
