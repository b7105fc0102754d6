#!/bin/sh
# format.sh SOURCE_DIR - C sources are formatted as .clang-format says.  Other versions than 14 format
# a little differently and are not asked.
here=$(cd "$(dirname "$0")" && pwd)
cd "$1" || exit 2
. "$here/common.sh"

tool=
for name in clang-format-14 clang-format; do
    if "$name" --version 2>/dev/null | grep -q 'version 14\.'; then
        tool=$name
        break
    fi
done
if [ -z "$tool" ]; then
    echo "skipped: there is no clang-format 14"
    exit 77
fi
sources "engine cli vision quant tests" '*.c' '*.h' | xargs "$tool" --style=file --dry-run -Werror
