#!/bin/sh
# forecast.sh [OPTIONS] MODEL... - what `apus plan` says beside what `apus bench` measures.
#
#   --apus "COMMAND"   the program; "LAUNCHER build/bin/apus" to choose a driver (build/bin/apus)
#   --class NAME       the class of devices that this machine's is of (lavapipe)
#   --runs N           runs of each measurement, of which the median counts (3)
#   --profile          also the time by kernel: GFLOP/s over the class's f32 peak is the share that
#                      stands in engine/exec/efficiency.def
#
# Reading 512 tokens, writing 32 one by one and a LoRA step of 512.  The ratio is planned time over
# measured time: 1 is a right forecast.  Only a machine that does nothing else gives ratios that count.
set -eu
apus=build/bin/apus class=lavapipe runs=3 profile='' models=''
while [ $# -gt 0 ]; do
    case $1 in
    --apus) apus=$2 ;;
    --class) class=$2 ;;
    --runs) runs=$2 ;;
    --profile)
        profile=1
        shift
        continue
        ;;
    --help)
        sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"
        exit 0
        ;;
    -*)
        "$0" --help >&2
        exit 2
        ;;
    *)
        models="$models $1"
        shift
        continue
        ;;
    esac
    shift 2
done
[ -n "$models" ] || {
    echo "forecast.sh: name a model" >&2
    exit 2
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# planned OBJECT FIELD FILE: the first such field of or behind an object.
planned() {
    sed -n "/\"$1\": *{/,\$s/.*\"$2\": *\\([-+.0-9eE]*\\).*/\\1/p" "$3" | head -n 1
}

# plan MODEL TOKENS FILE: of a LoRA step as `apus bench` makes it.
plan() {
    # shellcheck disable=SC2086
    $apus plan --model "$1" --device_class "$class" --max_length "$2" --lora_dropout 0 \
        --gradient_checkpointing false --gradient_accumulation_steps 1 -o json >"$3" 2>"$tmp/err" || {
        tail -n 5 "$tmp/err" >&2
        exit 1
    }
}

# seconds MODEL TOKENS FLAGS...: the median of the runs.
seconds() {
    model=$1 tokens=$2
    shift 2
    : >"$tmp/runs"
    i=0
    while [ $i -lt "$runs" ]; do
        # shellcheck disable=SC2086
        APUS_PROFILE=$profile $apus bench -m "$model" "$@" -r 1 -o jsonl >"$tmp/bench" 2>"$tmp/err" || {
            tail -n 5 "$tmp/err" >&2
            exit 1
        }
        sed -n 's/.*"avg_ts": *\([-+.0-9eE]*\).*/\1/p' "$tmp/bench" | tail -n 1 >>"$tmp/runs"
        i=$((i + 1))
    done
    [ -z "$profile" ] || grep 'INFO:apus' "$tmp/err" | sed 's/^.*INFO:apus. //' >&2
    sort -g "$tmp/runs" | awk -v n="$tokens" '{ x[NR] = $1 }
        END { printf "%.6g", n / ((x[int((NR + 1) / 2)] + x[int((NR + 2) / 2)]) / 2) }'
}

# row NAME PLANNED MEASURED
row() {
    awk -v name="$1" -v p="$2" -v m="$3" \
        'BEGIN { printf "%-40s %12.4f %12.4f %8.2f\n", name, p, m, p / m }'
}

printf '%-40s %12s %12s %8s\n' "medians of $runs" 'planned s' 'measured s' ratio
for model in $models; do
    name=$(basename "$model" .gguf)
    plan "$model" 512 "$tmp/long"
    plan "$model" 32 "$tmp/short"
    each=$(planned decode seconds "$tmp/short")
    row "$name read 512" "$(planned prompt seconds "$tmp/long")" \
        "$(seconds "$model" 512 -p 512 -n 0)"
    row "$name write 32" "$(awk -v s="$each" 'BEGIN { print 32 * s }')" \
        "$(seconds "$model" 32 -p 0 -n 32)"
    row "$name LoRA step 512" "$(planned training step_seconds "$tmp/long")" \
        "$(seconds "$model" 512 -p 0 -n 0 --train 512)"
done
