#!/usr/bin/env bash
# Prints registers, stack and spills of every kernel in one table, from the output of ptxas (-Xptxas -v). `make resources`
# calls it. Fails if a kernel spills registers to local memory or keeps an array there, or if ptxas serialised warpgroup
# products.
#
#   scripts/resources.sh build/quaff/model/cuda/model_*.ptxas
set -euo pipefail

for log in "$@"; do
    type=${log##*/model_}
    c++filt -p <"$log" | sed -E "s/^ptxas info +: //; s/^/${type%.ptxas} /"
done | awk '
    function tell() {
        if (kernel == "") return
        if (!count++)
            printf "%-6s %-5s %9s %6s %7s %6s  %s\n", "arch", "type", "registers", "stack", "stores", "loads", "kernel"
        printf "%-6s %-5s %9d %6d %7d %6d  %s\n", arch, type, registers, stack, stores, loads, kernel
        if (stack + stores + loads > 0) bad[++n] = "local memory: " arch " " type " " kernel
        kernel = ""
        stack = stores = loads = 0
    }
    # An entry function, what it uses, and what the functions use that it calls without inlining.
    / Compiling entry function / { tell(); arch = $NF; gsub(/[^0-9a-z_]/, "", arch); type = $1; named = 0 }
    / Function properties for / && !named++ { kernel = $0; sub(/.* for (void )?(cuda::)?/, "", kernel) }
    / bytes stack frame,/ { stack += $2; stores += $6; loads += $10 }
    / Used [0-9]+ registers/ { registers = $3 }
    / serialized / { bad[++n] = $0 }
    END {
        tell()
        if (!count) {
            print "resources: the logs hold no output of ptxas; is this a build with nvcc?" > "/dev/stderr"
            exit 1
        }
        printf "%d kernels, %d complaints\n", count, n
        for (i = 1; i <= n; i++) print "resources: " bad[i] > "/dev/stderr"
        exit n > 0
    }'
