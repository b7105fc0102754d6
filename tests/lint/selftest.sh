#!/bin/sh
# selftest.sh - each lint bites: a small tree that is right passes, and each fault put into it is
# reported with its place.
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d) || exit 2
trap 'rm -rf "$tree"' EXIT
failed=0

# A tree without faults.
fresh() {
    rm -rf "${tree:?}"/*
    mkdir -p "$tree/engine/base" "$tree/engine/gpu" "$tree/engine/op" "$tree/engine/io" \
        "$tree/engine/include/apus" "$tree/cli" "$tree/shaders/include" "$tree/tests/lint" \
        "$tree/tests/vendor" "$tree/third_party" "$tree/build"
    echo '# The build.' >"$tree/CMakeLists.txt"
    cp "$here/../../.clang-format" "$tree/.clang-format"
    echo '# Exceptions.' >"$tree/tests/lint/exceptions.txt"
    cat >"$tree/engine/include/apus/base.h" <<'X'
/* base.h - status codes. */
#ifndef APUS_BASE_H
#define APUS_BASE_H

typedef enum apus_status { APUS_OK } apus_status;

/* Do nothing.  Errors: none. */
apus_status apus_nothing(void);

#endif
X
    cat >"$tree/engine/base/base.h" <<'X'
/* base.h - private; a TODOlist and a llama in a comment are no matter. */
#include "apus/base.h"
X
    echo '/* gpu.h - Vulkan. */' >"$tree/engine/gpu/gpu.h"
    echo '/* args.h - arguments. */' >"$tree/shaders/include/args.h"
    cat >"$tree/engine/gpu/gpu.c" <<'X'
/* gpu.c - Vulkan. */
#include "gpu.h"

#include "base.h"

VkResult apusi_call(void)
{
    return vkCall("strcpy(VkX)"); /* getenv(x) */
}
X
    cat >"$tree/engine/op/op.c" <<'X'
/* op.c - an operator. */
#include "args.h"
#include "gpu.h"
X
    printf '#version 460\n/* op.comp - a shader. */\nvoid main()\n{\n}\n' >"$tree/shaders/op.comp"
    cat >"$tree/build/CTestTestfile.cmake" <<'X'
set_tests_properties([=[op.x]=] PROPERTIES  LABELS "op" TIMEOUT "9")
set_tests_properties(train.long PROPERTIES  LABELS "train;slow" TIMEOUT "9")
X
    cat >"$tree/tests/README.md" <<'X'
## What only `--all` runs, and why
| tests | what | quick |
|---|---|---|
| `train.*` | `x` | `op.*`, `op.x` |
X
}

# expect LINT WORDS: the lint fails and says these words.
expect() {
    said=$(sh "$here/$1.sh" "$tree" 2>&1)
    code=$?
    if [ $code -eq 77 ]; then
        echo "$1 was not tested: $said"
    elif [ $code -eq 0 ]; then
        echo "selftest.sh:1: $1 does not see: $2"
        failed=1
    elif ! printf '%s' "$said" | grep -q -F -e "$2"; then
        echo "selftest.sh:1: $1 does not say \"$2\" but: $said"
        failed=1
    fi
    fresh
}

# put FILE TEXT: append to a file of the tree.
put() {
    printf '%b\n' "$2" >>"$tree/$1"
}

fresh
for lint in layers words sizes comments headers format quick; do
    said=$(sh "$here/$lint.sh" "$tree" 2>&1)
    code=$?
    if [ $code -ne 0 ] && [ $code -ne 77 ]; then
        echo "selftest.sh:1: $lint complains about a tree that is right: $said"
        failed=1
    fi
done

put engine/base/a.c '/* a.c - x. */\n#include "gpu.h"'
expect layers 'engine/base/a.c:2: base does not see gpu'
put engine/io/a.c '/* a.c - x. */\n#include "gpu.h"'
expect layers 'engine/io/a.c:2: io does not see gpu'
put engine/op/a.c '/* a.c - x. */\n#include "nowhere.h"'
expect layers 'engine/op/a.c:2: "nowhere.h" is in no folder'
put engine/op/a.c '/* a.c - x. */\n#include <volk.h>'
expect layers 'engine/op/a.c:2: <volk.h> outside engine/gpu'
put cli/a.c '/* a.c - x. */\n#include "base.h"'
expect layers 'cli/a.c:2: cli sees public headers only'
put engine/include/apus/train.h '/* train.h - x. */'
put engine/op/a.c '/* a.c - x. */\n#include "apus/train.h"'
expect layers 'engine/op/a.c:2: op does not see train'

