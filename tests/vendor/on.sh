#!/bin/sh
# on.sh DEVICE PROGRAM ARGS...: run a program with one Vulkan device in view.
#
#   debian                     the system's own lavapipe
#   lvp4 lvp8 lvp16            the unpacked, newer lavapipe with subgroups of 4, 8 and 16
#   fence                      lvp8 with inaccessible memory behind every buffer (fence.c)
#   swiftshader                SwiftShader
#   polaris10 vega10 navi10 navi21 navi31 gfx1201      AMD GPUs: RADV on a kernel that does nothing
#   turing ampere ada blackwell                        NVIDIA GPUs: NVK, likewise
#   skl tgl dg2 mtl lnl bmg ptl                        Intel GPUs: ANV, likewise
#
# APUS_DRIVERS is the folder that cli/drivers.sh unpacked the drivers into; APUS_INTEL_STUB and
# APUS_FENCE are the libraries of intelstub.c and fence.c.  The exit code is 77 where the device cannot be had.
set -eu

skip() {
    echo "skipped: $*"
    exit 77
}

device=$1
shift
APUS_CHECK_HAZARDS=1
export APUS_CHECK_HAZARDS

if [ "$device" = debian ]; then
    for manifest in /usr/share/vulkan/icd.d/lvp_icd*.json; do
        [ -e "$manifest" ] || skip "the system has no lavapipe"
    done
    VK_DRIVER_FILES=$manifest VK_ICD_FILENAMES=$manifest LP_NATIVE_VECTOR_WIDTH=256
    export VK_DRIVER_FILES VK_ICD_FILENAMES LP_NATIVE_VECTOR_WIDTH
    exec "$@"
fi

drivers=${APUS_DRIVERS-}
if [ ! -x "$drivers/vkrun" ]; then
    skip "no unpacked drivers in '$drivers' (cli/drivers.sh DIR mesa swiftshader; APUS_DRIVERS=DIR)"
fi

tree=sid
set -a # what is set from here on is for the program
# shellcheck disable=SC2034
case $device in
lvp4) driver=lvp LP_NATIVE_VECTOR_WIDTH=128 ;;
lvp8) driver=lvp LP_NATIVE_VECTOR_WIDTH=256 ;;
fence)
    driver=lvp LP_NATIVE_VECTOR_WIDTH=256 SHIM=${APUS_FENCE-}
    [ -e "$SHIM" ] || skip "no fence (APUS_FENCE is '$SHIM')"
    ;;
lvp16) driver=lvp LP_NATIVE_VECTOR_WIDTH=512 ;;
swiftshader) tree=host driver=swiftshader ;;
polaris10 | vega10 | navi10 | navi21 | navi31 | gfx1201)
    driver=radeon SHIM=amdgpu AMDGPU_GPU_ID=$device
    ;;
turing) driver=nouveau SHIM=nouveau NOUVEAU_CHIPSET=164 ;;
ampere) driver=nouveau SHIM=nouveau NOUVEAU_CHIPSET=172 ;;
ada) driver=nouveau SHIM=nouveau NOUVEAU_CHIPSET=192 ;;
blackwell) driver=nouveau SHIM=nouveau NOUVEAU_CHIPSET=1b2 ;;
skl | tgl | dg2 | mtl | lnl | bmg | ptl)
    driver=intel SHIM=${APUS_INTEL_STUB-} APUS_INTEL_GPU=$device
    [ -e "$SHIM" ] || skip "no kernel stub for Intel GPUs (APUS_INTEL_STUB is '$SHIM')"
    ;;
*)
    echo "on.sh: no device $device" >&2
    exit 2
    ;;
esac
set +a
[ -e "$drivers/icd/$tree-$driver.json" ] || skip "no driver $driver in $drivers"
exec "$drivers/vkrun" "$tree" "$driver" "$@"
