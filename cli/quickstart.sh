#!/bin/sh
# quickstart.sh [--system-driver] [--again] [--steps N]: from a fresh Debian to a model that you
# have fine-tuned yourself, in some minutes.
#
# Installs the packages that are missing (as root), builds Apus into build/, fetches a small model
# (SmolLM2, 135 million parameters, quantized to 4 bits), asks it who it is, trains a LoRA adapter
# directly on the quantized weights, and asks again.  A second run reuses what the first has made.
#
#   --system-driver  use the system's Vulkan driver even if it is an old lavapipe
#   --again          train anew
#   --steps N        steps of training (default 36)
set -eu
cd "$(dirname "$0")/.."

STEPS=36
AGAIN=false
SYSTEM_DRIVER=false
while [ $# -gt 0 ]; do
    case $1 in
    --system-driver) SYSTEM_DRIVER=true ;;
    --again) AGAIN=true ;;
    --steps)
        STEPS=${2:?--steps needs a number}
        shift
        ;;
    *)
        sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"
        [ "$1" = --help ] || exit 2
        exit 0
        ;;
    esac
    shift
done

CACHE=.cache
OUTPUT=output/quickstart

title() {
    printf '\n== %s\n' "$*"
}

# No GPU and a lavapipe older than Mesa 26: it lacks cooperative matrices and is slower.
old_cpu_driver() {
    for node in /dev/dri/renderD* /dev/nvidia0; do
        [ -e "$node" ] && return 1
    done
    version=$(dpkg-query -W -f '${Version}' mesa-vulkan-drivers 2>/dev/null || true)
    version=${version#*:}
    version=${version%%.*}
    [ "${version:-0}" -lt 26 ]
}

apus() {
    # shellcheck disable=SC2086 # $RUN is a command and its words, or nothing
    $RUN build/bin/apus "$@"
}

ask() {
    printf 'Who are you?\nexit\n' |
        apus infer --temperature 0 --max_new_tokens 48 --max_length 512 "$@"
}

title "packages"
sh cli/packages.sh build run fetch

title "build"
if [ ! -e build/build.ninja ]; then
    cmake -S . -B build -G Ninja -DAPUS_TESTS=OFF >/dev/null
fi
cmake --build build --target apus

title "model"
MODEL=$(sh cli/fetch.sh smollm2 "$CACHE/data/smollm2")
echo "$MODEL"

title "device"
RUN=
if ! $SYSTEM_DRIVER && old_cpu_driver; then
    echo "There is no GPU here and the system's CPU driver (lavapipe) is older than Mesa 26, so a"
    echo "newer one is unpacked into $CACHE/vk and used; --system-driver keeps the system's."
    sh cli/drivers.sh "$CACHE/vk" mesa
    RUN="$CACHE/vk/vkrun sid lvp"
fi
apus devices

title "before training: Who are you?"
ask --model "$MODEL" --template chatml

title "training"
last_checkpoint() {
    for folder in "$OUTPUT"/checkpoint-*; do
        if [ -d "$folder" ]; then
            echo "${folder##*-} $folder"
        fi
    done | sort -n | tail -n 1 | cut -d ' ' -f 2
}
if $AGAIN; then
    rm -rf "$OUTPUT"
fi
ADAPTER=$(last_checkpoint)
if [ -n "$ADAPTER" ]; then
    echo "$ADAPTER is there already; --again trains anew."
else
    apus sft --model "$MODEL" --template chatml --dataset cli/quickstart.jsonl \
        --tuner_type lora --lora_rank 8 --lora_alpha 32 --target_modules all-linear \
        --learning_rate 5e-4 --lr_scheduler_type cosine --warmup_ratio 0.1 \
        --per_device_train_batch_size 4 --gradient_accumulation_steps 1 --max_steps "$STEPS" \
        --max_length 128 --logging_steps 2 --output_dir "$OUTPUT" --add_version false
    ADAPTER=$(last_checkpoint)
fi

title "after training: Who are you?"
ask --model "$MODEL" --template chatml --adapters "$ADAPTER"

title "what is where"
echo "adapter:     $ADAPTER"
for file in "$OUTPUT"/images/*loss* "$OUTPUT"/report* "$OUTPUT"/logging.jsonl "$OUTPUT"/runs; do
    case $file in
    */images/*) kind="loss curve: " ;;
    */report*) kind="report:     " ;;
    */runs) kind="TensorBoard:" ;;
    *) kind="log:        " ;;
    esac
    if [ -e "$file" ]; then
        echo "$kind $file"
    fi
done
echo "chat with it: ${RUN:+$RUN }build/bin/apus infer --model $MODEL --template chatml" \
    "--adapters $ADAPTER"
