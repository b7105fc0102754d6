#!/bin/sh
# selftest.sh - bench.sh with programs that only say numbers: medians, ratios, floors and aims, what
# is noise, and exit codes.
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 2
export FAKE="$tmp"
failed=0
passed=0

# $FAKE/values has lines "PROGRAM KIND FORMAT VALUE...": the n-th run says the n-th value, the last
# one again after that; without a line the run fails, and so it does at the value "fail".
cat >next <<'X'
#!/bin/sh
# next PROGRAM KIND FORMAT
echo "$1 $2 $3" >>"$FAKE/calls"
n=$(grep -c "^$1 $2 $3$" "$FAKE/calls")
value=$(awk -v a="$1" -v b="$2" -v c="$3" -v n="$n" '
    $1 == a && $2 == b && $3 == c { print $(n + 3 > NF ? NF : n + 3) }' "$FAKE/values")
[ -n "$value" ] && [ "$value" != fail ] && echo "$value"
X
# speak PROGRAM WORDS...: a run of apus bench or llama-bench, told by its flags.
cat >speak <<'X'
#!/bin/sh
program=$1 kind='' format=''
shift
for word in "$@"; do
    case $last in
    -m) format=${word%.gguf} format=${format##*.} ;;
    -p) [ "$word" = 0 ] || kind=prefill ;;
    -n) [ "$word" = 0 ] || kind=decode ;;
    -npl) kind=several ;;
    --train) kind=lora ;;
    --recompute) echo "$word" >"$FAKE/again" ;;
    --tuner_type) kind=full ;;
    -dev) [ "$word" != none ] || program=cpu ;;
    esac
    last=$word
done
value=$("$FAKE/next" "$program" "$kind" "$format") || { echo "no such run" >&2; exit 1; }
if [ $kind = several ]; then
    printf '{"avg_ns": 1000000000}\n{"avg_ns": %s000000}\n' "$value"
    exit
fi
printf '{"build_number": 7, "cpu_info": "A CPU", "gpu_info": "A \\"GPU\\"", "gpu_driver": "D 1", '
printf '"gpu_kind": "%s", "avg_ts": %s, ' "$(cat "$FAKE/kind")" "$value"
printf '"device_peak_bytes": 2147483648, '
printf '"host_peak_bytes": 1073741824, "host_ns_per_step": 60000, "submissions_per_step": 3}\n'
X
cat >apus <<'X'
#!/bin/sh
case $1 in
devices) printf 'device 0  A GPU\n  driver    D 1, Vulkan 1.3\n  kind      %s, 1 GiB\n' \
    "$(cat "$FAKE/kind")" ;;
