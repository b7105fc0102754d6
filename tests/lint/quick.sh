#!/bin/sh
# quick.sh SOURCE_DIR [BUILD_DIR] - tests/README.md names every slow test, with quick ones that stand for
# it; each operator, algorithm, family, number format and driver has a quick test.
#
# Tests and their labels are read from the files that CMake wrote for ctest in BUILD_DIR
# (SOURCE_DIR/build).
here=$(cd "$(dirname "$0")" && pwd)
cd "$1" || exit 2
build=${2:-build}
. "$here/common.sh"
set -f
page=tests/README.md
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

# "NAME LABELS" of each test.
find "$build" -name CTestTestfile.cmake -exec \
    sed -n 's/^set_tests_properties([=[]*\([^] ]*\).* LABELS "\([^"]*\)".*/\1 \2/p' {} + \
    >"$work/tests"
sed -n '/[ ;]slow\(;\|$\)/s/ .*//p' "$work/tests" >"$work/slow"
sed -n '/[ ;]slow\(;\|$\)/!s/ .*//p' "$work/tests" >"$work/quick"
if [ ! -s "$work/quick" ]; then
    echo "quick.sh: no tests in $build"
    exit 2
fi

# one_of NAME FILE: does a test of the list have the name?  A * in it stands for anything.
one_of() {
    grep -qxE "$(echo "$1" | sed 's/[.]/\\./g; s/[*]/.*/g')" "$2"
}

# "LINE:SLOW:QUICK" of each row of the page's list: the names in its first and in its last column.
[ ! -e $page ] || awk -F '|' '
function names(text,    all) {
    while (match(text, /`[^`]*`/)) {
        all = all " " substr(text, RSTART + 1, RLENGTH - 2)
        text = substr(text, RSTART + RLENGTH)
    }
    return all
}
/^## / { wanted = /^## What only `--all` runs/ }
wanted && /^\| *`/ { print FNR ":" names($2) ":" names($(NF - 1)) }' $page >"$work/rows"

touch "$work/rows" "$work/named" "$work/wrong"
while IFS=: read -r line slow quick; do
    for name in $slow; do
        echo "$name" >>"$work/named"
        one_of "$name" "$work/slow" || echo "$page:$line: no slow test is called $name"
    done
    [ -n "$quick" ] || echo "$page:$line: no quick test stands for$slow"
    for name in $quick; do
        one_of "$name" "$work/quick" || echo "$page:$line: no quick test is called $name"
    done
done <"$work/rows" >>"$work/wrong"
sed 's/[.]/\\./g; s/[*]/.*/g' "$work/named" | grep -vxEf - "$work/slow" |
    sed "s|^|$page:1: a slow test that the list does not name: |" >>"$work/wrong"

# rows FILE PATTERN REPLACEMENT: "FILE:LINE:NAME" for each line of a table.
rows() {
    [ ! -e "$1" ] || grep -nE "^$2" "$1" | sed -E "s!^([0-9]+):$2.*!$1:\1:$3!"
}

{
    rows engine/op/ops.def 'OP\(([a-z0-9_]+)' 'op.\2'
    rows engine/model/arch/arch.def 'ARCH\(([a-z0-9_]+)' 'golden.\2*'
    rows tests/golden/algorithms.def 'ALGORITHM\(([a-z0-9_]+), ([a-z0-9_]+)' 'golden.*.\2_\3'
    rows tests/golden/algorithms.def 'APART\([a-z0-9_]+, [a-z0-9_]+, [A-Z0-9]+, ([a-z0-9_.]+)' '\2'
    rows tests/vendor/on.sh '#   (([a-z]+[0-9]* )+) ' '\2' |
        awk -F: '{
            n = split($3, device, " ")
            for (i = 1; i <= n; i++)
                if (device[i] != "lvp8") # the driver of all other tests
                    print $1 ":" $2 ":vendor." device[i] ".*"
        }'
} | while IFS=: read -r file line name; do
    one_of "$name" "$work/quick" || echo "$file:$line: no quick test is called $name"
done >>"$work/wrong"

# Weights are products' operands in each of their formats.
rows engine/base/dtype.def 'X\((F32|F16|BF16|Q[0-9A-Z_]+),' '\2' | while IFS=: read -r file line name; do
    grep -q "APUS_${name}[,)]" tests/op/matmul.c ||
        echo "$file:$line: tests/op/matmul.c has no case of $name"
done >>"$work/wrong"

cat "$work/wrong"
[ ! -s "$work/wrong" ]
