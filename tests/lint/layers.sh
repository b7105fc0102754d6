#!/bin/sh
# layers.sh SOURCE_DIR - an #include names only what its layer may see:
#
#   base < gpu < graph < op < exec < nn < model < tune < train
#   io sees base; text sees io and base; data sees text, io and base
#   model and what stands above it see io and text; train sees data
#   all of the engine sees engine/include/apus and shaders/include, as far as its layer goes
#   cli sees its own headers and the public ones
#
# A line "layers FROM:TO reason" in tests/lint/exceptions.txt allows one more direction.
here=$(cd "$(dirname "$0")" && pwd)
cd "$1" || exit 2
. "$here/common.sh"

headers=$(mktemp) || exit 2
trap 'rm -f "$headers"' EXIT
sources "engine cli shaders vision quant" '*.h' '*.def' '*.glsl' >"$headers"
sources "engine cli vision quant" '*.c' '*.h' '*.def' | xargs grep -n '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]' /dev/null |
    awk -v headers="$headers" -v allowed="$(excepted layers | tr '\n' ' ')" '
function layer_of(path,   parts) {
    if (path ~ /^engine\/include\/apus\//) {
        sub(/^engine\/include\/apus\//, "", path)
        sub(/\.(h|def)$/, "", path)
        if (path == "status")
            return "base"
        if (path == "generate")
            return "model"
        if (path == "bench" || path == "tuning" || path == "forecast")
            return "train"
        return (path in rank || path in beside) ? path : "other"
    }
    split(path, parts, "/")
    return parts[1] == "engine" ? parts[2] : parts[1]
}
function sees(from, to) {
    if (from == to || to == "shaders" || index(" " allowed, " " from ":" to " "))
        return 1
    if (from in beside)
        return index(" " beside[from] " ", " " to " ") > 0
    if (!(from in rank))
        return 1
    if (to in rank)
        return rank[to] < rank[from]
    if (to == "io" || to == "text")
        return rank[from] >= rank["model"]
    if (to == "data")
        return from == "train"
    return 0
}
function find(name, file,   folder, layer, at) {
    folder = file
    sub(/\/[^\/]*$/, "", folder)
    if ((folder "/" name) in exists)
        return folder "/" name
    if (("engine/include/" name) in exists)
        return "engine/include/" name
    layer = layer_of(file)
    if (("engine/" layer "/" name) in exists)
        return "engine/" layer "/" name
    for (at = 1; at <= n_layers; at++)
        if (("engine/" layers[at] "/" name) in exists)
            return "engine/" layers[at] "/" name
    if (("shaders/include/" name) in exists)
        return "shaders/include/" name
    return ""
}
BEGIN {
    n_layers = split("base gpu graph op exec nn model tune train io text data serve eval", layers, " ")
    for (i = 1; i <= 9; i++)
        rank[layers[i]] = i
    beside["io"] = "base"
    beside["text"] = "io base"
    beside["data"] = "text io base"
    while ((getline path < headers) > 0)
        exists[path] = 1
}
{
    file = $0
    sub(/:.*/, "", file)
    place = $0
    match(place, /^[^:]*:[0-9]*/)
    place = substr(place, 1, RLENGTH)
    match($0, /[<"][^>"]*[>"]/)
    quoted = substr($0, RSTART, RLENGTH)
    name = substr(quoted, 2, length(quoted) - 2)
    layer = layer_of(file)
    if (quoted ~ /^</) {
        if (name ~ /^(volk|vulkan\/)/ && layer != "gpu") {
            print place ": " quoted " outside engine/gpu"
            bad = 1
        }
        next
    }
    path = find(name, file)
    if (path == "") {
        # Generated at build time, from the shaders and from .proto files.
        if (name ~ /^shader/ || name ~ /\.pb-c\.h$/)
            next
        print place ": " quoted " is in no folder that this layer may see"
        bad = 1
        next
    }
    if (layer == "cli") {
        if (path !~ /^cli\// && path !~ /^engine\/include\// &&
            !index(" " allowed, " cli:" layer_of(path) " ")) {
            print place ": cli sees public headers only, not " path
            bad = 1
        }
    } else if (!sees(layer, layer_of(path))) {
        print place ": " layer " does not see " layer_of(path) " (" path ")"
        bad = 1
    }
}
END { exit bad }'
