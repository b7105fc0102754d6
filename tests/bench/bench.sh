#!/bin/sh
# bench.sh [OPTIONS] MODEL.gguf - speed of reading, writing and training, beside llama.cpp if given.
#
#   --apus "COMMAND"       the program; "LAUNCHER build/bin/apus" to choose a driver (build/bin/apus)
#   --llama "COMMAND"      a llama-bench with the Vulkan back end; without it Apus runs alone
#   --quantize "COMMAND"   llama-quantize, which makes MODEL's f16 and q8_0 (default: beside --llama)
#   --formats "f16 q8_0"   formats to measure; "as-is": MODEL as it stands (the only one without
#                          llama-quantize)
#   --prompt N             tokens to read (512)
#   --gen N                tokens to write one by one (32)
#   --train N              tokens of a LoRA step of one sequence (512); 0: none
#   --pairs N              interleaved pairs of each measurement (5)
#   --work FOLDER          where the models are made and kept (.cache/bench)
#
# A pair is one run of each program, one right after the other; which goes first changes from pair to
# pair.  Printed: medians of tokens per second, and the median of the pairs' ratios, which hardly
# depends on what else the machine does.
set -eu
apus=build/bin/apus llama='' quantize='' formats='' prompt=512 gen=32 train=512 pairs=5
work=.cache/bench model=''
usage() {
    sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"
}
while [ $# -gt 0 ]; do
    case $1 in
    --apus) apus=$2 ;;
    --llama) llama=$2 ;;
    --quantize) quantize=$2 ;;
    --formats) formats=$2 ;;
    --prompt) prompt=$2 ;;
    --gen) gen=$2 ;;
    --train) train=$2 ;;
    --pairs) pairs=$2 ;;
    --work) work=$2 ;;
    --help)
        usage
        exit 0
        ;;
    -*)
        usage >&2
        exit 2
        ;;
    *)
        model=$1
        shift
        continue
        ;;
    esac
    shift 2
done
[ -f "$model" ] || {
    echo "bench.sh: name a GGUF file" >&2
    exit 2
}
[ -z "$llama" ] || [ -n "$quantize" ] || quantize=${llama%bench}quantize
if [ -z "$formats" ]; then
    [ -n "$quantize" ] && formats='f16 q8_0' || formats=as-is
fi
mkdir -p "$work"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# model_of FORMAT: the file, made on first use.
model_of() {
    [ "$1" = as-is ] && {
        echo "$model"
        return
    }
    out=$work/$(basename "$model" .gguf).$1.gguf
    if [ ! -e "$out" ]; then
        # shellcheck disable=SC2086
        $quantize --allow-requantize --pure "$model" "$out.part" "$(echo "$1" | tr a-z A-Z)" \
            >"$tmp/quantize.log" 2>&1 || {
            tail -n 5 "$tmp/quantize.log" >&2
            exit 1
        }
        mv "$out.part" "$out"
    fi
    echo "$out"
}

# number FIELD FILE: the field's number in the last JSON object of a file.
number() {
    sed -n "s/.*\"$1\": *\\([-+.0-9eE]*\\).*/\\1/p" "$2" | tail -n 1
}

median() {
    sort -g | awk '{ x[NR] = $1 }
        END { if (NR) printf "%.4g", (x[int((NR + 1) / 2)] + x[int((NR + 2) / 2)]) / 2 }'
}

# one PROGRAM FILE PROMPT GEN TRAIN: tokens per second.
one() {
    case $1 in
    apus)
        # shellcheck disable=SC2086
        $apus bench -m "$2" -p "$3" -n "$4" --train "$5" -r 1 -o jsonl >"$tmp/apus" 2>"$tmp/err" || {
            tail -n 5 "$tmp/err" >&2
            exit 1
        }
        number host_ns_per_step "$tmp/apus" >>"$tmp/host"
        number avg_ts "$tmp/apus"
        ;;
    llama)
        # shellcheck disable=SC2086
        $llama -m "$2" -p "$3" -n "$4" -r 1 -ngl 99 -o jsonl >"$tmp/llama" 2>"$tmp/err" || {
            tail -n 5 "$tmp/err" >&2
            exit 1
        }
        number avg_ts "$tmp/llama"
        ;;
    esac
}

# measure NAME FILE PROMPT GEN TRAIN
measure() {
    : >"$tmp/a"
    : >"$tmp/l"
    : >"$tmp/ratio"
    : >"$tmp/host"
    name=$1
    shift
    i=0
    while [ $i -lt "$pairs" ]; do
        order='apus llama'
        [ $((i % 2)) = 0 ] || order='llama apus'
        a='' l=''
        for program in $order; do
            if [ "$program" = apus ]; then
                a=$(one apus "$@")
            elif [ -n "$llama" ] && [ "$4" = 0 ]; then
                l=$(one llama "$@")
            fi
        done
        echo "$a" >>"$tmp/a"
        [ -z "$l" ] || {
            echo "$l" >>"$tmp/l"
            awk -v a="$a" -v l="$l" 'BEGIN { print a / l }' >>"$tmp/ratio"
        }
        i=$((i + 1))
    done
    host=$(median <"$tmp/host")
    printf '%-24s %10s %10s %8s %12s\n' "$name" "$(median <"$tmp/a")" "$(median <"$tmp/l")" \
        "$(median <"$tmp/ratio")" "$(awk -v ns="$host" 'BEGIN { printf "%.1f", ns / 1000 }')"
}

# On a CPU's Vulkan driver llama.cpp is fastest without matrix shapes and f16 arithmetic.
# shellcheck disable=SC2086
$apus devices >"$tmp/devices" 2>/dev/null
sed -n '1,2p' "$tmp/devices"
if sed -n 's/^ *kind *//p' "$tmp/devices" | head -n 1 | grep -q '^cpu'; then
    export GGML_VK_DISABLE_COOPMAT=1 GGML_VK_DISABLE_COOPMAT2=1 GGML_VK_DISABLE_F16=1
fi
printf '%-24s %10s %10s %8s %12s\n' "$pairs pairs, medians" 'apus t/s' 'llama t/s' ratio 'host us/step'
for format in $formats; do
    file=$(model_of "$format")
    measure "$format read $prompt" "$file" "$prompt" 0 0
    measure "$format write $gen" "$file" 0 "$gen" 0
    [ "$train" = 0 ] || measure "$format LoRA step 1x$train" "$file" 0 0 "$train"
done
