#!/bin/sh
# packages.sh [--list] [SET...]: install the Debian packages that Apus needs.
#
#   build   compiler, CMake, the libraries' headers and the shader compiler
#   run     Vulkan loader and Mesa's drivers (a vendor's own driver may replace the latter), gnuplot
#   fetch   what the scripts need to download models and drivers
#   test    validation layer, SPIR-V tools, and what the lints call
#
# Without a SET: all of them.  --list prints the packages, one a line, and installs nothing.  Only
# what is missing is installed, as root; anybody else is told the command that does it.
set -eu

packages() {
    case $1 in
    build)
        echo gcc g++ libc6-dev cmake ninja-build glslc \
            libvulkan-dev libvulkan-volk-dev libcjson-dev libpcre2-dev libutf8proc-dev \
            libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libisal-dev libedit-dev
        ;;
    run) echo libvulkan1 mesa-vulkan-drivers gnuplot-nox ;;
    fetch) echo ca-certificates curl unzip debian-archive-keyring ;;
    test)
        echo vulkan-validationlayers spirv-tools git shellcheck
        # The version whose format the sources have; Debian 13 has later ones only.
        ! grep -qs '^VERSION_ID="12"' /etc/os-release || echo clang-format-14
        ;;
    *)
        echo "packages.sh: no set $1; there are build, run, fetch and test" >&2
        exit 2
        ;;
    esac
}

list=false
if [ "${1-}" = --list ]; then
    list=true
    shift
fi
[ $# -gt 0 ] || set -- build run fetch test

wanted=
for name in "$@"; do
    wanted="$wanted $(packages "$name")"
done
if $list; then
    # shellcheck disable=SC2086 # a list of words
    printf '%s\n' $wanted
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "packages.sh: this system has no apt; install what corresponds to:$wanted" >&2
    exit 1
fi

missing=
for package in $wanted; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo "packages: everything for $* is installed"
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "packages.sh: missing packages; install them with" >&2
    echo "    sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "packages: installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >/dev/null
# shellcheck disable=SC2086 # a list of words
apt-get -qq -y --no-install-recommends install $missing >/dev/null
echo "packages: installed"
