/* optest.c - the runner of operator tests.  See optest.h. */
#include "optest.h"

#include <math.h>
#include <stdio.h>

#include "autodiff.h"
#include "barrier.h"
#include "half.h"
#include "layout.h"
#include "rng.h"

#define GUARD_WORDS 1024

static apus_gpu *the_gpu;
static apus_exec *the_exec;

static void close_device(void)
{
    if (the_gpu && apus_gpu_validation_count(the_gpu)) {
        fprintf(stderr, "validation: %u messages\n", apus_gpu_validation_count(the_gpu));
        _Exit(1);
    }
    apus_exec_destroy(&the_exec);
    apus_gpu_destroy(&the_gpu);
}

apus_exec *optest_exec(void)
{
    if (the_exec)
        return the_exec;
    const apus_status st = apus_gpu_create(&the_gpu, &(apus_gpu_params) { 0 });
    if (st == APUS_ERR_MISSING) {
        harness_skip("no Vulkan device: %s", apus_error_text());
        return NULL;
    }
    if (!CHECK_OK(st) || !CHECK_OK(apus_exec_create(&the_exec, the_gpu)))
        return NULL;
    atexit(close_device);
    return the_exec;
}

apus_gpu *optest_gpu(void)
{
    return optest_exec() ? the_gpu : NULL;
}

double optest_random(uint64_t *state)
{
    uint32_t out[4];
    const uint32_t key[2] = { 7, 11 }, counter[4] = { (uint32_t)*state, (uint32_t)(*state >> 32), 1, 2 };

    ++*state;
    apus_philox(key, counter, out);
    return (double)apus_uniform_f32(out[0]) * 2 - 1;
}

static uint64_t count(const optest_tensor *t)
{
    uint64_t n = 1;

    for (uint32_t i = 0; i < t->n_dims; i++)
        n *= t->dims[i];
    return n;
}

/* ---- one bound tensor on the device, with its guard ---- */

typedef struct slot {
    apus_buffer buffer;
    uint64_t bytes;
    uint32_t guard; /* first word of the pattern: a NaN of its own */
} slot;

static uint32_t guard_word(const slot *s, uint32_t i)
{
    return s->guard ^ (i * 2654435761u & 0x003ffffeu);
}

static bool slot_create(slot *s, uint64_t bytes, const void *data, uint32_t id)
{
    const uint64_t padded = apus_round_up(bytes, 4);
    uint8_t *all = apus_alloc(padded + 4 * GUARD_WORDS);

    s->bytes = padded;
    s->guard = 0x7fc00001u | id << 12;
    for (uint32_t i = 0; i < GUARD_WORDS; i++) {
        const uint32_t w = guard_word(s, i);
        memcpy(all + padded + 4 * (size_t)i, &w, 4);
    }
    if (data)
        memcpy(all, data, bytes);
    else
        memset(all, 0xff, padded); /* NaN: what is not written shows */
    const bool ok = CHECK_OK(apus_buffer_create(the_gpu, &s->buffer, padded + 4 * GUARD_WORDS,
                                                APUS_MEMORY_DEVICE, "test"))
                    && CHECK_OK(apus_buffer_write(the_gpu, &s->buffer, 0, all, padded + 4 * GUARD_WORDS));
    apus_free(all);
    return ok;
}

static bool guard_ok(const slot *s)
{
    uint32_t words[GUARD_WORDS];

    if (!CHECK_OK(apus_buffer_read(the_gpu, &s->buffer, s->bytes, words, sizeof(words))))
        return false;
    for (uint32_t i = 0; i < GUARD_WORDS; i++)
        if (words[i] != guard_word(s, i))
            return false;
    return true;
}

/* ---- values ---- */

