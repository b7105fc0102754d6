/* cmd_bench.c - `apus bench`: measure reading, writing and training on a device. */
#include <ctype.h>
#include <stdio.h>

#include "args.h"
#include "base.h"
#include "bench.h"
#include "os.h"
#include "os_host.h"
#include "os_interrupt.h"

typedef struct run {
    apus_bench_options o;
    apusi_bench_setting setting;
    apusi_bench_form form;
    apus_bench *bench;
    apus_cancel cancel;
    apusi_bench_row *row; /* of the test that runs */
    uint32_t rows;        /* written */
} run;

static apusi_bench_form form_of(const char *word)
{
    return !strcmp(word, "json")    ? APUSI_BENCH_JSON
           : !strcmp(word, "jsonl") ? APUSI_BENCH_JSONL
           : !strcmp(word, "csv")   ? APUSI_BENCH_CSV
                                    : APUSI_BENCH_MD;
}

/* ---- what is measured ---- */

static apus_status sample(run *r, apus_bench_run *out)
{
    if (r->cancel.requested)
        return apus_fail(APUS_ERR_CANCELLED, "the measurement was interrupted");
    if (r->row->train)
        return apus_bench_train(
            r->bench,
            &(apus_bench_train_params) { .tokens = r->row->train, .recompute = r->o.recompute },
            out);
    return apus_bench_generate(r->bench, &r->row->test, out);
}

/* A warm-up, the repetitions, a row. */
static apus_status measure(run *r, const apus_bench_test *test, uint32_t train)
{
    apusi_bench_row *row = r->row;
    apus_bench_run got;

    row->test = test ? *test : (apus_bench_test) { 0 };
    row->train = train;
    row->n = 0;
    apus_local_time(row->time, sizeof(row->time), "%Y-%m-%dT%H:%M:%S");
    APUS_FORWARD(sample(r, &got));
    for (uint32_t i = 0; i < r->o.repetitions; i++) {
        APUS_FORWARD(sample(r, &got));
        row->host_s[row->n] = got.steps ? got.host_seconds / got.steps : 0;
        row->seconds[row->n++] = got.seconds;
    }
    row->flops = got.flops;
    row->bytes = got.bytes;
    row->submissions = got.steps ? (double)got.submissions / got.steps : 0;
    row->recomputed = got.recomputed;
    row->device_peak = apus_model_memory(apus_bench_model(r->bench)).device_peak;
    row->host_peak = apus_peak_rss();
    apus_bench_describe(r->bench, &r->setting.about);
    return apusi_bench_add(r->form, &r->setting, row, r->rows++ == 0);
}

typedef apus_status visitor(void *user, const apus_bench_test *test);

/* A test that writes, with each number of sequences. */
static apus_status each_parallel(const apus_bench_options *o, apus_bench_test t, void *user,
                                 visitor *visit)
{
    for (size_t i = 0; i < o->n_parallels && (t.prompt || t.gen); i++) {
        t.sequences = (uint32_t)o->n_parallel[i];
        APUS_FORWARD(visit(user, &t));
    }
    return APUS_OK;
}

/* Calls back with each test of the options; stops at a failure. */
static apus_status each_test(const apus_bench_options *o, void *user, visitor *visit)
{
    for (size_t d = 0; d < o->n_depths; d++) {
        const uint32_t depth = (uint32_t)o->n_depth[d];

        for (size_t i = 0; i < o->n_prompts; i++) {
            const apus_bench_test t = { .depth = depth,
                                        .prompt = (uint32_t)o->n_prompt[i],
                                        .sequences = 1 };

            if (t.prompt)
                APUS_FORWARD(visit(user, &t));
        }
        for (size_t i = 0; i < o->n_gens; i++) {
            const apus_bench_test t = { .depth = depth, .gen = (uint32_t)o->n_gen[i] };

            APUS_FORWARD(each_parallel(o, t, user, visit));
        }
        for (size_t i = 0; i < o->n_pairs; i++) {
            const apus_bench_test t = { .depth = depth,
                                        .prompt = (uint32_t)o->pairs[i][0],
                                        .gen = (uint32_t)o->pairs[i][1] };

            APUS_FORWARD(each_parallel(o, t, user, visit));
        }
    }
    return APUS_OK;
}

typedef struct most {
    uint64_t tokens;
    uint32_t sequences;
} most;

