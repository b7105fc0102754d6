#!/bin/sh
# sizes.sh SOURCE_DIR - a file has at most 600 lines, a function 80, a line 100 columns.  A function is
# what stands from a brace at the start of a line to the closing one.  Exceptions stand in
# tests/lint/exceptions.txt, each with its reason.
here=$(cd "$(dirname "$0")" && pwd)
cd "$1" || exit 2
. "$here/common.sh"

sources "engine cli vision quant shaders tests" '*.c' '*.h' '*.comp' '*.glsl' |
    xargs awk -v exceptions=tests/lint/exceptions.txt '
function complain(rule, place, at, text) {
    if ((rule " " place) in excepted) {
        used[rule " " place] = 1
        return
    }
    print at ": " text
    bad = 1
}
function end_file() {
    if (file != "" && lines > 600)
        complain("file", file, file ":" lines, "the file has " lines " lines, at most 600")
}
BEGIN {
    while ((getline entry < exceptions) > 0) {
        n_entry++
        if (entry ~ /^#/ || entry == "")
            continue
        n = split(entry, word, " ")
        if (n < 5 || word[1] !~ /^(file|function|line|errors|layers|family)$/) {
            print exceptions ":" n_entry ": not \"RULE PATH[:NAME] REASON\""
            bad = 1
        } else if (word[1] ~ /^(file|function|line)$/)
            excepted[word[1] " " word[2]] = n_entry
    }
}
FNR == 1 {
    end_file()
    file = FILENAME
    opened = 0
    before = ""
}
{
    lines = FNR
    columns = $0
    gsub(/[\200-\277]/, "", columns)
    if (length(columns) > 100)
        complain("line", FILENAME, FILENAME ":" FNR, "the line has " length(columns) " columns, at most 100")
    if (/^\{/ || /^[A-Za-z].*\) *\{$/) {
        opened = FNR
        name = /^\{/ ? before : $0
        if (match(name, /[A-Za-z0-9_]+ *\(/))
            name = substr(name, RSTART, RLENGTH - 1)
        if (name ~ /^TEST/ && match(before, /\([A-Za-z0-9_]*/))
            name = substr(before, RSTART + 1, RLENGTH - 1)
    }
    if (/^\}/ && opened) {
        if (FNR - opened + 1 > 80)
            complain("function", FILENAME ":" name, FILENAME ":" opened,
                     name " has " (FNR - opened + 1) " lines, at most 80")
        opened = 0
    }
    # The line that names the function, where its arguments go over several lines.
    if (/^[A-Za-z]/)
        before = $0
}
END {
    end_file()
    for (entry in excepted) {
        if (!(entry in used)) {
            print exceptions ":" excepted[entry] ": nothing needs the exception \"" entry "\""
            bad = 1
        }
    }
    exit bad
}' || exit 1
