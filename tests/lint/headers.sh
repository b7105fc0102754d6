#!/bin/sh
# headers.sh SOURCE_DIR - each public header compiles alone, and twice, as C17 and as C++17.  The
# compilers are $CC and $CXX.
here=$(cd "$(dirname "$0")" && pwd)
cd "$1" || exit 2
. "$here/common.sh"

warnings="-Wall -Wextra -Wpedantic -Werror"
for header in $(sources engine/include/apus '*.h'); do
    name=apus/$(basename "$header")
    for language in "c ${CC:-cc} c17" "c++ ${CXX:-c++} c++17"; do
        # shellcheck disable=SC2086
        set -- $language
        # shellcheck disable=SC2086
        if ! printf '#include "%s"\n#include "%s"\n' "$name" "$name" |
            "$2" -x "$1" -std="$3" $warnings -Iengine/include -fsyntax-only -; then
            echo "$header:1: does not compile alone as $3"
            failed=1
        fi
    done
done
exit $failed
