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

run_programs | awk -f dev/table.awk
