# programs.sh - one run of one program, and what is taken of it.  Sourced by bench.sh, whose
# options it reads.
# shellcheck shell=sh disable=SC2154
#
# A program is called apus (this build), that (the build of --against), vulkan, cpu (llama.cpp) or
# torch.  Its run of a measure KIND.FORMAT adds one line to the file
# $tmp/samples/KIND.FORMAT:FIGURE:PROGRAM for each figure; a run that fails adds "-", so that the
# lines of all programs stay pairs.

# file_of FORMAT: the model in that format, made on first use.
file_of() {
    if [ "$1" = as-is ]; then
        echo "$model"
        return
    fi
    out=$work/$(basename "$model" .gguf).$1.gguf
    if [ ! -e "$out" ]; then
        if [ -z "$quantize" ]; then
            echo "bench.sh: $out is missing and there is no --quantize to make it" >&2
            return 1
        fi
        type=$(echo "$1" | tr '[:lower:]' '[:upper:]')
        # shellcheck disable=SC2086
        $quantize --allow-requantize --pure "$model" "$out.part" "$type" \
            >"$tmp/quantize" 2>&1 </dev/null || {
            complain "$quantize for $1" "$tmp/quantize"
            return 1
        }
        mv "$out.part" "$out"
    fi
    echo "$out"
}

# complain WHAT FILE: the last lines of a program that failed.
complain() {
    echo "bench.sh: failed: $1" >&2
    tail -n 5 "$2" | sed 's/^/    /' >&2
}

# field NAME FILE: the number or text that the last JSON object of a file has under the name.
field() {
    sed -n -e "s/.*\"$1\": *\"\\([^\"]*\\)\".*/\\1/p" \
        -e "s/.*\"$1\": *\\([-+.0-9eE]\\{1,\\}\\).*/\\1/p" "$2" | tail -n 1
}

# sample MEASURE FIGURE PROGRAM VALUE: keep it; what is no number above zero counts as a failure.
sample() {
    awk -v x="$4" 'BEGIN { print (x ~ /^[0-9.]+([eE][-+]?[0-9]+)?$/ && x > 0) ? x : "-" }' \
        >>"$tmp/samples/$1:$2:$3"
}

# timed COMMAND...: run it and print its wall time in seconds.
timed() {
    begun=$(date +%s%N)
    "$@" >"$tmp/out" 2>"$tmp/err" || return 1
    awk -v a="$begun" -v b="$(date +%s%N)" 'BEGIN { printf "%.6f\n", (b - a) / 1e9 }'
}

# ---- Apus ----

# apus_flags KIND: what apus bench measures.
apus_flags() {
    case $1 in
    prefill) echo "-p $prompt -n 0" ;;
    decode) echo "-p 0 -n $gen" ;;
    several) echo "-p 0 -n $gen -npl 1,4" ;;
    lora)
        again=''
        [ "$recompute" -eq 0 ] || again=" --recompute $recompute"
        echo "-p 0 -n 0 --train $train$again"
        ;;
    full) echo "-p 0 -n 0 --train $train --tuner_type full" ;;
    esac
}

apus_first() {
    # shellcheck disable=SC2086
    printf '%s\n' "$question" | $1 infer --model "$2" --template chatml --max_length $context \
        --max_new_tokens 1
}

