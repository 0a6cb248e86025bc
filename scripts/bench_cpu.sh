#!/usr/bin/env bash
# Compares a training step on this processor with PyTorch's. One sequence of 512 tokens, all labelled, r = 16 on every
# linear. In turn:
#   fp and quaff, in fp32 and, if the processor has AVX512_BF16, with --dtype bf16 and auto (build/dev/cpu/bench_step)
#   fp and quaff as on a processor with AVX2 only: built for AVX2, and oneDNN limited to it
#   transformers + PEFT in fp32 and bf16 (dev/reference/time_peft.py)
# Writes dev/results/cpu_step_<CPU>.md, for another shape cpu_step_<CPU>_<SHAPE>.md.
#
#   scripts/bench_cpu.sh [--shape NAME | --model DIR] [--python PROGRAM] [--rounds N]
#
#   --shape NAME      random weights in the shape of dev/configs/NAME; default: tinyllama
#   --model DIR       a model that is there, with data.jsonl in its folder
#   --python PROGRAM  a Python with torch, transformers and peft; without it PyTorch is left out
#   --rounds N        the number of rounds; 2
set -euo pipefail
cd "$(dirname "$0")/.."

shape="" model="" python="" rounds=2
while [ $# -gt 0 ]; do
    case $1 in
        --shape) shape=${2:?"bench_cpu: --shape needs a folder of dev/configs"} ;;
        --model) model=${2:?"bench_cpu: --model needs a folder"} ;;
        --python) python=${2:?"bench_cpu: --python needs a program"} ;;
        --rounds) rounds=${2:?"bench_cpu: --rounds needs a number"} ;;
        *) echo "bench_cpu: there is no option $1; see the top of $0" >&2 && exit 2 ;;
    esac
    shift 2
done
if [ -n "$shape" ] && [ -n "$model" ]; then echo "bench_cpu: give --shape or --model, not both" >&2 && exit 2; fi
if [ -n "$python" ]; then "$python" -c 'import torch, transformers, peft'; fi

build=build/cpu avx2=build/avx2
make NVCC= BUILD=$build $build/dev/cpu/bench_step $build/random_model >/dev/null
make NVCC= BUILD=$avx2 ARCH=x86-64-v3 $avx2/dev/cpu/bench_step >/dev/null
if [ -z "$model" ]; then
    config=dev/configs/${shape:-tinyllama}
    model=build/${shape:-tinyllama}
    if ! cmp -s "$config/config.json" "$model/config.json"; then
        rm -rf "$model"
        $build/random_model "$config" "$model" 16 512
    fi
fi

methods=(fp quaff)
if grep -qw avx512_bf16 /proc/cpuinfo; then methods+=(quaff-mixed fp-bf16 quaff-bf16); fi

lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
field() { sed -nE "s/.*\"$1\": ?\"?([A-Za-z0-9.+-]+).*/\1/p" <<<"$2"; }
# told NAME LINE: appends one method's line of JSON to the table's data.
told() { echo "$1;$(field step_seconds "$2");$(field tokens_per_second "$2");$(field "$3" "$2");$(field sol "$2")" | tee -a "$lines"; }
for ((round = 0; round < rounds; round++)); do
    while read -r line; do told "$(field method "$line" | sed "s/-bf16/, bf16/; s/-mixed/, auto/")" "$line" peak_bytes; done \
        < <($build/dev/cpu/bench_step "$model" --rounds 3 --methods "${methods[@]}" --json)
    while read -r line; do told "$(field method "$line"), AVX2" "$line" peak_bytes; done \
        < <(ONEDNN_MAX_CPU_ISA=AVX2 $avx2/dev/cpu/bench_step "$model" --rounds 3 --json)
    for dtype in float32 bfloat16; do
        [ -n "$python" ] || continue
        told "PEFT $dtype" "$("$python" dev/reference/time_peft.py "$model" "$model/data.jsonl" --dtype $dtype \
            --batch-size 1 --steps 3 --threads "$(nproc)" 2>/dev/null | tail -n 1)" peak_bytes
    done
done

cpu=$(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)
suffix=$([ "$model" = build/tinyllama ] || echo "_$(basename "$model")")
table=dev/results/cpu_step_$(tr -c 'A-Za-z0-9\n' _ <<<"$cpu")$suffix.md
mkdir -p dev/results
{
    echo "# A training step on $cpu"
    echo
    echo "\`scripts/bench_cpu.sh\`, commit $(git rev-parse --short HEAD), $(date -u +%F), $(nproc) cores, load average" \
        "$(cut -d ' ' -f 1 /proc/loadavg) (including the step's own threads), instruction sets" \
        "$(grep -owE 'avx2|avx512f|avx512_vnni|avx512_bf16|amx_int8' /proc/cpuinfo | sort -u | paste -sd ' ')"
    echo
    echo "One sequence of 512 tokens, all labelled; $(basename "$model"), random weights; r = 16 on every linear, dropout 0.1." \
        "Medians of three steps; each round's figure, in the order they were taken." \
        "$([ -z "$python" ] || "$python" -c 'import torch, transformers as t, peft
print(f"transformers {t.__version__}, PEFT {peft.__version__}, torch {torch.__version__}.")')"
    echo "No type: --dtype fp32. \"AVX2\": as on a processor with AVX2 only, built with ARCH=x86-64-v3, oneDNN and our kernels limited to it."
    echo
    echo "| | seconds a step | tokens/s | memory at most | of its speed of light |"
    echo "| --- | --- | --- | --- | --- |"
    awk -F ';' '
        !($1 in seen) { order[++n] = $1; seen[$1] }
        { seconds[$1] = seconds[$1] (seconds[$1] ? ", " : "") sprintf("%.2f", $2)
          speed[$1] = speed[$1] (speed[$1] ? ", " : "") sprintf("%.1f", $3)
          memory[$1] = sprintf("%.2f GiB", $4 / 1073741824)
          sol[$1] = $5 == "" ? "" : sol[$1] (sol[$1] ? ", " : "") sprintf("%.0f%%", 100 * $5) }
        END { for (k = 1; k <= n; k++) printf "| %s | %s | %s | %s | %s |\n", order[k], seconds[order[k]], speed[order[k]], memory[order[k]], sol[order[k]] }' "$lines"
    echo
    echo "In tokens/s, all rounds together:"
    echo
    awk -F ';' '
        { sum[$1] += $3; n[$1]++ }
        END { split("quaff;quaff, auto;quaff, bf16", ours, ";"); split("fp;fp, bf16;PEFT float32;PEFT bfloat16", others, ";")
              for (i = 1; i <= 3; i++) for (k = 1; k <= 4; k++) if (n[ours[i]] && n[others[k]])
                  printf "- %s: %.2f times %s\n", ours[i], sum[ours[i]] / n[ours[i]] / (sum[others[k]] / n[others[k]]), others[k] }' "$lines"
    echo
    echo "## Part by part"
    echo
    echo '```'
    $build/dev/cpu/bench_step "$model" --rounds 3 --methods "${methods[@]}"
    echo '```'
    echo
    echo "The peaks of int8 and bf16 are of packed operands, that of fp32 is oneDNN's with its packing."
} >"$table"
cat "$table"