/* Random values, rounded to the tensor's format; *file is its bytes as the device holds them. */
static uint8_t *make_values(optest_tensor *t, uint64_t *state, uint64_t *bytes)
{
    const uint64_t n = count(t);
    const double scale = t->scale != 0 ? (double)t->scale : 1;
    const uint32_t cols = t->dims[t->n_dims - 1];
    uint8_t *out;

    if (!CHECK(apus_tensor_bytes(t->dtype, t->n_dims, t->dims, bytes)))
        return NULL;
    out = apus_alloc(*bytes);
    if (t->dtype == APUS_U32 || t->dtype == APUS_I32) {
        if (t->u32)
            memcpy(out, t->u32, *bytes);
        return out;
    }
    t->value = t->value ? t->value : apus_calloc(n, sizeof(double));
    if (!apus_dtype_is_quant(t->dtype)) {
        for (uint64_t i = 0; i < n; i++) {
            double v = t->value[i] != 0 ? t->value[i] : optest_random(state) * scale;
            float f = (float)v;
            uint16_t h = t->dtype == APUS_F16 ? apus_f32_to_f16(f) : apus_f32_to_bf16(f);
            if (t->dtype == APUS_F32) {
                memcpy(out + 4 * i, &f, 4);
            } else {
                memcpy(out + 2 * i, &h, 2);
                f = t->dtype == APUS_F16 ? apus_f16_to_f32(h) : apus_bf16_to_f32(h);
            }
            t->value[i] = (double)f;
        }
        return out;
    }
    /* Quantized: random blocks with sane scales; values are what the format's definition decodes. */
    const uint32_t block = apus_dtype_of(t->dtype)->block_bytes;
    uint8_t *blocks = apus_alloc((uint64_t)cols / 32 * block);
    float *row = apus_alloc(cols * sizeof(float));
    for (uint64_t r = 0; r < n / cols; r++) {
        for (uint32_t b = 0; b < cols / 32; b++) {
            for (uint32_t i = 0; i < block; i++)
                blocks[b * block + i] = (uint8_t)((optest_random(state) + 1) * 128);
            const uint16_t d = apus_f32_to_f16((float)((0.2 + fabs(optest_random(state))) * scale
                                                       / (t->dtype == APUS_Q8_0 ? 127 : 8)));
            const uint16_t m = apus_f32_to_f16((float)(-optest_random(state) * scale));
            memcpy(blocks + b * block, &d, 2);
            if (t->dtype == APUS_Q4_1)
                memcpy(blocks + b * block + 2, &m, 2);
        }
        apus_layout_row(t->dtype, blocks, cols, out + r * (t->dtype == APUS_Q8_0 ? cols : cols / 2),
                        out + apus_layout_scales_at(t->dtype, n / cols, cols)
                            + r * 4 * apus_layout_scale_words(t->dtype, cols));
        apus_dtype_decode(t->dtype, blocks, cols, row);
        for (uint32_t c = 0; c < cols; c++)
            t->value[r * cols + c] = (double)row[c];
    }
    apus_free(blocks);
    apus_free(row);
    return out;
}

/* ---- one run of a case under one forced algorithm ---- */

typedef struct run {
    optest *t;
    const char *force;
    apus_graph g;
    apus_plan *plan;
    slot in[OPTEST_MAX], into[OPTEST_MAX], seed[4], result[4];
    apus_tensor *x[OPTEST_MAX], *y[4];
    double *dy[4];
    float *got[4], *got_grad[OPTEST_MAX];
} run;

#define INTO_START 0.25f /* what a gradient buffer holds before: the result must be added to it */

static bool build(run *r, uint8_t *const *data, const uint64_t *bytes)
{
    optest *t = r->t;
    apus_graph *g = &r->g;

    apus_graph_init(g);
    for (uint32_t i = 0; i < t->n_in; i++) {
        optest_tensor *x = &t->in[i];
        if (x->step) {
            r->x[i] = apus_graph_step(g, x->name, x->dtype, (uint32_t)count(x),
                                      x->rows.max ? x->rows : APUS_ROWS_ALL);
            continue;
        }
        if (!slot_create(&r->in[i], bytes[i], data[i], 2 * i))
            return false;
        r->x[i] = apus_graph_bound(g, x->name, x->dtype, x->n_dims, x->dims, r->in[i].buffer.address);
        if (x->rows.max)
            r->x[i]->rows = x->rows;
        if (x->fixed || x->dtype > APUS_F32)
            continue;
        r->x[i]->wants_grad = true;
        if (x->trained) {
            float *start = apus_alloc(bytes[i]);
            for (uint64_t e = 0; e < count(x); e++)
                start[e] = INTO_START;
            const bool ok = slot_create(&r->into[i], bytes[i], start, 2 * i + 1);
            apus_free(start);
            if (!ok)
                return false;
            r->x[i]->grad_into = apus_graph_bound(g, "into", APUS_F32, x->n_dims, x->dims,
                                                  r->into[i].buffer.address);
        }
    }
    t->build(g, t, r->x, r->y);
    return CHECK_OK(apus_graph_status(g));
}