bench)
    case $0 in */bin/*) exec "$FAKE/speak" that "$@" ;; esac
    exec "$FAKE/speak" apus "$@"
    ;;
infer) read -r question && [ -n "$question" ] ;;
esac
X
cat >llama-bench <<'X'
#!/bin/sh
echo "${GGML_VK_DISABLE_F16-unset}" >"$FAKE/f16"
exec "$FAKE/speak" vulkan "$@"
X
cat >llama-quantize <<'X'
#!/bin/sh
[ "$1 $2 $3" = "--allow-requantize --pure model.gguf" ] && echo "$5" >"$4"
X
printf '#!/bin/sh\nsleep 1\n' >llama-completion
cat >torch <<'X'
#!/bin/sh
value=$("$FAKE/next" torch "$1" "$2") && echo "loading" &&
    echo "tokens_per_second $value peak_bytes 8589934592"
X
chmod +x next speak apus llama-bench llama-quantize llama-completion torch
mkdir -p other/bin
cp apus other/bin/apus
echo model >model.gguf
echo cpu >kind

# bench VALUES WORDS...: run it; its code, table and JSON are in code, bench.md and bench.json.
bench() {
    printf '%s\n' "$1" >values
    shift
    rm -rf out calls
    : >calls
    sh "$here/bench.sh" --apus ./apus --work models --out out "$@" model.gguf >table 2>log
    code=$?
}

# says FILE TEXT...: some line has all the texts.
says() {
    file=$1
    lines=$(cat "$file")
    shift
    for text in "$@"; do
        lines=$(printf '%s\n' "$lines" | grep -F -e "$text") || {
            echo "selftest.sh: $name: no line of $file has all of: $*"
            cat "$file" log
            failed=$((failed + 1))
            return
        }
    done
    passed=$((passed + 1))
}

exits() {
    if [ "$code" = "$1" ]; then
        passed=$((passed + 1))
        return
    fi
    echo "selftest.sh: $name: exit code $code, not $1"
    cat table log
    failed=$((failed + 1))
}

# The ratio is the median of the pairs' (5, 15, 4 and 1, 0.9, 1), not the medians' ratio (10, 0.8).
name='medians of pairs'
bench 'apus prefill f16 100 300 200
vulkan prefill f16 20 20 50
cpu prefill f16 100 333.3333 200' --llama ./llama-bench --rows prefill --formats f16 --pairs 3
exits 1
says table '| prefill 512: f16, tok/s' '| llama.cpp Vulkan' '4.000..15.000' \
    '|        200 |       20.0 |    5.000 |' '>= 4.7 |    >= 7 | floor'
says table 'llama.cpp CPU' '|        200 |        200 |    1.000 |' '0.900..1.000' '| no '
says table 'device: A' 
says table 'driver: D 1'
says out/bench.md 'prefill 512: f16, tok/s' '| floor'
says out/bench.json '{"date": "2' '"processor": "A CPU"' '"llama_build": "7", "pairs": 3'
says out/bench.json '"measure": "prefill.f16"' '"against": "llama.cpp Vulkan"' '"value": 200,' \
    '"peer": 20,' '"pairs": 3' '"ratio": 5,' '"floor": 4.7,' '"aim": 7,' '"result": "floor"'
says models/model.f16.gguf F16
says f16 1
# Programs take turns, and begin in turn.
name=turns
sed 's/ .*//' calls | tr '\n' ' ' >turns
says turns 'apus cpu vulkan cpu vulkan apus vulkan apus cpu '

name='bounds belong to what meets them'
bench 'apus prefill q4_0 45 70 70 70
cpu prefill q4_0 100' --llama ./llama-bench --rows prefill --formats q4_0 --pairs 1 --prompt 64
exits 0
says table 'prefill 64: q4_0' '0.450' '| floor'
bench 'apus prefill q4_0 60 80
cpu prefill q4_0 100' --llama ./llama-bench --rows prefill --formats q4_0 --pairs 2
exits 0
says table '70.0' '0.700' '| aim'

name='a floor that is not met'
bench 'apus decode f16 34
vulkan decode f16 10
cpu decode f16 100' --llama ./llama-bench --rows decode --formats f16 --pairs 1 --gen 8
exits 1
says table 'decode 8: f16' 'Vulkan' '3.400' '| no '
says table 'decode 8: f16' 'CPU' '0.340' '| floor'

name='a peer that is missing'
bench 'apus lora f32 100
apus lora q8_0 100' --quantize ./llama-quantize --rows lora,memory --pairs 1
exits 1
says table 'LoRA step of 512, 4 layers again: f32 base, tok/s' 'PyTorch CPU' '| no peer'
says again 4
says table 'peak memory of the LoRA step, 4 layers again: q8_0 base, GiB' '| no peer'

name='memory and steps of training'
bench 'apus lora f32 50
apus full f32 50
torch lora 512 100
torch full 512 100' --quantize ./llama-quantize --torch ./torch --rows lora,full,memory \
    --formats f32 --pairs 2 --recompute 0
