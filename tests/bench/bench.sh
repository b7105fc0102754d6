#!/bin/sh
# bench.sh [OPTIONS] MODEL.gguf - what Apus reaches, beside other programs or another build.
#
#   --apus "COMMAND"       the program, build/bin/apus; "LAUNCHER build/bin/apus" chooses a driver
#   --llama "COMMAND"      a llama-bench with the Vulkan back end and the CPU's
#   --quantize "COMMAND"   llama-quantize, which makes MODEL in each format (beside --llama)
#   --completion "COMMAND" llama-completion, timed to its first token (beside --llama)
#   --torch "COMMAND"      measures a training step of PyTorch; README.md says what it prints
#   --against DIR          another build (its folder, or the program), in place of the others
#   --noise PERCENT        what --against's build may be faster by (3)
#   --rows LIST            of prefill,decode,several,lora,full,memory,first,host (all)
#   --formats LIST         of f16,q8_0,q4_0,q4_k,f32 (all); as-is: MODEL as it stands, no ratios
#   --prompt N             tokens to read (512)
#   --gen N                tokens to write one by one (32)
#   --train N              tokens of a training step of one sequence (512)
#   --recompute N          layers that a LoRA step runs again, 0: none (4): one setting for its speed
#                          and its memory
#   --pairs N              interleaved pairs of each measurement (7)
#   --threads N            of llama.cpp on the CPU (all cores)
#   --work FOLDER          where the models are made and kept (.cache/bench)
#   --out FOLDER           write the table there too: bench.md, bench.json
#
# The programs take turns, one run each, in another order each time.  Printed: medians, and the
# median of the pairs' ratios, which hardly depends on what else the machine does.
#
# Exit code: 0 all rows meet their floors (no row is slower than --against's); 1 some do not, or
# have no result; 2 wrong options.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
apus=build/bin/apus llama='' quantize='' completion='' torch='' against='' that='' model=''
rows='' formats='' prompt=512 gen=32 train=512 recompute=4 pairs=7 noise=3 threads=$(nproc)
work=.cache/bench out_folder=''
# shellcheck disable=SC2034  # programs.sh reads them
question='What is the capital of France?' context=2048

usage() {
    sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"
}

wrong() {
    echo "bench.sh: $1" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --help)
        usage
        exit 0
        ;;
    --*)
        [ $# -ge 2 ] || wrong "$1 needs a value; --help lists the options"
        ;;
    *)
        model=$1
        shift
        continue
        ;;
    esac
    case $1 in
    --apus) apus=$2 ;;
    --llama) llama=$2 ;;
    --quantize) quantize=$2 ;;
    --completion) completion=$2 ;;
    --torch) torch=$2 ;;
    --against) against=$2 ;;
    --noise) noise=$2 ;;
    --rows) rows=$2 ;;
    --formats) formats=$2 ;;
    --prompt) prompt=$2 ;;
    --gen) gen=$2 ;;
    --train) train=$2 ;;
    --recompute) recompute=$2 ;;
    --pairs) pairs=$2 ;;
    --threads) threads=$2 ;;
    --work) work=$2 ;;
    --out) out_folder=$2 ;;
    *) wrong "unknown option $1; --help lists them" ;;
    esac
    shift 2
done

for number in "$prompt" "$gen" "$train" "$pairs" "$threads"; do
    case $number in
    '' | *[!0-9]* | 0*) wrong "'$number' is not a whole number above 0" ;;
    esac
done
case $recompute in
'' | *[!0-9]*) wrong "--recompute '$recompute': expected a number of layers" ;;
esac
case $noise in
'' | *[!0-9.]*) wrong "--noise '$noise': expected a number" ;;
esac
[ -f "$model" ] || wrong "name a GGUF file; '$model' is none"
for word in $(echo "$rows" | tr , ' '); do
    grep -q "^$word|" "$here/rows.txt" || wrong "--rows $word: there are no such rows"
done
for word in $(echo "$formats" | tr , ' '); do
    [ "$word" = as-is ] || grep -q "^[^#|]*|[a-z]*\\.$word|" "$here/rows.txt" ||
        wrong "--formats $word: no row has it"
done
if [ -n "$llama" ]; then
    quantize=${quantize:-${llama%bench}quantize}
    completion=${completion:-${llama%bench}completion}
fi
if [ -n "$against" ]; then
    [ -d "$against" ] && program=$against/bin/apus || program=$against
    [ -x "$program" ] || wrong "--against $against: there is no program $program"
    # shellcheck disable=SC2034  # programs.sh reads it
    case $apus in
    *' '*) that="${apus% *} $program" ;;
    *) that=$program ;;
    esac
fi
mkdir -p "$work"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/samples"
: >"$tmp/about"
: >"$tmp/llama"
# shellcheck source=tests/bench/programs.sh
. "$here/programs.sh"