static bool add_gradient(run *r)
{
    optest *t = r->t;
    bool any = false;

    for (uint32_t o = 0; o < t->n_out; o++) {
        apus_tensor *y = r->y[o];
        if (!y || !y->wants_grad || !r->dy[o])
            continue;
        float *seed = apus_alloc(y->bytes);
        for (uint64_t e = 0; e < apus_tensor_count(y); e++)
            seed[e] = (float)r->dy[o][e];
        const bool ok = slot_create(&r->seed[o], y->bytes, seed, 64 + o);
        apus_free(seed);
        if (!ok)
            return false;
        y->grad = apus_graph_bound(&r->g, "dy", APUS_F32, y->n_dims, y->dims, r->seed[o].buffer.address);
        y->grad->rows = y->rows;
        any = true;
    }
    if (any && !CHECK_OK(apus_autodiff(&r->g, NULL, 0)))
        return false;
    for (uint32_t i = 0; i < t->n_in; i++)
        if (r->x[i]->grad)
            r->x[i]->grad->keep = true;
    return true;
}

static void fill_step(run *r, uint8_t *const *data, const uint64_t *bytes)
{
    apus_step step = apus_plan_step(r->plan);

    memcpy(step.vars, r->t->vars, sizeof(r->t->vars));
    for (uint32_t i = 0; i < r->t->n_in; i++)
        if (r->t->in[i].step)
            memcpy(apus_step_array(&step, r->x[i]), data[i], bytes[i]);
}

static bool read_back(run *r, float **out, apus_tensor *y)
{
    *out = *out ? *out : apus_alloc(y->bytes);
    return CHECK_OK(apus_plan_read(r->plan, y, *out, y->bytes));
}

static uint64_t live_count(const apus_tensor *y, const uint32_t *vars)
{
    if (y->rows.var < 0)
        return apus_tensor_count(y);
    uint64_t n = vars[y->rows.var] > y->rows.skip ? vars[y->rows.var] - y->rows.skip : 0;
    n = n < y->rows.max ? n : y->rows.max;
    return apus_tensor_count(y) / y->dims[0] * n * y->rows.mul;
}

static void check_values(run *r, double *const *want, double *const *mag, uint32_t terms)
{
    optest *t = r->t;
    /* A product of two factors rounded to p bits, each off by 2^-p of itself; sums in f32. */
    const double u = t->narrow ? ldexp(1, -(int)t->narrow) : 0;
    const double eps = 2 * u + u * u + (terms + 4.0) * 0x1p-24;

    for (uint32_t o = 0; o < t->n_out; o++) {
        uint64_t bad = 0, worst = 0;
        double most = 0;
        const uint64_t n = live_count(r->y[o], t->vars);
        for (uint64_t e = 0; e < n; e++) {
            const double bound = eps * mag[o][e] + t->extra_bound + 1e-37;
            const double error = fabs((double)r->got[o][e] - want[o][e]);
            if (!(error <= bound)) {
                bad++;
                if (!(error / bound <= most)) {
                    most = error / bound;
                    worst = e;
                }
            }
        }
        harness_check(bad == 0, __FILE__, __LINE__,
                      "%s [%s]: output %u: %llu of %llu wrong; element %llu is %.9g, defined %.9g", t->name,
                      r->force ? r->force : "default", o, (unsigned long long)bad, (unsigned long long)n,
                      (unsigned long long)worst, bad ? (double)r->got[o][worst] : 0,
                      bad ? want[o][worst] : 0);
    }
}