static apus_status find_most(void *user, const apus_bench_test *t)
{
    most *m = user;
    const uint64_t n = (uint64_t)t->depth + t->prompt + t->gen;

    m->tokens = n > m->tokens ? n : m->tokens;
    m->sequences = t->sequences > m->sequences ? t->sequences : m->sequences;
    return APUS_OK;
}

static apus_status measure_test(void *user, const apus_bench_test *t)
{
    return measure(user, t, 0);
}

/* ---- the setting ---- */

static apus_status find_device(apus_device_row *out, const char *name)
{
    apus_device_row *rows = NULL;
    uint32_t n;

    APUS_FORWARD(apus_device_rows(&rows, &n));
    for (uint32_t i = n; i > 0; i--) {
        if (!strcmp(rows[i - 1].name, name))
            *out = rows[i - 1];
    }
    apus_device_rows_free(&rows);
    return APUS_OK;
}

/* "family 135M Q4_1". */
static void name_type(apusi_bench_setting *s)
{
    const double n = (double)s->model.n_params;
    const char *unit = n >= 1e9 ? "B" : n >= 1e6 ? "M" : "K";
    const double count = n / (n >= 1e9 ? 1e9 : n >= 1e6 ? 1e6 : 1e3);
    char type[32];
    size_t i;

    for (i = 0; s->about.weight_type[i] && i + 1 < sizeof(type); i++)
        type[i] = (char)toupper((unsigned char)s->about.weight_type[i]);
    type[i] = '\0';
    snprintf(s->model_type, sizeof(s->model_type), "%s %.*f%s %s", s->model.family,
             n >= 1e9 ? 1 : 0, count, unit, type);
}

static apus_status open_bench(run *r)
{
    apusi_bench_setting *s = &r->setting;
    most m = { .tokens = r->o.train_tokens };

    APUS_FORWARD(each_test(&r->o, &m, find_most));
    if (!m.tokens)
        return apus_fail(APUS_ERR_ARG, "nothing to measure: -p, -n, -pg and --train are all 0");
    if (m.tokens > UINT32_MAX / 2)
        return apus_fail(APUS_ERR_ARG, "a test of %llu tokens is too long",
                         (unsigned long long)m.tokens);
    APUS_FORWARD(apus_bench_open(&r->bench, r->o.model,
                                 &(apus_bench_params) {
                                     .device = r->o.device,
                                     .torch_dtype = r->o.torch_dtype,
                                     .max_tokens = (uint32_t)m.tokens,
                                     .max_sequences = m.sequences,
                                     .full = r->o.full,
                                 }));
    s->model_path = r->o.model;
    s->tuner_type = r->o.tuner_type;
    s->full = r->o.full;
    apus_model_describe(apus_bench_model(r->bench), &s->model);
    apus_bench_describe(r->bench, &s->about);
    apusi_cpu_name(s->cpu, sizeof(s->cpu));
    name_type(s);
    APUS_FORWARD(find_device(&s->device, s->model.device));
    APUS_FORWARD(apus_bench_measure_peaks(r->bench, &s->peaks));
    apus_log(APUS_LOG_INFO, "device: %s (%s)", s->device.name, s->device.driver);
    apus_log(APUS_LOG_INFO, "peak: copy %.1f GB/s, f32 multiply-add %.1f GFLOP/s",
             s->peaks.copy_bytes_s * 1e-9, s->peaks.fma_flops_s * 1e-9);
    return APUS_OK;
}

apus_status apus_cmd_bench(apus_args *args)
{
    run r = { 0 };
    apus_status st;

    APUS_TRY(apus_bench_options_read(&r.o, args));
    r.form = form_of(r.o.output);
    r.row = apus_alloc(sizeof(*r.row));
    if (!r.row)
        APUS_TRY(APUS_ERR_MEMORY);
    APUS_TRY(open_bench(&r));
    apusi_interrupt_catch(&r.cancel);
    APUS_TRY(apusi_bench_begin(r.form));
    APUS_TRY(each_test(&r.o, &r, measure_test));
    if (r.o.train_tokens)
        APUS_TRY(measure(&r, NULL, (uint32_t)r.o.train_tokens));
    APUS_TRY(apusi_bench_end(r.form));
fail:
    apusi_interrupt_leave();
    apus_bench_close(&r.bench);
    apus_free(r.row);
    return st;
}
