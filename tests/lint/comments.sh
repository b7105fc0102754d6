#!/bin/sh
# comments.sh SOURCE_DIR - each source file opens with a comment that says what it is, and the comment
# of each public function that returns apus_status lists its errors ("Errors:").  Declarations that
# stand together without an empty line share a comment.
here=$(cd "$(dirname "$0")" && pwd)
cd "$1" || exit 2
. "$here/common.sh"
bad=0

{
    sources "engine cli vision quant shaders tests third_party" '*.c' '*.h' '*.comp' '*.glsl' \
        '*.def' '*.cmake' '*.sh' CMakeLists.txt
    find tests/lint -name '*.sh' -o -name CMakeLists.txt
    ls CMakeLists.txt
} 2>/dev/null | xargs awk '
FNR == 1 { open = 0 }
# The lines that must come first.
FNR == 1 && /^(#!|#version)/ { next }
!open && /^#(version|extension|include|pragma)/ && FILENAME ~ /\.(comp|glsl)$/ { next }
!open && /[^ \t]/ {
    open = 1
    mark = FILENAME ~ /\.(c|h|def)$/ ? "^/[*]" : FILENAME ~ /\.(comp|glsl)$/ ? "^/[*/]" : "^#"
    if ($0 !~ mark || $0 !~ /[A-Za-z].*[A-Za-z]/) {
        print FILENAME ":" FNR ": the file does not open with a comment that says what it is"
        bad = 1
    }
}
END { exit bad }' || bad=1

sources engine/include/apus '*.h' | xargs awk -v exceptions=tests/lint/exceptions.txt '
BEGIN {
    while ((getline entry < exceptions) > 0) {
        split(entry, word, " ")
        if (word[1] == "errors")
            excepted[word[2]] = 1
    }
}
FNR == 1 || /^$/ { comment = "" }
/^\/\*/ { comment = "" }
/^(\/\*| \*)/ { comment = comment $0 "\n" }
/^(APUS_[A-Z]+ )?apus_status apus_[a-z0-9_]+\(/ {
    match($0, /apus_[a-z0-9_]+\(/)
    name = substr($0, RSTART, RLENGTH - 1)
    if (comment !~ /Errors:/ && !((FILENAME ":" name) in excepted)) {
        print FILENAME ":" FNR ": the comment of " name " lists no \"Errors:\""
        bad = 1
    }
}
END { exit bad }' /dev/null || bad=1
exit $bad
