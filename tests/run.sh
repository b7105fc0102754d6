#!/bin/sh
# run.sh [--all]: fetch what the tests need, build, and run them on this machine.
#
# Without --all: the quick set, which leaves out what is labelled "slow".  With --all: everything; a
# run that was cut off goes on where it stopped, as long as the sources are the same.
#
# Packages are installed as root; newer drivers and real models go into .cache/ and are kept.  The
# build is in build/.  The last line is ctest's, the exit code 0 if every test passed.
set -eu
cd "$(dirname "$0")/.."

ALL=false
case "${1-}" in
--all) ALL=true ;;
'') ;;
*)
    sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"
    [ "$1" = --help ] || exit 2
    exit 0
    ;;
esac

CACHE=$PWD/.cache
BUILD=build
JOBS=$(nproc)
mkdir -p "$CACHE"

sh cli/packages.sh build run fetch test
sh cli/drivers.sh "$CACHE/vk" mesa tools swiftshader ||
    echo "run.sh: no newer drivers: the tests that need them are skipped" >&2
models=smollm2
if $ALL; then
    models='smollm2 qwen2-coder'
fi
for model in $models; do
    sh cli/fetch.sh $model "$CACHE/data/$model" >/dev/null ||
        echo "run.sh: no real model $model: the tests that need it are skipped" >&2
done

# The system's glslc may be too old for cooperative matrices; a newer one was unpacked above.
knows_matrices() {
    printf '#version 450\n#extension GL_KHR_cooperative_matrix : require\nvoid main() {}\n' |
        "$1" -fshader-stage=compute --target-env=vulkan1.3 -o /dev/null - 2>/dev/null
}
GLSLC=
if ! knows_matrices glslc && [ -x "$CACHE/vk/glslc" ]; then
    GLSLC=$CACHE/vk/glslc
fi

cmake -S . -B $BUILD -G Ninja -DAPUS_TESTS=ON -DAPUS_GLSLC="$GLSLC" -DAPUS_DRIVERS="$CACHE/vk"
cmake --build $BUILD
export APUS_REAL_DATA="$CACHE/data"

# run_ctest LOG ARGS...: ctest with its output added to LOG; its exit code is ours, and its verdict
# ("100% tests passed, 0 tests failed out of 9") is the last line.
run_ctest() {
    log=$1
    shift
    {
        code=0
        ctest --test-dir $BUILD -j "$JOBS" --output-on-failure "$@" || code=$?
        echo $code >"$CACHE/ctest-code"
    } 2>&1 | tee -a "$log" "$CACHE/ctest-last.log"
    grep '% tests passed' "$CACHE/ctest-last.log" | tail -n 1
    return "$(cat "$CACHE/ctest-code")"
}

rm -f "$CACHE/ctest-last.log"
if ! $ALL; then
    run_ctest /dev/null -LE slow
    exit
fi

# What passed is remembered for this state of the sources only, so it takes git to know.
if ! git rev-parse HEAD >/dev/null 2>&1; then
    run_ctest /dev/null
    exit
fi
STATE=$({
    git rev-parse HEAD
    git diff HEAD
    git ls-files -o --exclude-standard -z | xargs -0 -r sha256sum
} | sha256sum | cut -c 1-16)
LOG=$CACHE/ctest-$STATE.log
PASSED=
if [ -e "$LOG" ]; then
    PASSED=$(sed -n 's/.*Test *#[0-9]*: \([^ ]*\) \.* *Passed .*/\1/p' "$LOG" | sort -u)
fi
set --
if [ -n "$PASSED" ]; then
    echo "run.sh: $(echo "$PASSED" | wc -l) tests passed earlier; on with the rest"
    set -- -E "^($(echo "$PASSED" | sed 's/[.+]/[&]/g' | tr '\n' '|' | sed 's/|$//'))\$"
fi
run_ctest "$LOG" "$@"
# A finished run leaves nothing to go on from: the next one starts over.
rm -f "$LOG"