exits 0
says table 'LoRA step of 512: f32 base' '50.0' '100' '0.500' '| floor'
says table 'full fine-tuning step of 512' '0.500' '| floor'
says table 'peak memory of the LoRA step: f32 base, GiB' '1.00 |       8.00' '0.125' '| aim'
name='memory of a GPU is added to the host'"'"'s'
echo discrete >kind
bench 'apus lora f32 50
torch lora 512 100' --quantize ./llama-quantize --torch ./torch --rows memory --formats f32 \
    --pairs 1
exits 0
says table '3.00 |       8.00' '0.375' '| floor'
name='a GPU has llama.cpp as it is'
bench 'apus decode q8_0 60
vulkan decode q8_0 10
cpu decode q8_0 10' --llama ./llama-bench --rows decode --formats q8_0 --pairs 1
exits 0
says f16 unset
echo cpu >kind

name='time of the host'
bench 'apus decode q8_0 60
apus lora q8_0 60' --quantize ./llama-quantize --rows host --pairs 1
exits 1
says table 'host time of a decode step' '60.0 |       50.0' '1.200' '| no '
says table 'host time of a LoRA step, 4' '60.0 |       80.0' '0.750' '| floor'

name='several sequences'
bench 'apus several f16 1400 1200 1300
apus several q8_0 1700 1700 1700' --quantize ./llama-quantize --rows several --pairs 3
exits 1
says table '4 sequences at once: f16' '1.30 |       4.00' '0.325' '| floor'
says table '4 sequences at once: q8_0' '1.70 |       4.00' '0.425' '| no '

name='first token'
bench '' --llama ./llama-bench --rows first --pairs 1
exits 0
says table 'start to first token' 'llama.cpp Vulkan' '<= 1' '| aim'

name='runs that fail'
bench 'apus prefill f16 50 fail 70
vulkan prefill f16 10 10 10
cpu prefill f16 50 50 fail' --llama ./llama-bench --rows prefill --formats f16 --pairs 3
says table 'Vulkan' '60.0 |       10.0 |    6.000' '| floor'
says log 'failed: ./apus bench' '-p 512 -n 0'
says out/bench.json 'llama.cpp CPU' '"pairs": 1,' '"ratio": 1,'
bench 'vulkan prefill f16 10
apus prefill q8_0 50
cpu prefill q8_0 50' --llama ./llama-bench --rows prefill --formats f16,q8_0 --pairs 1
exits 1
says table 'prefill 512: f16' '| failed'
says table 'prefill 512: q8_0' 'Vulkan' '| peer failed'

name='the model as it stands'
bench 'apus prefill model 50' --rows prefill --pairs 1
exits 0
says table '| prefill 512, tok/s' '50.0'

# against RESULT CODE OURS THEIRS: decoding against the other build.
against() {
    bench "apus decode f16 $3
that decode f16 $4" --quantize ./llama-quantize --against other --rows decode --formats f16 \
        --pairs 5
    exits "$2"
    says table 'decode 32: f16' "| $1"
}
name='against a build'
against slower 1 90 100
says out/bench.json '"against": "other"' '"ratio": 0.9,' '"spread": 0,' '"result": "slower"'
against same 0 98 100
against faster 0 110 100
name='differences within the spread'
against same 0 '80 90 100 110 90' 100
bench 'apus decode f16 90
that decode f16 100' --quantize ./llama-quantize --against other/bin/apus --rows decode \
    --formats f16 --pairs 1 --noise 11
exits 0
name='a build that cannot do it'
bench 'apus full f32 90' --quantize ./llama-quantize --against other --rows full --pairs 1
exits 0
says table 'full fine-tuning' '| not measured'

name='wrong options'
for words in '--rows prefil' '--formats q9' '--pairs 0' '--pairs x' '--noise x' \
    '--against nowhere' '--no-such 1' '--prompt' '--rows full --formats q4_0'; do
    # shellcheck disable=SC2086
    bench '' $words
    exits 2
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
