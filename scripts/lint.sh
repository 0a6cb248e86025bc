#!/usr/bin/env bash
# Static analysis, all findings errors: shellcheck on every script, cppcheck and clang-tidy (.clang-tidy says what is
# on) on llmc/ and quaff/. clang-tidy takes several seconds a file: `scripts/lint.sh core` leaves it to the files that
# take other people's bytes apart; without an argument it looks at all.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in shellcheck cppcheck clang-tidy; do
    command -v "$tool" >/dev/null || { echo "$tool was not found. Run: scripts/install_deps.sh checks" >&2; exit 1; }
done

git grep -lE '^#!.*(bash|sh)$' | xargs shellcheck
echo "shellcheck: nothing found"

# invalidFunctionArg: it assumes a softmax over an empty row. syntaxError: it does not read []<class V>(..) yet.
# Its advice on performance is clang-tidy's business, which knows that a Matrix is a view of three words.
cppcheck --std=c++20 --language=c++ --enable=warning,portability --quiet --error-exitcode=1 -j "$(nproc)" -I. \
    --suppress=missingInclude --suppress=unknownMacro --suppress=invalidFunctionArg \
    --suppress=virtualCallInConstructor --suppress=syntaxError:quaff/model_passes.h llmc quaff
echo "cppcheck: nothing found"

if [ "${1:-all}" = core ]; then
    files=(llmc/{json,safetensors,mapped_file,file_io,path,toml}.cpp llmc/data/{json_rows,delimited_rows,reader,record}.cpp
        llmc/tokenizer/{bpe,regex,sentencepiece_proto,sentencepiece_model,utf8}.cpp
        quaff/{model_config,options,checkpoint_reader}.cpp)
else
    mapfile -t files < <(printf '%s\n' llmc/*.cpp llmc/data/*.cpp llmc/tokenizer/*.cpp quaff/*.cpp train_quaff.cu |
        grep -vE '^quaff/(model|calibrate).cpp$')  # the operators have vectors shuffled by GCC, as clang does not know it
fi
# xargs ends with a status of its own when one of the calls fails.
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -I{} clang-tidy --quiet {} -- -x c++ -std=c++20 -I. 2>/dev/null
echo "clang-tidy: nothing found in ${#files[@]} files"