# run_apus PROGRAM COMMAND KIND FORMAT FILE
run_apus() {
    measure=$3.$4 got=''
    if [ "$3" = first ]; then
        got=$(timed apus_first "$2" "$5") || complain "$2 infer" "$tmp/err"
        sample "$measure" wall "$1" "$got"
        return
    fi
    # shellcheck disable=SC2046,SC2086
    if $2 bench -m "$5" $(apus_flags "$3") -r 1 -o jsonl >"$tmp/json" 2>"$tmp/err" </dev/null; then
        [ "$1" = that ] || cp "$tmp/json" "$tmp/about"
    else
        complain "$2 bench -m $5 $(apus_flags "$3")" "$tmp/err"
        : >"$tmp/json"
    fi
    if [ "$3" = several ]; then
        sample "$measure" wall "$1" "$(awk -v ns="$(field avg_ns "$tmp/json")" \
            'BEGIN { print ns / 1e9 }')"
        head -n 1 "$tmp/json" >"$tmp/one"
        [ "$1" = that ] || sample "$measure" wall limit \
            "$(awk -v ns="$(field avg_ns "$tmp/one")" 'BEGIN { print 4 * ns / 1e9 }')"
        return
    fi
    sample "$measure" rate "$1" "$(field avg_ts "$tmp/json")"
    host=$(field host_ns_per_step "$tmp/json")
    sample "$measure" host "$1" "$(awk -v ns="$host" 'BEGIN { print ns / 1000 }')"
    # What a step may take of the host: 50 us, and in training 10 us for each submission.
    submissions=0
    case $3 in lora | full) submissions=$(field submissions_per_step "$tmp/json") ;; esac
    [ "$1" = that ] || sample "$measure" host limit \
        "$(awk -v n="$submissions" 'BEGIN { if (n != "") print 50 + 10 * n }')"
    # The memory of a CPU's driver is the process's own, and stands in its resident set.
    device=0
    [ "$(field gpu_kind "$tmp/json")" = cpu ] || device=$(field device_peak_bytes "$tmp/json")
    sample "$measure" peak "$1" "$(awk -v d="$device" -v h="$(field host_peak_bytes "$tmp/json")" \
        'BEGIN { if (h != "") printf "%.0f\n", d + h }')"
}

# ---- llama.cpp ----

# On a CPU's Vulkan driver llama.cpp is fastest without matrix shapes and f16 arithmetic.
llama_settings() {
    # shellcheck disable=SC2086
    $apus devices >"$tmp/devices" 2>"$tmp/err" </dev/null || {
        complain "$apus devices" "$tmp/err"
        exit 1
    }
    if sed -n 's/^ *kind *//p' "$tmp/devices" | head -n 1 | grep -q '^cpu'; then
        export GGML_VK_DISABLE_COOPMAT=1 GGML_VK_DISABLE_COOPMAT2=1 GGML_VK_DISABLE_F16=1
    fi
}

llama_first() {
    # shellcheck disable=SC2086
    $completion -m "$1" -ngl 99 -c $context -n 1 -no-cnv --no-warmup --temp 0 -p "<|im_start|>user
$question<|im_end|>
<|im_start|>assistant
" </dev/null
}

# run_llama PROGRAM KIND FORMAT FILE
run_llama() {
    if [ "$2" = first ]; then
        got=$(timed llama_first "$4") || complain "$completion" "$tmp/err"
        sample "$2.$3" wall "$1" "$got"
        return
    fi
    place='-ngl 99'
    [ "$1" = vulkan ] || place="-dev none -ngl 0 -t $threads"
    # shellcheck disable=SC2046,SC2086
    if $llama -m "$4" $(apus_flags "$2") $place -r 1 -o jsonl >"$tmp/json" 2>"$tmp/err" </dev/null
    then
        cp "$tmp/json" "$tmp/llama"
    else
        complain "$llama -m $4 $(apus_flags "$2") $place" "$tmp/err"
        : >"$tmp/json"
    fi
    sample "$2.$3" rate "$1" "$(field avg_ts "$tmp/json")"
}

# ---- PyTorch ----

# run_torch KIND FORMAT: "tokens_per_second N peak_bytes N" is what counts of its output.
run_torch() {
    # shellcheck disable=SC2086
    $torch "$1" "$train" >"$tmp/out" 2>"$tmp/err" </dev/null || {
        complain "$torch $1 $train" "$tmp/err"
        : >"$tmp/out"
    }
    sed -n 's/^tokens_per_second \([^ ]*\) peak_bytes \([^ ]*\)$/\1 \2/p' "$tmp/out" | tail -n 1 \
        >"$tmp/line"
    read -r rate peak <"$tmp/line" || rate='' peak=''
    sample "$1.$2" rate torch "$rate"
    sample "$1.$2" peak torch "$peak"
}

# run PROGRAM MEASURE FILE
run() {
    case $1 in
    apus) run_apus apus "$apus" "${2%.*}" "${2#*.}" "$3" ;;
    that) run_apus that "$that" "${2%.*}" "${2#*.}" "$3" ;;
    vulkan | cpu) run_llama "$1" "${2%.*}" "${2#*.}" "$3" ;;
    torch) run_torch "${2%.*}" "${2#*.}" ;;
    esac
}
