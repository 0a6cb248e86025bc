#!/usr/bin/env bash
# Copies the headers and libraries that train_quaff needs into one folder. The project can then be built and checked on a
# machine without these packages and without a network: copy the checkout there, including this folder.
# scripts/gpu_check.sh uses the folder if it exists.
#
#   scripts/bring_deps.sh [DIR]     build/deps; some 45 MB
set -euo pipefail
cd "$(dirname "$0")/.."
to=${1:-build/deps}
lib=/usr/lib/$(uname -m)-linux-gnu

bash scripts/check_deps.sh "${CXX:-g++}"
bash scripts/check_deps.sh "${CXX:-g++}" tests
rm -rf "$to"
mkdir -p "$to/include" "$to/lib"
cp -rL /usr/include/{nlohmann,CLI,catch2,oneapi,dnnl*.h*,pcre2.h,utf8proc.h,sentencepiece_processor.h} "$to/include/"
for name in dnnl pcre2-8 utf8proc sentencepiece; do
    cp -L "$lib/lib$name.so" "$to/lib/"
done
[ ! -e "$lib/libCatch2.a" ] || cp "$lib/libCatch2.a" "$to/lib/" # Catch2 3; Catch2 2 is a header only

# The name for linking becomes a link to the name for loading, so that each library is stored once.
for file in "$to/lib"/*.so; do
    soname=$(objdump -p "$file" | awk '/SONAME/ { print $2 }')
    mv "$file" "$to/lib/$soname"
    ln -s "$soname" "$file"
done
# The libraries that these load in turn. The other machine's C and C++ libraries must be as new as those here.
ldd "$to/lib"/*.so.* | awk '$3 ~ /^\// { print $3 }' | sort -u |
    grep -vE '/(libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s)\.so' | xargs -r cp -L -t "$to/lib"
du -sh "$to"
