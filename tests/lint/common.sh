# common.sh - what the lints share: the list of sources, code without comments, exceptions.  Sourced
# when the source folder is the working folder and $here the folder of the lints.
LC_ALL=C
export LC_ALL

# sources FOLDERS PATTERN...: the files with one of these name patterns, fixtures and build trees
# left out.
sources() {
    folders=
    for folder in $1; do
        [ -d "$folder" ] && folders="$folders $folder"
    done
    shift
    [ -n "$folders" ] || return 0
    names=
    for pattern in "$@"; do
        names="$names${names:+ -o }-name $pattern"
    done
    set -f
    # shellcheck disable=SC2086
    find $folders \( -path tests/fixtures -o -path tests/lint -o -name 'build*' \) -prune -o \
        -type f \( $names \) -print | sort
    set +f
}

# code KEEP_STRINGS: the files named on stdin as lines "file:line:text", without comments and, where
# KEEP_STRINGS is 0, with empty strings.
code() {
    xargs awk -v keep_strings="$1" -f "$here/strip.awk" </dev/stdin
}

# report MESSAGE: turns lines "file:line:text" into messages; remembers that there were some.
failed=0
report() {
    found=$(sed "s|^\([^:]*:[0-9]*\):\(.*\)|\1: $1: \2|")
    if [ -n "$found" ]; then
        printf '%s\n' "$found"
        failed=1
    fi
}

# excepted RULE: the places that tests/lint/exceptions.txt excepts from a rule.
excepted() {
    [ -f tests/lint/exceptions.txt ] && sed -n "s/^$1 \([^ ]*\) .*/\1/p" tests/lint/exceptions.txt
}