# ---- the rows that are wanted ----

# Without a way to make formats the model is measured as it stands, each measure once.
[ -n "$formats" ] || [ -n "$quantize" ] || formats=as-is
awk -F '|' -v OFS='|' -v rows=",$rows," -v formats=",$(echo "$formats" | tr ' ' ,)," \
    -v prompt="$prompt" -v gen="$gen" -v train="$train" -v again="$recompute" \
    -v against="$against" '
/^#/ || NF < 8 { next }
rows != ",," && index(rows, "," $1 ",") == 0 { next }
{
    sub(/PROMPT/, prompt, $4)
    sub(/GEN/, gen, $4)
    sub(/TRAIN/, train, $4)
    sub(/ AGAIN/, again > 0 ? ", " again " layers again" : "", $4)
    split($2, part, ".")
    if (formats == ",as-is,") {
        $2 = part[1] ".as-is"
        sub(/: [^:]*$/, "", $4)
        $5 = $7 = $8 = "-"
    } else if (formats != ",," && index(formats, "," part[2] ",") == 0)
        next
    # One build against another: a row for each figure, whoever else has it.
    if ((against != "" || formats == ",as-is,") && seen[$2, $3]++)
        next
    print
}' "$here/rows.txt" >"$tmp/rows"
[ -s "$tmp/rows" ] || wrong "no row is of these --rows and --formats"

# programs_of MEASURE: who runs it.
programs_of() {
    if [ -n "$against" ]; then
        echo apus that
        return
    fi
    peers=$(awk -F '|' -v measure="$1" '$2 == measure { print $5 }' "$tmp/rows" | sort -u)
    list=apus
    for peer in $peers; do
        case $peer in
        vulkan | cpu) [ -z "$llama" ] || list="$list $peer" ;;
        torch) [ -z "$torch" ] || list="$list torch" ;;
        esac
    done
    echo "$list"
}

# ---- measuring ----

llama_settings
awk -F '|' '!seen[$2]++ { print $2 }' "$tmp/rows" >"$tmp/measures"
while read -r measure; do
    file=$(file_of "${measure#*.}") || continue
    # shellcheck disable=SC2046
    set -- $(programs_of "$measure")
    case $measure in
    first.*) # caches are warm after one start
        for program in "$@"; do
            run "$program" "$measure" "$file"
        done
        rm -f "$tmp/samples/$measure":*
        ;;
    esac
    i=1
    while [ "$i" -le "$pairs" ]; do
        echo "bench.sh: $measure, $i of $pairs: $*" >&2
        for program in "$@"; do
            run "$program" "$measure" "$file"
        done
        first=$1
        shift
        set -- "$@" "$first"
        i=$((i + 1))
    done
done <"$tmp/measures"

# ---- the table ----

# table FORM
table() {
    awk -F '|' -v samples="$tmp/samples" -v form="$1" -v against="$against" \
        -v noise="$(awk -v x="$noise" 'BEGIN { print x / 100 }')" -f "$here/table.awk" "$tmp/rows"
}

device=$(field gpu_info "$tmp/about")
[ -n "$device" ] || device=$(sed -n '1s/^device *[0-9]* *//p' "$tmp/devices")
driver=$(field gpu_driver "$tmp/about")
[ -n "$driver" ] || driver=$(sed -n 's/^ *driver *//p' "$tmp/devices" | head -n 1)
processor=$(field cpu_info "$tmp/about")
build=$(field build_number "$tmp/llama")
date=$(date -u +%Y-%m-%dT%H:%M:%SZ)
about() {
    echo "device: $device"
    echo "driver: $driver"
    [ -z "$processor" ] || echo "processor: $processor, $(nproc) threads"
    [ -z "$build" ] || echo "llama.cpp: build $build"
    echo "date: $date; medians of $pairs interleaved pairs; model: $(basename "$model")"
    echo
}
code=0
about >"$tmp/bench.md"
table md >>"$tmp/bench.md" || code=1
cat "$tmp/bench.md"
if [ -n "$out_folder" ]; then
    mkdir -p "$out_folder"
    cp "$tmp/bench.md" "$out_folder/bench.md"
    {
        awk -v d="$device" -v r="$driver" -v c="$processor" -v l="$build" -v t="$date" \
            -v p="$pairs" -v a="$against" '
            function q(x) { gsub(/["\\]/, " ", x); return "\"" x "\"" }
            BEGIN {
                printf "{\"date\": %s, \"device\": %s, \"driver\": %s, \"processor\": %s, ",
                    q(t), q(d), q(r), q(c)
                printf "\"llama_build\": %s, \"pairs\": %d, \"against\": %s, \"rows\": [\n",
                    q(l), p, q(a)
            }'
        table json || :
        printf '\n]}\n'
    } >"$out_folder/bench.json"
fi
exit $code
