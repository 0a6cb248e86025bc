#!/usr/bin/env bash
# What becomes of a run when one of its ranks fails, differs, dies or hangs: it ends, with one message that names the
# rank, with no process left over and the last checkpoint intact.
#
#   test/ranks_faults.sh PROGRAM [DEVICE]
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
program=$(realpath "$1")
device=${2:-cpu}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

launch=(mpirun --oversubscribe --allow-run-as-root)
# Small enough for an emulated GPU.
head -n 4 dev/demo/eval.jsonl >"$work/eval.jsonl"
run=("$program" --device "$device" --threads 1 --eval-steps 0 --out "$work/out" --eval-data "$work/eval.jsonl"
    --batch-size 2 --max-cal-samples 8)

# What the demo's model brings along, for a model that only looks like it.
demo=(--data dev/demo/train.jsonl --config dev/demo/demo.toml)

told() { grep -c '^train_quaff: ' "$work/log"; }
expect() {  # expect WHAT CONDITION...
    local what=$1
    shift
    if "$@"; then
        echo "ok      $what"
    else
        echo "FAILED  $what"
        sed 's/^/    | /' "$work/log"
        failures=$((failures + 1))
    fi
}
# shellcheck disable=SC2317  # expect calls it
says() { grep -qE "$1" "$work/log"; }
# Ranks of this test that still run, by the folder in their command line.
left_over() { pgrep -f -- "--out $work/out" || true; }
# within SECONDS COMMAND...: waits until it holds.
within() {
    local tenths=$(($1 * 10))
    shift
    for _ in $(seq "$tenths"); do
        "$@" && return
        sleep 0.1
    done
    return 1
}
# shellcheck disable=SC2317  # within calls them
is_nobody_left() { [ -z "$(left_over)" ]; }
# shellcheck disable=SC2317
is_logged() { grep -q "\"step\":$1," "$work/out/log.jsonl" 2>/dev/null; }
nobody_left() { within 10 is_nobody_left; }
until_there() { within 60 test -e "$1"; }
until_logged() { within 60 is_logged "$1"; } # the line of that step
rank_process() { pgrep -f -- "--out $work/out" | while read -r pid; do
    tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1" && echo "$pid"
done; }

# A fault of all ranks is told once.
"${launch[@]}" -np 2 "${run[@]}" --model "$work/none" --data "$work/none" >"$work/log" 2>&1
expect "a model that is not there: status 1" [ $? -eq 1 ]
expect "... told once" [ "$(told)" -eq 1 ]
"${launch[@]}" -np 2 "${run[@]}" --lora-r zero >"$work/log" 2>&1
expect "wrong usage: status 2" [ $? -eq 2 ]
expect "... told once" [ "$(told)" -eq 1 ]

# Ranks that were started otherwise.
"${launch[@]}" -np 1 "${run[@]}" --seed 1 : -np 1 "${run[@]}" --seed 2 >"$work/log" 2>&1
expect "another --seed: refused" [ $? -eq 1 ]
expect "... with its name" says 'rank 1 has another --seed than rank 0: 2, not 1'
cp -r dev/demo/model "$work/model"
sed -i 's/"rms_norm_eps": [^,]*/"rms_norm_eps": 0.001/' "$work/model/config.json"
"${launch[@]}" -np 1 "${run[@]}" : -np 1 "${run[@]}" --model "$work/model" "${demo[@]}" >"$work/log" 2>&1
expect "another model: refused" says 'rank 1 has another model than rank 0'
"${launch[@]}" -np 1 "${run[@]}" : -np 1 "${run[@]}" --model "$work/none" "${demo[@]}" >"$work/log" 2>&1
expect "one rank without the model: it says so" says 'train_quaff: rank 1 of 2 on .*none'
expect "... told once" [ "$(told)" -eq 1 ]
rm -rf "$work/out"

# Outlier channels and adapters, which --outliers, --adapter and --resume name, are read by every rank for itself.
"${launch[@]}" -np 2 "${run[@]}" --max-steps 2 --save-steps 0 --quiet >"$work/log" 2>&1
expect "two steps: status 0" [ $? -eq 0 ]
cp "$work/out/outliers.json" "$work/channels.json"
sed -z 's/": *\[\s*[0-9]*/": [0/' "$work/channels.json" >"$work/other_channels.json" # the first of the first layer
"${launch[@]}" -np 1 "${run[@]}" --outliers "$work/channels.json" : \
    -np 1 "${run[@]}" --outliers "$work/other_channels.json" >"$work/log" 2>&1
expect "other outlier channels: refused" says 'rank 1 has another set of outlier channels than rank 0'
cp -r "$work/out/adapter" "$work/one"
cp -r "$work/out/adapter" "$work/other"
# The last byte is a value's sign and exponent.
truncate -s -1 "$work/other/adapter_model.safetensors"
printf '\x31' >>"$work/other/adapter_model.safetensors"
"${launch[@]}" -np 1 "${run[@]}" --adapter "$work/one" : -np 1 "${run[@]}" --adapter "$work/other" >"$work/log" 2>&1
expect "another adapter: refused" says 'rank 1 has another state after step 0 than rank 0'
rm -rf "$work/out"

# A rank that cannot go on, here because it may not write the adapter: it is the one that speaks, and at once. That
# it could not write a checkpoint has not stopped anybody.
: >"$work/log"
began=$SECONDS
"${launch[@]}" -np 1 bash -c 'trap "" XFSZ; ulimit -f 16; exec "$@"' bash "${run[@]}" --save-steps 2 --max-steps 4 \
    --quiet : -np 1 "${run[@]}" --save-steps 2 --max-steps 4 --quiet 2>&1 | cat >"$work/log"
