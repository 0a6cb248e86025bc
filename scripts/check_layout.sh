#!/usr/bin/env bash
# Checks that every include runs along the arrows below, and that llmc/ does not know the program that uses it. Prints how
# many includes run along each arrow, then each offending file:line. Exit status: 1 when there is one. `make check-layout`.
set -euo pipefail
cd "$(dirname "$0")/.."

# room: the rooms it may include, beside itself. What is not listed is forbidden.
arrows='
train_quaff.cu: quaff/quaff.h quaff/cli quaff/run quaff/model quaff/files llmc/*
quaff/quaff.h:  quaff/run quaff/model quaff/files llmc/*
quaff/cli:      quaff/run quaff/model quaff/files llmc/*
quaff/run:      quaff/model quaff/files llmc/*
quaff/model:    quaff/files llmc/core llmc/io llmc/system llmc/comm llmc/data llmc/cpu llmc/cuda
quaff/files:    llmc/core llmc/io llmc/system llmc/tokenizer llmc/jinja llmc/chat
llmc/core:
llmc/io:        llmc/core
llmc/system:    llmc/core
llmc/comm:      llmc/core llmc/system
llmc/training:  llmc/core llmc/io
llmc/tokenizer: llmc/core llmc/io
llmc/jinja:     llmc/core
llmc/chat:      llmc/core llmc/io llmc/tokenizer llmc/jinja
llmc/metrics:   llmc/core llmc/tokenizer
llmc/data:      llmc/core llmc/io llmc/system llmc/tokenizer llmc/chat llmc/metrics
llmc/cpu:       llmc/core llmc/system llmc/comm
llmc/cuda:      llmc/core llmc/system llmc/comm llmc/cpu
dev:            quaff/quaff.h quaff/cli quaff/run quaff/model quaff/files llmc/*
'
# A library's headers: the rooms of llmc/ and quaff/ that may include them.
libraries='
CLI/:            quaff/cli
mpi.h:           llmc/comm
dnnl:            llmc/cpu
oneapi/:         llmc/cpu
cuda:            llmc/cuda
cublas:          llmc/cuda
nccl:            llmc/cuda
pcre2:           llmc/tokenizer
utf8proc:        llmc/jinja llmc/tokenizer
sentencepiece:   llmc/tokenizer
'
# Options of other programs (srun, sbatch, docker, nvidia-smi, nvcc), which llmc/ may name.
others='--(mpi|signal|gpus|query-gpu|format|expt-relaxed-constexpr)'

status=0
grep -rnE '^[[:space:]]*#[[:space:]]*include' llmc quaff dev train_quaff.cu \
    --include='*.h' --include='*.cuh' --include='*.cpp' --include='*.cu' | sort -t: -k1,1 -k2,2n |
    awk -v arrows="$arrows" -v libraries="$libraries" '
        # A file stands in a room: quaff/run/training/report.h in quaff/run, dev/cpu/rope.cpp in dev.
        function room(path, part) {
            split(path, part, "/")
            return part[1] == "llmc" || part[1] == "quaff" ? part[1] "/" part[2] : part[1]
        }
        function offends(what) { bad[++offences] = place ": " what }
        BEGIN {
            lines = split(arrows, line, "\n")
            for (i = 1; i <= lines; i++) {
                if (!split(line[i], half, ":")) continue
                known[half[1]]
                n = split(half[2], target, " ")
                for (k = 1; k <= n; k++) allowed[half[1], target[k]]
            }
            lines = split(libraries, line, "\n")
            for (i = 1; i <= lines; i++) if (split(line[i], half, ":")) {
                gsub(/^ +| +$/, "", half[2])
                owner[half[1]] = half[2]
            }
        }
        {
            split($0, field, ":")
            file = field[1]; place = field[1] ":" field[2]; from = room(file)
            match($0, /[<"][^>"]*[>"]/)
            header = substr($0, RSTART + 1, RLENGTH - 2)
            if (substr($0, RSTART, 1) == "<") {
                if (from != "dev")
                    for (prefix in owner)
                        if (index(header, prefix) == 1 && !index(" " owner[prefix] " ", " " from " "))
                            offends("<" header "> belongs to " owner[prefix] "; call what " owner[prefix] " offers instead")
                next
            }
            if (!(from in known)) { offends("scripts/check_layout.sh has no rule for " from "; give it one"); next }
            if (from == "dev" && header !~ /\//) next # a neighbour in the same folder
            to = room(header)
            if (header !~ /\// || header ~ /^\./) offends("\"" header "\" is relative; write the path from the root")
            else if (from != to && !((from, to) in allowed) && !(to ~ /^llmc\// && (from, "llmc/*") in allowed))
                offends("\"" header "\" runs against the arrows: " from " may not include " to "; move what it needs to a room below both")
            count[from, to]++
        }
        END {
            print "includes  from            to"
            sort = "sort -k2,2 -k3,3"
            for (pair in count) {
                split(pair, end, SUBSEP)
                if (end[1] != end[2]) printf "%8d  %-15s %s\n", count[pair], end[1], end[2] | sort
                else inside += count[pair]
            }
            close(sort)
            printf "%8d  within a room\n", inside
            fflush()
            for (i = 1; i <= offences; i++) print bad[i] > "/dev/stderr"
            exit offences > 0
        }' || status=1

# The name of the program and its options may stand nowhere in llmc/: in no string, and in no comment. `--n` is no option.
grep -rnE -e 'train_quaff|--[a-z]' llmc | sort -t: -k1,1 -k2,2n |
    awk -v others="$others" '
        {
            place = $0
            sub(/:.*/, "", place)
            text = substr($0, length(place) + 2)
            place = place ":" text + 0
            sub(/^[0-9]+:/, "", text)
            # What stands in quotes or behind //, one string after the other.
            words = ""
            rest = text
            while (match(rest, /"([^"\\]|\\.)*"|\/\/.*/)) {
                words = words " " substr(rest, RSTART, RLENGTH)
                rest = substr(rest, RSTART + RLENGTH)
            }
            gsub(others, "", words)
            if (words ~ /train_quaff/)
                what = "names train_quaff"
            else if (match(words, /--[a-z][a-z0-9-]*/))
                what = "names the option " substr(words, RSTART, RLENGTH)
            else next
            print place ": " what "; llmc/ knows no program: let quaff/ say it" > "/dev/stderr"
            bad = 1
        }
        END { exit bad }' || status=1

[ $status = 0 ] && echo "every include runs along the arrows; llmc/ names no program and no option"
exit $status