/* sum_o dy_o . y_o of the definition: the scalar whose gradient the graph computes. */
static double scalar(const optest *t, const run *r, double **in, double **out, double **mag)
{
    uint32_t terms = 0;
    double sum = 0;

    t->define(t, (const double *const *)in, out, mag, &terms);
    for (uint32_t o = 0; o < t->n_out; o++)
        if (r->dy[o])
            for (uint64_t e = 0; e < live_count(r->y[o], t->vars); e++)
                sum += r->dy[o][e] * out[o][e];
    return sum;
}

static void check_gradient(run *r, uint32_t i, double **out, double **mag)
{
    optest *t = r->t;
    const uint64_t n = count(&t->in[i]);
    const double h = 1e-5;
    double *in[OPTEST_MAX];
    uint64_t state = 1234 + i;

    for (uint32_t k = 0; k < t->n_in; k++)
        in[k] = t->in[k].value;
    for (uint32_t probe = 0; probe < 24 && probe < n; probe++) {
        const uint64_t e = n <= 24 ? probe : (uint64_t)((optest_random(&state) + 1) * 0.5 * (double)n) % n;
        const double keep = in[i][e];
        if (e >= live_count(r->x[i], t->vars))
            continue;
        in[i][e] = keep + h;
        const double up = scalar(t, r, in, out, mag);
        in[i][e] = keep - h;
        const double down = scalar(t, r, in, out, mag);
        in[i][e] = keep;
        const double want = (up - down) / (2 * h);
        const double got = (double)r->got_grad[i][e] - (t->in[i].trained ? (double)INTO_START : 0);
        /* Narrow: the sum of absolute terms is not known here; tests keep it below 16. */
        const double bound = (t->grad_bound != 0 ? t->grad_bound : 1e-4) * (1 + fabs(want))
                             + (t->narrow ? ldexp(16, 1 - (int)t->narrow) : 0);
        harness_check(fabs(got - want) <= bound, __FILE__, __LINE__,
                      "%s [%s]: gradient of %s[%llu] is %.9g, differences say %.9g", t->name,
                      r->force ? r->force : "default", t->in[i].name, (unsigned long long)e, got, want);
    }
}

static bool execute(run *r, uint8_t *const *data, const uint64_t *bytes)
{
    optest *t = r->t;

    fill_step(r, data, bytes);
    if (!CHECK_OK(apus_plan_run(r->plan, NULL)))
        return false;
    for (uint32_t o = 0; o < t->n_out; o++)
        if (!read_back(r, &r->got[o], r->y[o]))
            return false;
    for (uint32_t i = 0; i < t->n_in; i++) {
        apus_tensor *d = t->in[i].trained && r->x[i]->wants_grad ? r->x[i]->grad_into : r->x[i]->grad;
        if (d && !read_back(r, &r->got_grad[i], d))
            return false;
    }
    return true;
}

/* Run again on the same plan: the same bits.  Gradient buffers are reset first. */
static void check_same_bits(run *r, uint8_t *const *data, const uint64_t *bytes)
{
    optest *t = r->t;
    float *first[4] = { 0 };

    for (uint32_t o = 0; o < t->n_out; o++) {
        first[o] = r->got[o];
        r->got[o] = NULL;
    }
    if (execute(r, data, bytes))
        for (uint32_t o = 0; o < t->n_out; o++)
            harness_check(!memcmp(first[o], r->got[o], live_count(r->y[o], t->vars) * 4), __FILE__,
                          __LINE__, "%s [%s]: two runs differ in output %u", t->name,
                          r->force ? r->force : "default", o);
    for (uint32_t o = 0; o < t->n_out; o++) {
        apus_free(r->got[o]);
        r->got[o] = first[o];
    }
}

static void check_guards(run *r)
{
    optest *t = r->t;

    for (uint32_t i = 0; i < t->n_in; i++) {
        if (r->in[i].bytes)
            harness_check(guard_ok(&r->in[i]), __FILE__, __LINE__, "%s [%s]: written behind %s", t->name,
                          r->force ? r->force : "default", t->in[i].name);
        if (r->into[i].bytes)
            harness_check(guard_ok(&r->into[i]), __FILE__, __LINE__,
                          "%s [%s]: written behind the gradient of %s", t->name,
                          r->force ? r->force : "default", t->in[i].name);
    }
}