expect "a rank that throws: status 1" [ "${PIPESTATUS[0]}" -eq 1 ]
expect "... within 30 s" [ $((SECONDS - began)) -lt 30 ]
expect "... it says why" says 'train_quaff: rank 0 of 2 on .*[Ff]ile too large'
expect "... told once" [ "$(told)" -eq 1 ]
expect "... nobody is left" nobody_left
rm -rf "$work/out"

# A rank that is killed.
"${launch[@]}" -np 2 "${run[@]}" --save-steps 2 --max-steps 100000 --quiet >"$work/log" 2>&1 &
mpirun=$!
until_logged 5
began=$SECONDS
kill -KILL "$(rank_process 1)"
wait $mpirun
expect "a rank that is killed: the run fails" [ $? -ne 0 ]
expect "... within 30 s" [ $((SECONDS - began)) -lt 30 ]
expect "... mpirun says which" says 'rank 1 .*signal 9'
expect "... nobody is left" nobody_left
"${launch[@]}" -np 2 "${run[@]}" --save-steps 2 --max-steps 100000 --quiet --resume >"$work/log" 2>&1 &
mpirun=$!
steps=$(wc -l <"$work/out/log.jsonl")
until_logged $((steps + 5))
expect "... the last checkpoint is intact: the run goes on" [ $? -eq 0 ]

# One that hangs, in that run.
kill -KILL "$(rank_process 1)"
wait $mpirun
nobody_left
rm -rf "$work/out"
"${launch[@]}" -np 3 "${run[@]}" --save-steps 0 --max-steps 100000 --quiet --comm-timeout 3 >"$work/log" 2>&1 &
mpirun=$!
until_logged 5
began=$SECONDS
kill -STOP "$(rank_process 1)"
wait $mpirun
status=$?
# By the heartbeat, or by a rank that waited for it in a sum.
silent='rank [02] of 3 on .*rank 1 on [^ ]* has given no sign of life|has waited for more than .* seconds for rank 1 on [^,]*\. Is'
expect "a rank that hangs: the run fails" [ $status -ne 0 ]
expect "... within 30 s" [ $((SECONDS - began)) -lt 30 ]
expect "... it is named" says "$silent"
expect "... nobody is left" nobody_left

# One that hangs where nobody knows how long a rank may take: in the evaluation before the first step, which begins when
# the log is there. Whoever is stopped, rank 0 or another, is missed by the rest.
long_evaluation=("${run[@]}" --eval-data dev/demo/eval.jsonl)
for lost in 0 1; do
    rm -rf "$work/out"
    "${launch[@]}" -np 3 "${long_evaluation[@]}" --save-steps 0 --max-steps 100000 --quiet --comm-timeout 3 >"$work/log" 2>&1 &
    mpirun=$!
    until_there "$work/out/log.jsonl"
    began=$SECONDS
    kill -STOP "$(rank_process $lost)"
    wait $mpirun
    expect "rank $lost hangs before the first step: the run fails" [ $? -ne 0 ]
    expect "... within 30 s" [ $((SECONDS - began)) -lt 30 ]
    expect "... it is named" says "rank [012] of 3 on .*: rank $lost on [^ ]* has given no sign of life for 3 seconds"
    expect "... told once" [ "$(told)" -eq 1 ]
    expect "... nobody is left" nobody_left
done

# A job that is stopped as a whole, for longer than a rank may be late, and goes on.
rm -rf "$work/out"
"${launch[@]}" -np 3 "${run[@]}" --save-steps 0 --max-steps 100000 --quiet --comm-timeout 3 >"$work/log" 2>&1 &
mpirun=$!
until_logged 3
mapfile -t ranks < <(left_over | while read -r pid; do
    grep -qz '^OMPI_COMM_WORLD_RANK=' "/proc/$pid/environ" 2>/dev/null && echo "$pid"
done)
kill -STOP "${ranks[@]}"
sleep 6
steps=$(wc -l <"$work/out/log.jsonl")
kill -CONT "${ranks[@]}"
until_logged $((steps + 3))
expect "a job that is stopped as a whole: it goes on" [ $? -eq 0 ]
kill -TERM "$(rank_process 1)"
wait $mpirun
expect "... to its end" [ $? -eq 130 ]

# A signal that reaches one of them, as a scheduler sends it before the time is up.
rm -rf "$work/out"
"${launch[@]}" -np 2 "${run[@]}" --save-steps 0 --max-steps 100000 --quiet >"$work/log" 2>&1 &
mpirun=$!
until_logged 5
kill -TERM "$(rank_process 1)"
wait $mpirun
expect "a rank that is asked to stop: all do, with status 130" [ $? -eq 130 ]
expect "... after a checkpoint" compgen -G "$work/out/checkpoint-*/manifest.sha256"
expect "... nobody is left" nobody_left

# One that reaches mpirun, which passes it on.
rm -rf "$work/out"
"${launch[@]}" -np 2 "${run[@]}" --save-steps 0 --max-steps 100000 --quiet >"$work/log" 2>&1 &
mpirun=$!
until_logged 5
kill -USR1 "$mpirun"
wait $mpirun
expect "mpirun gets SIGUSR1: all stop, with status 130" [ $? -eq 130 ]
expect "... after a checkpoint" compgen -G "$work/out/checkpoint-*/manifest.sha256"
expect "... nobody is left" nobody_left

echo "$failures of these failed"
exit $((failures > 0))
