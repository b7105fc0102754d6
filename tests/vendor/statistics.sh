#!/bin/sh
# statistics.sh [BUILD [DEVICE...]]: what the compilers of GPUs that need not be there say of every
# kernel, in default choices and forced: registers, spills, bytes of scratch memory and of code.
#
# BUILD is the build folder (build); DEVICE is a name that on.sh knows, all GPUs if none is given.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-$here/../../build}
[ $# -eq 0 ] || shift
if [ ! -x "$build/tests/vendor_compile" ]; then
    echo "statistics.sh: no $build/tests/vendor_compile; build it first (tests/run.sh)" >&2
    exit 2
fi
APUS_DRIVERS=${APUS_DRIVERS:-$(sed -n 's/^APUS_DRIVERS:[A-Z]*=//p' "$build/CMakeCache.txt")}
APUS_INTEL_STUB=${APUS_INTEL_STUB:-$build/tests/libvendor_intelstub.so}
export APUS_DRIVERS APUS_INTEL_STUB
[ $# -gt 0 ] || set -- polaris10 vega10 navi10 navi21 navi31 gfx1201 turing ampere ada blackwell \
    skl tgl dg2 bmg
failed=0
for device in "$@"; do
    echo "== $device"
    code=0
    sh "$here/on.sh" "$device" "$build/tests/vendor_compile" every_shader || code=$?
    [ $code -eq 0 ] || [ $code -eq 77 ] || failed=1
done
exit $failed
