#!/bin/sh
# drivers.sh DIR SET...: unpack newer Vulkan drivers and tools into DIR, beside the system's own.
#
#   mesa         Mesa of Debian sid: lavapipe (a CPU as a Vulkan device, with cooperative
#                matrices), the drivers of AMD, NVIDIA and Intel GPUs, no-op kernel shims that let
#                those compile shaders without a GPU, and the loader and C library that they need
#                (320 MB)
#   tools        glslc, the SPIR-V tools, the validation layer and vulkaninfo of sid (150 MB);
#                DIR/glslc, DIR/spirv-val, DIR/spirv-opt and DIR/spirv-dis run them
#   swiftshader  SwiftShader of Debian's chromium: another CPU device, with little beyond Vulkan 1.3
#
# Nothing outside DIR is written and no package is installed; a set that is there is left alone.
# Programs then run on a driver by
#
#   DIR/vkrun TREE DRIVER PROGRAM ARGS...
#
# TREE    sid: what was unpacked; host: the system's
# DRIVER  lvp radeon nouveau intel freedreno asahi (Mesa's names), or swiftshader (with TREE host)
# SHIM=amdgpu|nouveau|freedreno|asahi preloads the no-op kernel shim of that name (or a path);
# EXTRA_ICD=a.json:b.json adds drivers.
set -eu

if [ $# -lt 2 ]; then
    sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"
    exit 2
fi
mkdir -p "$1"
DIR=$(cd "$1" && pwd)
shift

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
case $(dpkg --print-architecture) in
amd64) TRIPLET=x86_64-linux-gnu LOADER=ld-linux-x86-64.so.2 ;;
arm64) TRIPLET=aarch64-linux-gnu LOADER=ld-linux-aarch64.so.1 ;;
*)
    echo "drivers.sh: only amd64 and arm64 are supported" >&2
    exit 1
    ;;
esac
if [ ! -e $KEYRING ]; then
    echo "drivers.sh: install debian-archive-keyring first (cli/packages.sh fetch)" >&2
    exit 1
fi

# The mirror that this system uses for Debian, or Debian's own.
mirror() {
    # shellcheck disable=SC2016 # apt's variables
    found=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' \
        2>/dev/null | awk '$1 ~ /\/debian\/?$/ { print $1; exit }')
    echo "${found:-http://deb.debian.org/debian}"
}

# private_apt SUITE PROGRAM ARGS...: an apt of its own: one suite, no installed package.  Signatures
# are checked; a mirror that lags behind is not refused for its age.
private_apt() {
    suite=$1
    program=$2
    shift 2
    state=$DIR/.apt-$suite
    mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/etc/none"
    : >"$state/status"
    echo "deb [signed-by=$KEYRING] $(mirror) $suite main" >"$state/etc/sources.list"
    "$program" -qq \
        -o Dir::Etc="$state/etc" -o Dir::Etc::sourcelist="$state/etc/sources.list" \
        -o Dir::Etc::sourceparts="$state/etc/none" -o Dir::Etc::preferencesparts="$state/etc/none" \
        -o Dir::State="$state" -o Dir::State::lists="$state/lists" \
        -o Dir::State::status="$state/status" \
        -o Dir::Cache="$state" -o Dir::Cache::archives="$state/archives" \
        -o APT::Sandbox::User= -o APT::Install-Recommends=false -o Acquire::Languages=none \
        -o Acquire::Check-Valid-Until=false -o Debug::NoLocking=true "$@" >/dev/null
}

# download SUITE PACKAGES...: with all that they depend on, into the private cache.
download() {
    download_suite=$1
    shift
    private_apt "$download_suite" apt-get update
    private_apt "$download_suite" apt-get -y --download-only install "$@"
}

# unpack TREE SUITE: every archive of the private cache, without what only people read.
unpack() {
    mkdir -p "$DIR/$1"
    for archive in "$DIR/.apt-$2"/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$archive" | tar -xf - -C "$DIR/$1" --no-same-owner \
            --exclude='./usr/share/doc*' --exclude='./usr/share/man*' \
            --exclude='./usr/share/locale*' --exclude='./usr/share/X11*' \
            --exclude='./usr/share/bug*' --exclude='./usr/share/lintian*' --exclude='*/gconv/*'
    done
}