put engine/op/a.c '/* a.c - x. */\nstatic VkBuffer x;'
expect words 'engine/op/a.c:2: a name of Vulkan'
put cli/a.c '/* a.c - x. */\nvoid *x = vkCreateBuffer;'
expect words 'cli/a.c:2: a name of Vulkan'
put engine/op/a.c '/* a.c - x. */\nchar *x = getenv("X");'
expect words 'engine/op/a.c:2: getenv'
for header in unistd.h sys/mman.h fcntl.h dirent.h; do
    put engine/io/a.c "/* a.c - x. */\n#include <$header>"
    expect words 'engine/io/a.c:2: a header of the operating system'
done
for name in strcpy strcat sprintf vsprintf strtok gets atoi atol atof; do
    put cli/a.c "/* a.c - x. */\n/* y\n */ int i = $name(x);"
    expect words 'cli/a.c:3: a banned function'
done
for family in llama Qwen2 gemma Mistral smol; do
    put engine/op/a.c "/* a.c - x. */\nconst char *x = \"$family\";"
    expect words 'engine/op/a.c:2: the name of a model family'
done
for mark in TODO FIXME XXX; do
    put shaders/op.comp "// $mark: more"
    expect words 'shaders/op.comp:6: a mark of unfinished work'
done

{ echo '/* a.c - x. */' && yes 'int x;' | head -600; } >"$tree/engine/op/a.c"
expect sizes 'engine/op/a.c:601: the file has 601 lines'
{ echo '/* a.c - x. */' && printf 'void f(int x,\n    int y)\n{\n' && yes '    g();' | head -79 &&
    echo '}'; } >"$tree/engine/op/a.c"
expect sizes 'engine/op/a.c:4: f has 81 lines'
put shaders/op.comp "// $(printf '%0100d' 0)"
expect sizes 'shaders/op.comp:6: the line has 103 columns'
put tests/lint/exceptions.txt 'line engine/op/a.c without need here'
expect sizes 'exceptions.txt:2: nothing needs the exception "line engine/op/a.c"'
put tests/lint/exceptions.txt 'line engine/op/a.c'
expect sizes 'exceptions.txt:2: not "RULE'

for file in engine/op/a.c engine/op/a.h engine/op/a.def shaders/a.glsl; do
    put "$file" 'int x;'
    expect comments "$file:1: the file does not open with a comment"
done
put shaders/a.comp '#version 460\nvoid main()'
expect comments 'shaders/a.comp:2: the file does not open'
put tests/a.sh '#!/bin/sh\necho'
expect comments 'tests/a.sh:2: the file does not open'
put third_party/FindX.cmake 'find_path(x)'
expect comments 'third_party/FindX.cmake:1: the file does not open'
put engine/include/apus/a.h '/* a.h - x. */\n\n/* Does x. */\napus_status apus_x(int a);'
expect comments 'engine/include/apus/a.h:4: the comment of apus_x lists no "Errors:"'
put engine/include/apus/a.h '/* Errors: not here. */\n\napus_status apus_x(int a);'
expect comments 'engine/include/apus/a.h:3: the comment of apus_x'

put engine/include/apus/a.h '/* a.h - x. */\nsize_t apus_x(void);'
expect headers 'engine/include/apus/a.h:1: does not compile alone as c17'
put engine/include/apus/a.h '/* a.h - x. */\nint apus_x(int class);'
expect headers 'engine/include/apus/a.h:1: does not compile alone as c++17'
put engine/op/a.c '/* a.c - x. */\nint  x;'
expect format 'engine/op/a.c:2:4: error: code should be clang-formatted'

put build/CTestTestfile.cmake 'set_tests_properties([=[op.y]=] PROPERTIES  LABELS "op;slow" T "9")'
expect quick 'tests/README.md:1: a slow test that the list does not name: op.y'
put tests/README.md '| `op.x` | `x` | `op.x` |'
expect quick 'tests/README.md:5: no slow test is called op.x'
put tests/README.md '| `train.long` | `x` | `op.z`, `train.long` |'
expect quick 'tests/README.md:5: no quick test is called train.long'
put tests/README.md '| `train.long` | `x` | none |'
expect quick 'tests/README.md:5: no quick test stands for train.long'
put engine/op/ops.def 'OP(y)'
expect quick 'engine/op/ops.def:1: no quick test is called op.y'
put tests/vendor/on.sh '#\n#   lvp8 lvp9     a CPU'
expect quick 'tests/vendor/on.sh:2: no quick test is called vendor.lvp9.*'
put engine/base/dtype.def 'X(Q9_0, "q9_0", 32)'
expect quick 'engine/base/dtype.def:1: tests/op/matmul.c has no case of Q9_0'

exit $failed
