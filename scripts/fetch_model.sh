#!/usr/bin/env bash
# scripts/fetch_model.sh ORG/NAME [REVISION]
#
# Fetches a model into Hugging Face's cache, where `train_quaff --model ORG/NAME` finds it: its configuration, tokenizer
# and safetensors. By `hf download` if that is installed, else by curl from $HF_ENDPOINT (https://huggingface.co).
# $HF_TOKEN, if set, is sent along, for models that ask for one.
#
#   CACHE/models--ORG--NAME/blobs/<checksum>               a file; <checksum>.incomplete until it is whole and checked
#   CACHE/models--ORG--NAME/snapshots/<commit>/<file>      a link to it
#   CACHE/models--ORG--NAME/refs/main                      the commit, written last: what is there is whole
#
# Started again after an interruption, it goes on where it was.
set -euo pipefail

fail() { echo "fetch_model.sh: $*" >&2; exit 1; }

name=${1:-} revision=${2:-main}
if [[ $# -lt 1 || $# -gt 2 || ! $name =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*$ || $name =~ --|\.\. ]]; then
    echo "usage: fetch_model.sh ORG/NAME [REVISION]" >&2
    exit 2
fi
[[ $revision =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*$ ]] || fail "$revision is no name of a branch, tag or commit"

# As quaff/files/hub_cache.h has it.
cache=${HF_HUB_CACHE:-${HF_HOME:+$HF_HOME/hub}}
cache=${cache:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface/hub}
folder=$cache/models--${name/\//--}
mkdir -p "$folder"/{blobs,refs,snapshots}
exec 9>"$folder/.fetch.lock"
flock -n 9 || fail "another fetch_model.sh is fetching $name; wait for it to end"

# The program looks at refs/main, whatever the revision was.
put_in_place() {
    printf %s "$1" >"$folder/refs/.main.new"
    mv "$folder/refs/.main.new" "$folder/refs/main"
    echo "$folder/snapshots/$1"
}

endpoint=${HF_ENDPOINT:-https://huggingface.co} work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# curl, with the token where only this user can read it.
ask() { curl -sS --connect-timeout 30 ${HF_TOKEN:+-K <(printf 'header = "Authorization: Bearer %s"\n' "$HF_TOKEN")} "$@"; }

# Fails with a sentence unless the status is one of success.
check_status() { # status what
    case $1 in
        2?? | 3??) ;;
        401 | 403) fail "$name asks for permission ($1), or does not exist: accept its conditions at $endpoint/$name" \
            "and set HF_TOKEN to a token of yours" ;;
        404) fail "$2 is not at $endpoint; check the name and the revision ($revision)" ;;
        *) fail "$endpoint answered $1 for $2; try again later" ;;
    esac
}

status=$(ask -L -o "$work/model.json" -w '%{http_code}' "$endpoint/api/models/$name/revision/$revision") ||
    fail "$endpoint cannot be reached; set HF_ENDPOINT to a mirror, or try again later"
check_status "$status" "$name"
commit=$(grep -oE '"sha" *: *"[0-9a-f]{40}"' "$work/model.json" | head -n 1 | grep -oE '[0-9a-f]{40}') ||
    fail "$endpoint names no commit of $name"
mapfile -t files < <(grep -oE '"rfilename" *: *"[A-Za-z0-9_.-]+"' "$work/model.json" | sed -E 's/.*"([^"]+)"$/\1/' |
    grep -E '^([^.].*\.(json|model|jinja)|merges\.txt|model.*\.safetensors)$')
printf '%s\n' "${files[@]}" | grep 'safetensors$' >/dev/null || fail "$name has no model.safetensors; only safetensors are read"

# Names of files mean the same to every version of hf; its patterns do not.
if command -v hf >/dev/null; then
    HF_HUB_CACHE=$cache HF_ENDPOINT=$endpoint hf download "$name" "${files[@]}" --revision "$commit" >&2 ||
        fail "hf download failed; its reason stands above"
    for file in "${files[@]}"; do
        [ -e "$folder/snapshots/$commit/$file" ] || fail "hf download did not put $file into $folder/snapshots/$commit"
    done
    put_in_place "$commit"
    exit
fi

# The checksum of a file on the hub: the SHA-256 of a large one (LFS), else git's SHA-1 of a blob.
checksum_of() { # file
    local url=$endpoint/$name/resolve/$commit/$1 location
    for _ in {1..5}; do
        status=$(ask -I -o "$work/headers" -w '%{http_code}' "$url") || fail "$url cannot be reached; try again later"
        check_status "$status" "$1"
        header() { sed -nE "s/^$1: *(W\/)?\"?([^\"\r]*)\"?\r?$/\2/Ip" "$work/headers" | tail -n 1; }
        checksum=$(header x-linked-etag)
        location=$(header location)
        # Of a file on another host, its own tag would say nothing.
        if [[ -n $checksum || $location != /* ]]; then break; fi
        url=$endpoint$location
    done
    checksum=${checksum:-$(header etag)}
    [[ $checksum =~ ^([0-9a-f]{40}|[0-9a-f]{64})$ ]] || fail "$endpoint gives no checksum of $1"
}

is_whole() { # path checksum
    local sum
    if [ ${#2} -eq 64 ]; then
        sum=$(sha256sum <"$1")
    else
        sum=$({ printf 'blob %d\0' "$(stat -c %s "$1")"; cat "$1"; } | sha1sum)
    fi
    [ "${sum%% *}" = "$2" ]
}

# As long as each try brings something, the next one goes on behind it.
fetch() { # file checksum
    local part=$folder/blobs/$2.incomplete size before code status
    while true; do
        before=$(stat -c %s "$part" 2>/dev/null || echo 0)
        code=0
        status=$(ask -fL -C - --speed-limit 1 --speed-time 60 -o "$part" -w '%{http_code}' \
            "$endpoint/$name/resolve/$commit/$1") || code=$?
        size=$(stat -c %s "$part" 2>/dev/null || echo 0)
        case $code in
            0) return ;;
            18 | 28 | 56 | 92) [ "$size" -gt "$before" ] || fail "$1 was interrupted at $size bytes; run this again to go on" ;;
            22 | 33 | 36)
                # 416 and curl's own refusals: what is there cannot be continued.
                if [[ $before -eq 0 || ($code -eq 22 && $status != 416) ]]; then
                    fail "$1 cannot be fetched ($endpoint answered $status); run this again to go on"
                fi
                rm -f "$part" ;;
            *) fail "$1 cannot be fetched (curl's status $code, its reason stands above); run this again to go on" ;;
        esac
    done
}

checksums=()
for file in "${files[@]}"; do
    checksum_of "$file"
    checksums+=("$checksum")
    blob=$folder/blobs/$checksum
    if [ -e "$blob" ]; then continue; fi
    echo "$file" >&2
    if [ ! -e "$blob.incomplete" ] || ! is_whole "$blob.incomplete" "$checksum"; then fetch "$file" "$checksum"; fi
    if ! is_whole "$blob.incomplete" "$checksum"; then
        rm -f "$blob.incomplete"
        fail "$file is not what $endpoint says it is: its checksum differs; it is removed, run this again"
    fi
    mv "$blob.incomplete" "$blob"
done

mkdir -p "$folder/snapshots/$commit"
for i in "${!files[@]}"; do ln -sfn "../../blobs/${checksums[i]}" "$folder/snapshots/$commit/${files[i]}"; done
put_in_place "$commit"
