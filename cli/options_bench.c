/* options_bench.c - the options of `apus bench`, whose lists of numbers are written as in
 * llama-bench: "-p 512,1024" or "-p 512 1024"; and of `apus tune`. */
#include <stdio.h>
#include <stdlib.h>

#include "base.h"
#include "options.h"

#define MOST_TOKENS 16777216

static apus_status bad(const char *name, const char *text, int least, int most)
{
    return apus_fail(APUS_ERR_ARG, "--%s %s: expected at most %d whole numbers in [%d, %d]", name,
                     text, APUS_BENCH_MOST, least, most);
}

static apus_status numbers(uint64_t *out, size_t *n, const apus_args *args, const char *name,
                           int least, int most)
{
    size_t n_texts;
    const char *const *texts = apus_args_list(args, name, &n_texts);

    *n = 0;
    for (size_t i = 0; i < n_texts; i++) {
        const char *at = texts[i];

        for (;;) {
            char *rest = NULL;
            const unsigned long long x = strtoull(at, &rest, 10);

            if (*at < '0' || *at > '9' || x < (unsigned)least || x > (unsigned)most ||
                (*rest && *rest != ',') || *n == APUS_BENCH_MOST)
                return bad(name, texts[i], least, most);
            out[(*n)++] = x;
            if (!*rest)
                break;
            at = rest + 1;
        }
    }
    return APUS_OK;
}

/* "512,128" is a pair; several follow one another. */
static apus_status read_pairs(apus_bench_options *out, const apus_args *args)
{
    size_t n;
    const char *const *texts = apus_args_list(args, "pg", &n);

    for (size_t i = 0; i < n; i++) {
        unsigned long long prompt, gen;
        char rest;

        if (out->n_pairs == APUS_BENCH_MOST ||
            sscanf(texts[i], "%llu,%llu%c", &prompt, &gen, &rest) != 2 || prompt > 16777216 ||
            gen > 16777216)
            return apus_fail(APUS_ERR_ARG,
                             "--pg %s: expected at most %d pairs of whole numbers in "
                             "[0, 16777216], such as 512,128",
                             texts[i], APUS_BENCH_MOST);
        out->pairs[out->n_pairs][0] = prompt;
        out->pairs[out->n_pairs++][1] = gen;
    }
    return APUS_OK;
}

static apus_status need_model(const char **out, const apus_args *args)
{
    *out = apus_args_text(args, "model");
    if (!*out)
        return apus_fail(APUS_ERR_ARG,
                         "--model is missing: name a folder in Hugging Face's layout or "
                         "a GGUF file");
    return APUS_OK;
}

apus_status apus_bench_options_read(apus_bench_options *out, apus_args *args)
{
    *out = (apus_bench_options) { 0 };
    APUS_FORWARD(need_model(&out->model, args));
    APUS_FORWARD(numbers(out->n_prompt, &out->n_prompts, args, "n_prompt", 0, MOST_TOKENS));
    APUS_FORWARD(numbers(out->n_gen, &out->n_gens, args, "n_gen", 0, MOST_TOKENS));
    APUS_FORWARD(numbers(out->n_depth, &out->n_depths, args, "n_depth", 0, MOST_TOKENS));
    APUS_FORWARD(numbers(out->n_parallel, &out->n_parallels, args, "n_parallel", 1,
                         APUS_BENCH_MOST_SEQUENCES));
    APUS_FORWARD(read_pairs(out, args));
    out->device = apus_args_text(args, "device");
    out->torch_dtype = apus_args_text(args, "torch_dtype");
    out->repetitions = (uint32_t)apus_args_uint(args, "repetitions");
    out->train_tokens = apus_args_uint(args, "train");
    out->tuner_type = apus_args_text(args, "tuner_type");
    out->full = !strcmp(out->tuner_type, "full");
    out->recompute = (uint32_t)apus_args_uint(args, "recompute");
    out->output = apus_args_text(args, "output");
    return APUS_OK;
}

apus_status apus_tune_options_read(apus_tune_options *out, apus_args *args)
{
    *out = (apus_tune_options) {
        .device = apus_args_text(args, "device"),
        .torch_dtype = apus_args_text(args, "torch_dtype"),
        .n_prompt = (uint32_t)apus_args_uint(args, "n_prompt"),
        .train_tokens = (uint32_t)apus_args_uint(args, "train"),
        .lora_rank = (uint32_t)apus_args_uint(args, "lora_rank"),
        .seconds = apus_args_float(args, "seconds"),
        .result_path = apus_args_text(args, "result_path"),
    };
    out->shapes.items = apus_args_list(args, "shapes", &out->shapes.n);
    if (!out->shapes.n)
        return need_model(&out->model, args);
    if (apus_args_text(args, "model"))
        return apus_fail(APUS_ERR_ARG, "--model and --shapes: one of them says what is measured");
    return APUS_OK;
}
