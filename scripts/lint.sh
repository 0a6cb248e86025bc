#!/usr/bin/env bash
# Static analysis; every finding is an error. shellcheck checks every script; cppcheck and clang-tidy (.clang-tidy lists
# its checks) check llmc/ and quaff/, and the MPI and CUDA files if these are installed. clang-tidy takes several seconds
# a file: `scripts/lint.sh core` runs it only on the files that parse other people's bytes, without an argument on all.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in shellcheck cppcheck clang-tidy; do
    command -v "$tool" >/dev/null || { echo "$tool was not found. Run: scripts/install_deps.sh checks" >&2; exit 1; }
done

git grep -lE '^#!.*(bash|sh)$' | xargs shellcheck
echo "shellcheck: nothing found"

# invalidFunctionArg: cppcheck assumes a softmax over an empty row.
# clang-tidy checks performance instead: it knows that a Matrix is a view of three words.
cppcheck --std=c++20 --language=c++ --enable=warning,portability --quiet --error-exitcode=1 -j "$(nproc)" -I. \
    --suppress=missingInclude --suppress=unknownMacro --suppress=invalidFunctionArg \
    --suppress=virtualCallInConstructor llmc quaff
echo "cppcheck: nothing found"

flags=(-x c++ -std=c++20 -I.)
cuda_files=()
if [ "${1:-all}" = core ]; then
    files=(llmc/io/{json,ordered_json,text_input,gunzip,safetensors,mapped_file,file_io,path,toml}.cpp
        llmc/data/{reader,record,column_names}.cpp llmc/data/{rows,records}/*.cpp
        llmc/jinja/syntax/{lexer,literals,parser,expressions,postfix}.cpp
        llmc/tokenizer/{models/{bpe,unigram},regex/{oniguruma,regex},sentencepiece/sentencepiece_{proto,model},text/{aligned_text,unicode}}.cpp llmc/core/utf8.cpp
        quaff/files/{layer_config,model_config,model_family,model_files,rope_config}.cpp quaff/cli/parsing.cpp)
else
    mapfile -t files < <(printf '%s\n' llmc/*/*.cpp llmc/{jinja,tokenizer}/*/*.cpp quaff/*/*.cpp quaff/*/*/*.cpp train_quaff.cu |
        grep -vE '^llmc/cpu/|^quaff/model/(model|calibrate).cpp$')  # the operators use GCC's vector shuffles, which clang does not have
    if mpi=$(mpicc --showme:compile 2>/dev/null); then
        read -ra mpi <<<"${mpi//-I/-isystem }"
        flags+=(-DLLMC_MPI -DOMPI_SKIP_MPICXX "${mpi[@]}")
    fi
    if nvcc=$(command -v nvcc); then
        cuda_files=(llmc/cuda/*/*.cpp)
        cuda=$(dirname "$(dirname "$(readlink -f "$nvcc")")")/include
        cuda_flags=(-DLLMC_CUDA -isystem "$cuda")
        if [ -e "$cuda/nccl.h" ]; then cuda_flags+=(-DLLMC_NCCL); fi
    fi
fi
# xargs fails when one of its calls fails.
tidy() { xargs -P "$(nproc)" -I{} clang-tidy --quiet {} -- "$@" 2>/dev/null; }
printf '%s\n' "${files[@]}" | tidy "${flags[@]}"
if [ ${#cuda_files[@]} -gt 0 ]; then printf '%s\n' "${cuda_files[@]}" | tidy "${flags[@]}" "${cuda_flags[@]}"; fi
echo "clang-tidy: nothing found in $((${#files[@]} + ${#cuda_files[@]})) files"
