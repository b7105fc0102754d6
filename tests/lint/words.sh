#!/bin/sh
# words.sh SOURCE_DIR - words that have one home, and words that have none:
# Vulkan's names in engine/gpu, getenv in engine/base/env.c, headers of the operating system in
# os_*.c, names of model families in tables; functions that cannot be used safely; marks of
# unfinished work.  A line "family PATH reason" in tests/lint/exceptions.txt allows one more table.
here=$(cd "$(dirname "$0")" && pwd)
cd "$1" || exit 2
. "$here/common.sh"

plain=$(mktemp) && texts=$(mktemp) || exit 2
trap 'rm -f "$plain" "$texts"' EXIT
sources "engine cli vision quant tests" '*.c' '*.h' '*.def' | code 0 >"$plain"
sources "engine cli vision quant shaders" '*.c' '*.h' '*.def' '*.comp' '*.glsl' | code 1 >"$texts"

report "a name of Vulkan outside engine/gpu" <<X
$(grep -E '^[^:]*:[0-9]*:(.*[^A-Za-z0-9_])?(Vk[A-Z]|vk[A-Z]|VK_[A-Z])' "$plain" |
    grep -v -e '^engine/gpu/' -e '^tests/')
X
report "getenv outside engine/base/env.c" <<X
$(grep -E '^[^:]*:[0-9]*:(.*[^A-Za-z0-9_])?(secure_)?getenv *\(' "$plain" |
    grep -v -e '^engine/base/env\.c:' -e '^tests/')
X
os='unistd|fcntl|dirent|poll|spawn|sched|dlfcn|termios|netdb|sys/[a-z]*|netinet/[a-z]*|arpa/[a-z]*'
report "a header of the operating system outside os_*.c" <<X
$(grep -E "^[^:]*:[0-9]*: *# *include *<($os)\.h>" "$plain" |
    grep -v -e '^engine/base/os_[a-z_]*\.c:' -e '^cli/os_[a-z_]*\.c:' -e '^tests/')
X
banned='strcpy|strcat|sprintf|vsprintf|strtok|gets|atoi|atol|atof'
report "a banned function" <<X
$(grep -E "^[^:]*:[0-9]*:(.*[^A-Za-z0-9_.>])?($banned) *\(" "$plain")
X
tables=$(excepted family)
report "the name of a model family outside its tables" <<X
$(grep -i -E '^[^:]*:[0-9]*:.*(llama|qwen|gemma|mistral|smol)' "$texts" |
    grep -v -e '^engine/model/arch/' -e '^engine/io/' -e '^engine/text/' -e '^cli/doc/' |
    awk -F: -v tables="$(echo $tables)" 'index(" " tables " ", " " $1 " ") == 0')
X
report "a mark of unfinished work" <<X
$(sources "engine cli vision quant shaders tests third_party" '*.c' '*.h' '*.def' '*.comp' '*.glsl' \
    '*.sh' '*.cmake' CMakeLists.txt '*.md' '*.py' |
    xargs grep -n -E '(^|[^A-Za-z0-9_])(TODO|FIXME|XXX)([^A-Za-z0-9_]|$)' /dev/null)
X
exit $failed