# Manifests name bare libraries; ours name them where they lie.
write_icds() {
    mkdir -p "$DIR/icd"
    for manifest in "$DIR"/sid/usr/share/vulkan/icd.d/*.json; do
        name=$(basename "$manifest" .json)
        name=${name%%_icd*}
        library=$(grep -oE 'libvulkan_[a-z_]+\.so' "$manifest" | head -n 1)
        path=$DIR/sid/usr/lib/$TRIPLET/$library
        sed -E "s#\"library_path\": \"[^\"]*\"#\"library_path\": \"$path\"#" "$manifest" \
            >"$DIR/icd/sid-$name.json"
    done
}

set_mesa() {
    download sid mesa-vulkan-drivers mesa-drm-shim libvulkan1
    unpack sid sid
    write_icds
}

set_tools() {
    download sid glslc glslang-tools spirv-tools vulkan-validationlayers vulkan-tools \
        libvulkan-dev linux-libc-dev
    unpack sid sid
    for tool in glslc spirv-val spirv-opt spirv-dis; do
        cat >"$DIR/$tool" <<END
#!/bin/sh
L='$DIR/sid/usr/lib/$TRIPLET'
exec "\$L/$LOADER" --library-path "\$L" '$DIR/sid/usr/bin/$tool' "\$@"
END
        chmod +x "$DIR/$tool"
    done
    for manifest in "$DIR"/sid/usr/share/vulkan/explicit_layer.d/*.json; do
        libraries=$DIR/sid/usr/lib/$TRIPLET
        sed -i -E "s#(\"library_path\": \")(lib[^\"/]*\")#\1$libraries/\2#" "$manifest"
    done
}

set_swiftshader() {
    private_apt bookworm apt-get update
    (cd "$DIR/.apt-bookworm/archives" && private_apt bookworm apt-get download chromium-common)
    mkdir -p "$DIR/swiftshader" "$DIR/icd"
    for archive in "$DIR"/.apt-bookworm/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$archive" | tar -xf - -C "$DIR/swiftshader" --no-same-owner \
            --strip-components=4 --wildcards '*swiftshader*'
    done
    sed -E "s#\"\./libvk#\"$DIR/swiftshader/libvk#" "$DIR/swiftshader/vk_swiftshader_icd.json" \
        >"$DIR/icd/host-swiftshader.json"
}

write_vkrun() {
    cat >"$DIR/vkrun" <<END
#!/bin/sh
# vkrun TREE DRIVER PROGRAM ARGS...: run a program on one Vulkan driver; see cli/drivers.sh.
set -eu
R='$DIR'
L=\$R/sid/usr/lib/$TRIPLET
LOADER=\$L/$LOADER
SYSTEM=$TRIPLET
END
    cat >>"$DIR/vkrun" <<'END'
tree=$1
driver=$2
shift 2

icd=$R/icd/$tree-$driver.json
if [ "$tree" = host ] && [ ! -e "$icd" ]; then
    icd=/usr/share/vulkan/icd.d/${driver}_icd.${SYSTEM%%-*}.json
fi
if [ ! -e "$icd" ]; then
    echo "vkrun: no driver $driver in tree $tree ($icd)" >&2
    exit 1
fi
shim=${SHIM-}
case $shim in
'' | /*) ;;
*) shim=$L/lib${shim}_noop_drm_shim.so ;;
esac
VK_DRIVER_FILES=$icd${EXTRA_ICD:+:$EXTRA_ICD}
VK_ICD_FILENAMES=$VK_DRIVER_FILES
NODEVICE_SELECT=1
VK_LOADER_LAYERS_DISABLE=${VK_LOADER_LAYERS_DISABLE-~implicit~}
LP_NATIVE_VECTOR_WIDTH=${LP_NATIVE_VECTOR_WIDTH:-256}
export VK_DRIVER_FILES VK_ICD_FILENAMES NODEVICE_SELECT VK_LOADER_LAYERS_DISABLE
export LP_NATIVE_VECTOR_WIDTH

if [ "$tree" = host ]; then
    [ -z "$shim" ] || export LD_PRELOAD="$shim"
    exec "$@"
fi
layers=$R/sid/usr/share/vulkan/explicit_layer.d
if [ -d "$layers" ]; then
    export VK_LAYER_PATH="${VK_LAYER_PATH:-$layers}"
fi
program=$(command -v "$1")
shift
# The newer C library can serve the system's programs, not the other way round, so the program is
# started by the loader that belongs to it.
exec "$LOADER" --library-path "$L${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" \
    ${shim:+--preload "$shim"} "$program" "$@"
END
    chmod +x "$DIR/vkrun"
}

for set_name in "$@"; do
    case $set_name in
    mesa | tools | swiftshader) ;;
    *)
        echo "drivers.sh: no set $set_name; there are mesa, tools and swiftshader" >&2
        exit 2
        ;;
    esac
    if [ -e "$DIR/.have-$set_name" ]; then
        echo "drivers: $set_name is in $DIR"
        continue
    fi
    echo "drivers: fetching $set_name into $DIR"
    rm -rf "$DIR"/.apt-*/archives
    "set_$set_name"
    : >"$DIR/.have-$set_name"
done
rm -rf "$DIR"/.apt-*
write_vkrun