static void run_one(optest *t, const char *force, uint8_t *const *data, const uint64_t *bytes)
{
    run r = { .t = t, .force = force };
    double *want[4] = { 0 }, *mag[4] = { 0 }, *in[OPTEST_MAX] = { 0 };
    uint32_t terms = 0;
    uint64_t state = 99;

    if (!build(&r, data, bytes))
        goto done;
    for (uint32_t o = 0; o < t->n_out; o++) {
        const uint64_t n = apus_tensor_count(r.y[o]);
        want[o] = apus_calloc(n, sizeof(double));
        mag[o] = apus_calloc(n, sizeof(double));
        r.y[o]->keep = true;
        if (r.y[o]->dtype == APUS_F32 && r.y[o]->wants_grad) {
            r.dy[o] = apus_calloc(n, sizeof(double));
            for (uint64_t e = 0; e < n; e++)
                r.dy[o][e] = (double)(float)optest_random(&state);
        }
    }
    if (!add_gradient(&r))
        goto done;
    const apus_status st = apus_plan_create(&r.plan, the_exec, &r.g,
                                            &(apus_plan_params) { .name = t->name, .force = force ? force : "",
                                                                  .narrow = t->narrow });
    if (!CHECK_OK(st) || !CHECK_OK(apus_hazards_check(apus_plan_list(r.plan))))
        goto done;
    if (force && !strstr(apus_plan_about(r.plan)->choices, strchr(force, ':') + 1)) {
        printf("    %s: %s does not fit this case or device\n", t->name, force);
        goto done;
    }
    if (!execute(&r, data, bytes))
        goto done;
    for (uint32_t i = 0; i < t->n_in; i++)
        in[i] = t->in[i].value;
    t->define(t, (const double *const *)in, want, mag, &terms);
    check_values(&r, want, mag, terms);
    for (uint32_t i = 0; i < t->n_in; i++)
        if (r.got_grad[i])
            check_gradient(&r, i, want, mag);
    check_same_bits(&r, data, bytes);
    check_guards(&r);

done:
    apus_plan_destroy(&r.plan);
    for (uint32_t i = 0; i < OPTEST_MAX; i++) {
        apus_buffer_destroy(the_gpu, &r.in[i].buffer);
        apus_buffer_destroy(the_gpu, &r.into[i].buffer);
        apus_free(r.got_grad[i]);
    }
    for (uint32_t o = 0; o < 4; o++) {
        apus_buffer_destroy(the_gpu, &r.seed[o].buffer);
        apus_free(want[o]);
        apus_free(mag[o]);
        apus_free(r.dy[o]);
        apus_free(r.got[o]);
    }
    apus_graph_release(&r.g);
}

static void run_case(optest *t)
{
    uint8_t *data[OPTEST_MAX] = { 0 };
    uint64_t bytes[OPTEST_MAX] = { 0 }, state = apus_hash(t->name, strlen(t->name), APUS_HASH_SEED) >> 8;
    bool ok = true;

    for (t->n_in = 0; t->n_in < OPTEST_MAX && t->in[t->n_in].name; t->n_in++)
        ;
    for (t->n_out = 0; t->n_out < 4 && t->out[t->n_out].name; t->n_out++)
        ;
    if (t->fill)
        t->fill(t);
    for (uint32_t i = 0; i < t->n_in && ok; i++)
        ok = (data[i] = make_values(&t->in[i], &state, &bytes[i])) != NULL;
    if (ok && !t->force[0])
        run_one(t, NULL, data, bytes);
    for (uint32_t f = 0; ok && f < APUS_COUNT(t->force) && t->force[f]; f++)
        run_one(t, t->force[f], data, bytes);
    for (uint32_t i = 0; i < t->n_in; i++) {
        apus_free(data[i]);
        apus_free(t->in[i].value);
        t->in[i].value = NULL;
    }
}

void optest_run(optest *cases, size_t n)
{
    if (!optest_exec())
        return;
    for (size_t i = 0; i < n; i++)
        run_case(&cases[i]);
}
