#!/bin/sh
# mutation.sh SOURCE BUILD MODULES [LAUNCHER...] - are the tests able to fail?
#
# For every kernel of the file MODULES, and every algorithm of a kernel that has several, the operator
# tests and the tests of whole models run with that kernel computing nothing (APUS_MUTATE).  At least
# one of each kind must turn red; what survives is listed, and the exit code is 1.  Every test that
# serves as a judge must be green without a mutant.  exempt.txt says which kernels a kind does not
# reach, and why.  MUTATION_ONLY="add rope" tries these only.
set -u
source=$1 build=$2 modules=$3
shift 3
here=$source/tests/mutation
ops=$source/engine/op
cases=$source/tests/golden/cases
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
launcher=$*
survivors=$work/survivors
: >"$survivors"
unset APUS_MUTATE APUS_KERNEL APUS_PROFILE

# ---- judges: a line names a command ----

# "op:attention", "test:train_walk", "golden:llama...[ FORCE]" -> the command's exit code.
judge() {
    kind=${1%%:*} what=${1#*:}
    case $kind in
    op) set -- "$build/tests/test_op_$what" ;;
    test) set -- "$build/tests/test_$what" ;;
    golden)
        set -- "$build/bin/apus-golden" "$cases/${what%% *}"
        [ "$what" = "${what#* }" ] || set -- "$@" --force "${what#* }"
        ;;
    esac
    # The launcher is words of a command, not one word.
    # shellcheck disable=SC2086
    timeout 600 $launcher "$@" >"$work/out" 2>&1
}

# Green without a mutant?  Asked once for each judge; 77 (nothing to run here) makes it no judge.
fit() {
    known=$work/fit.$(printf %s "$1" | tr ' :/' '...')
    if [ ! -e "$known" ]; then
        (
            unset APUS_MUTATE
            judge "$1"
            echo $? >"$known"
        )
        case $(cat "$known") in
        0 | 77) ;;
        *)
            echo "$1 is red without a mutant:"
            tail -n 20 "$work/out"
            echo "$1: red without a mutant" >>"$survivors"
            ;;
        esac
    fi
    [ "$(cat "$known")" = 0 ]
}

# The first of the judges (a line each, from stdin) that turns red under $mutant; "" if none does.
first_red() {
    while IFS= read -r one; do
        fit "$one" </dev/null || continue
        (
            APUS_MUTATE=$mutant
            export APUS_MUTATE
            judge "$one" </dev/null
        )
        code=$?
        if [ $code -ne 0 ] && [ $code -ne 77 ]; then
            echo "$one"
            return
        fi
    done
}

# All operator tests, the one of the kernel's own operator first.
op_judges() {
    find "$source/tests/op" -name '*.c' | sed 's|.*/||; s|\.c$||' | sort >"$work/ops"
    while IFS= read -r op; do
        case $kernel in "$op"*) echo "${#op} $op" ;; *) echo "0 $op" ;; esac
    done <"$work/ops" | sort -k1,1nr -k2 | sed 's/^[0-9]* /op:/'
}

# "op variant kernel" of every algorithm: the tables of variants.
algorithms() {
    for file in "$ops"/*.c; do
        op=$(basename "$file" .c)
        sed -n '/apus_variant variants\[\] = {/,/^};/p' "$file" |
            sed -n "s/^.*{ \"\\([a-z0-9_]*\\)\", \"\\([a-z0-9_]*\\)\".*/${op%_algorithms} \\1 \\2/p"
    done
}

# Models with the algorithms of the kernel forced, then as they choose themselves.
model_judges() {
    while read -r op variant of; do
        [ "$of" = "$kernel" ] || continue
        [ "$mutant" = "$kernel" ] || [ "$mutant" = "$kernel:$variant" ] || continue
        apart=$(sed -n "s/^APART($op, $variant, [A-Z0-9]*, \([a-z0-9_]*\)[.]/test:\1_/; s/)\$//; /^test:/p" \
            "$source/tests/golden/algorithms.def")
        echo "${apart:-golden:llama_gqa_tied_rope3 $op:$variant}"
    done <"$work/algorithms"
    printf '%s\n' golden:llama_gqa_tied_rope3 golden:optim golden:sampling golden:qwen2_bias \
        test:train_merge test:train_dropout test:train_walk test:train_optim test:tune_generate \
        test:train_offload
}

# ---- what can be tried here ----

# Does the device have what the shader file needs?  "//! needs coop bf16"
runs_here() {
    needs=$(sed -n 's|^//! needs ||p' "$source/shaders/${kernel%%.*}.comp")
    case " $needs " in
    *' coop '*)
        case " $needs " in *' bf16 '*) type='[0-9] bf16' ;; *) type='[0-9] f16' ;; esac
        grep '^ *matrices' "$work/devices" | head -n 1 | grep -q "$type"
        ;;
    esac
}

exempt() {
    grep -q "^$kernel $1 " "$here/exempt.txt"
}

try() {
    kind=$1
    shift
    if exempt "$kind"; then
        echo "exempt"
        return
    fi
    red=$("$@" | first_red)
    if [ -z "$red" ]; then
        echo "$mutant: no $kind test turns red" >>"$survivors"
        red=SURVIVES
    fi
    echo "$red"
}

algorithms >"$work/algorithms"
# shellcheck disable=SC2086
$launcher "$build/bin/apus" devices >"$work/devices" 2>/dev/null
{
    cat "$modules"
    # An algorithm is a mutant of its own where its kernel has several.
    awk '{ n[$3]++; pair[NR] = $3 ":" $2; of[NR] = $3 }
        END { for (i = 1; i <= NR; i++) if (n[of[i]] > 1) print pair[i] }' "$work/algorithms"
} >"$work/mutants"
while read -r name kind why; do
    case $name in '' | '#'*) continue ;; esac
    grep -qx "$name" "$modules" ||
        echo "exempt.txt: $name is no kernel of this build" >>"$survivors"
    [ -n "$why" ] || echo "exempt.txt: $name $kind: no reason" >>"$survivors"
done <"$here/exempt.txt"

printf '%-30s %-28s %s\n' mutant 'operator test' 'model test'
while IFS= read -r mutant; do
    kernel=${mutant%%:*}
    case " ${MUTATION_ONLY:-$mutant} " in *" $mutant "*) ;; *) continue ;; esac
    if ! runs_here; then
        printf '%-30s %s\n' "$mutant" 'not on this device'
        continue
    fi
    printf '%-30s ' "$mutant"
    printf '%-28s ' "$(try op op_judges)"
    try model model_judges
done <"$work/mutants"

[ -s "$survivors" ] || exit 0
echo
echo 'survivors:'
sort -u "$survivors"
exit 1
