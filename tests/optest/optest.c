/* optest.c - the runner of operator tests.  See optest.h. */
#include "optest.h"

#include <math.h>
#include <stdio.h>

#include "autodiff.h"
#include "barrier.h"
#include "exec_internal.h"
#include "half.h"
#include "optest_internal.h"
#include "rng.h"

static apus_gpu *the_gpu;
static apus_exec *the_exec;

static void close_device(void)
{
    CHECK_EQ_U64(apus_gpu_validation_count(the_gpu), 0);
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
    if (!CHECK_OK(st))
        return NULL;
    harness_at_end(close_device);
    if (!CHECK_OK(apus_exec_create(&the_exec, the_gpu)))
        return NULL;
    return the_exec;
}

apus_gpu *optest_gpu(void)
{
    return optest_exec() ? the_gpu : NULL;
}

/* ---- one run of a case under one forced algorithm ---- */

typedef struct run {
    optest *t;
    const char *force;
    apus_dtype type; /* of activations */
    uint32_t acts;   /* inputs that are activations */
    apus_graph g;
    apus_plan *plan;
    optesti_slot in[OPTEST_MAX], into[OPTEST_MAX], seed[4], result[4], slope[OPTEST_MAX];
    apus_tensor *x[OPTEST_MAX], *y[4];
    double *dy[4];
    float *got[4], *got_grad[OPTEST_MAX];
} run;

#define INTO_START 0.25f /* what a gradient buffer holds before: the result must be added to it */

/* Words of a number, or with all bits set: NaN in every plain format. */
static bool fill(const apus_buffer *b, uint64_t bytes, const float *value)
{
    float *all = apus_alloc(bytes);

    memset(all, 0xff, bytes);
    for (uint64_t i = 0; i < bytes / 4 && value; i++)
        all[i] = *value;
    const bool ok = CHECK_OK(apus_buffer_write(the_gpu, b, 0, all, bytes));
    apus_free(all);
    return ok;
}

static bool build(run *r, uint8_t *const *data, const uint64_t *bytes)
{
    optest *t = r->t;
    apus_graph *g = &r->g;

    apus_graph_init(g);
    for (uint32_t i = 0; i < t->n_in; i++) {
        optest_tensor *x = &t->in[i];
        if (x->step) {
            r->x[i] = apus_graph_step(g, x->name, x->dtype, (uint32_t)optesti_count(x),
                                      x->rows.max ? x->rows : APUS_ROWS_ALL);
            continue;
        }
        if (!optesti_slot_create(&r->in[i], bytes[i], data[i], 2 * i))
            return false;
        r->x[i] =
            apus_graph_bound(g, x->name, x->dtype, x->n_dims, x->dims, r->in[i].buffer.address);
        if (x->rows.max)
            r->x[i]->rows = x->rows;
        if (x->fixed || (x->dtype != APUS_F32 && !(r->acts >> i & 1)))
            continue;
        r->x[i]->wants_grad = true;
        if (x->trained) {
            if (!optesti_slot_create(&r->into[i], 4 * optesti_count(x), NULL, 2 * i + 1))
                return false;
            r->x[i]->grad_into = apus_graph_bound(g, "into", APUS_F32, x->n_dims, x->dims,
                                                  r->into[i].buffer.address);
        }
    }
    if (t->link)
        t->link(t, r->x, data);
    t->build(g, t, r->x, r->y);
    if (r->type != APUS_F32 && g->status == APUS_ERR_SHAPE && strstr(g->error, "whole fours")) {
        printf("    %s: rows are not of whole fours, as %s needs\n", t->name,
               apus_dtype_of(r->type)->name);
        return false;
    }
    return CHECK_OK(apus_graph_status(g));
}

/* Results lie in buffers of their own with guards behind them, not in planned memory. */
static bool own_memory(apus_tensor *y, optesti_slot *s, uint32_t id)
{
    if (y->storage != APUS_STORE_PLANNED) {
        y->keep = true; /* a view of a planned one */
        return true;
    }
    if (!optesti_slot_create(s, y->bytes, NULL, id))
        return false;
    y->storage = APUS_STORE_BOUND;
    y->at = s->buffer.address;
    return true;
}

static bool add_gradient(run *r)
{
    optest *t = r->t;
    bool any = false;

    for (uint32_t o = 0; o < t->n_out; o++) {
        apus_tensor *y = r->y[o];
        if (!y || !y->wants_grad || !r->dy[o])
            continue;
        void *seed = optesti_encode(y->dtype, r->dy[o], apus_tensor_count(y));
        const bool ok = optesti_slot_create(&r->seed[o], y->bytes, seed, 96 + o);
        apus_free(seed);
        if (!ok)
            return false;
        y->grad =
            apus_graph_bound(&r->g, "dy", y->dtype, y->n_dims, y->dims, r->seed[o].buffer.address);
        y->grad->rows = y->rows;
        any = true;
    }
    if (any && !CHECK_OK(apus_autodiff(&r->g, NULL, 0)))
        return false;
    for (uint32_t i = 0; i < t->n_in; i++)
        if (r->x[i]->grad && !own_memory(r->x[i]->grad, &r->slope[i], 128 + i))
            return false;
    return true;
}

static const float into_start = INTO_START;

/* What a run finds: tensors as given (an earlier run may have changed them), results and planned
 * memory full of NaN, gradient buffers at their start. */
static bool prepare(run *r, uint8_t *const *data, const uint64_t *bytes)
{
    optest *t = r->t;
    apus_step step = apus_plan_step(r->plan);
    bool ok = true;

    memcpy(step.vars, t->vars, sizeof(t->vars));
    for (uint32_t i = 0; i < t->n_in && ok; i++) {
        if (t->in[i].step)
            memcpy(apus_step_array(&step, r->x[i]), data[i], bytes[i]);
        else
            ok = CHECK_OK(apus_buffer_write(the_gpu, &r->in[i].buffer, 0, data[i], bytes[i]));
        if (ok && r->into[i].bytes)
            ok = fill(&r->into[i].buffer, r->into[i].bytes, &into_start);
        if (ok && r->slope[i].bytes)
            ok = fill(&r->slope[i].buffer, r->slope[i].bytes, NULL);
    }
    for (uint32_t o = 0; o < t->n_out && ok; o++)
        if (r->result[o].bytes)
            ok = fill(&r->result[o].buffer, r->result[o].bytes, NULL);
    for (uint32_t b = 0; b < r->plan->arena->n_blocks && ok; b++)
        ok = fill(&r->plan->arena->blocks[b], r->plan->arena->blocks[b].bytes, NULL);
    return ok;
}

/* A tensor of the device as f32. */
static bool read_back(run *r, float **out, const apus_tensor *y)
{
    const uint64_t n = apus_tensor_count(y);
    void *raw = apus_alloc(y->bytes);

    *out = *out ? *out : apus_alloc(n * sizeof(float));
    const bool ok = CHECK_OK(apus_plan_read(r->plan, y, raw, y->bytes));
    apus_dtype_decode(y->dtype, raw, n, *out);
    apus_free(raw);
    return ok;
}

static uint64_t live_count(const apus_tensor *y, const uint32_t *vars)
{
    if (y->rows.var < 0)
        return apus_tensor_count(y);
    uint64_t n = vars[y->rows.var] > y->rows.skip ? vars[y->rows.var] - y->rows.skip : 0;
    n = n < y->rows.max ? n : y->rows.max;
    return apus_tensor_count(y) / y->dims[0] * n * y->rows.mul;
}

/* What storing a number in 16 bits may take of it: half a unit in the last place. */
static double unit(apus_dtype type)
{
    return type == APUS_F16 ? 0x1p-11 : type == APUS_BF16 ? 0x1p-8 : 0;
}

static void check_values(run *r, const double *const *in, double *const *want, double *const *mag,
                         uint32_t terms)
{
    optest *t = r->t;
    /* A product of two factors rounded to p bits, each off by 2^-p of itself; sums in f32. */
    const double u = t->narrow ? ldexp(1, -(int)t->narrow) : 0;
    const double eps = 2 * u + u * u + (terms + 4.0) * 0x1p-24;

    for (uint32_t o = 0; o < t->n_out; o++) {
        uint64_t bad = 0, worst = 0;
        double most = 0;
        const uint64_t n = live_count(r->y[o], t->vars);
        const double stored = unit(r->y[o]->dtype), inner = t->inner * unit(r->type);
        const double least = r->y[o]->dtype == APUS_F16 ? 0x1p-24 : 1e-37;
        for (uint64_t e = 0; e < n; e++) {
            const double extra = t->extra ? t->extra(t, in, o, e) : t->extra_bound;
            const double computed = (eps + inner) * mag[o][e] + extra;
            const double bound = computed + stored * (fabs(want[o][e]) + computed) + least;
            const double error = fabs((double)r->got[o][e] - want[o][e]);
            if (isnan(want[o][e]) ? !isnan(r->got[o][e]) : !(error <= bound)) {
                bad++;
                if (!(error / bound <= most)) {
                    most = error / bound;
                    worst = e;
                }
            }
        }
        harness_check(bad == 0, __FILE__, __LINE__,
                      "%s [%s]: output %u: %llu of %llu wrong; element %llu is %.9g, defined %.9g",
                      t->name, r->force ? r->force : "default", o, (unsigned long long)bad,
                      (unsigned long long)n, (unsigned long long)worst,
                      bad ? (double)r->got[o][worst] : 0, bad ? want[o][worst] : 0);
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
    const uint64_t n = optesti_count(&t->in[i]);
    const double h = 1e-5;
    double *in[OPTEST_MAX];
    uint64_t state = 1234 + i;

    for (uint32_t k = 0; k < t->n_in; k++)
        in[k] = t->in[k].value;
    for (uint32_t probe = 0; probe < 24 && probe < n; probe++) {
        const uint64_t e =
            n <= 24 ? probe : (uint64_t)((optest_random(&state) + 1) * 0.5 * (double)n) % n;
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
        const double bound = (t->grad_bound != 0 ? t->grad_bound : 1e-4) * (1 + fabs(want)) +
                             (t->narrow ? ldexp(16, 1 - (int)t->narrow) : 0) +
                             (16 + fabs(want)) * unit(r->type);
        harness_check(fabs(got - want) <= bound, __FILE__, __LINE__,
                      "%s [%s]: gradient of %s[%llu] is %.9g, differences say %.9g", t->name,
                      r->force ? r->force : "default", t->in[i].name, (unsigned long long)e, got,
                      want);
    }
}

static bool execute(run *r, uint8_t *const *data, const uint64_t *bytes)
{
    optest *t = r->t;

    if (!prepare(r, data, bytes) || !CHECK_OK(apus_plan_run(r->plan, NULL)))
        return false;
    for (uint32_t o = 0; o < t->n_out; o++)
        if (!read_back(r, &r->got[o], r->y[o]))
            return false;
    for (uint32_t i = 0; i < t->n_in; i++) {
        const apus_tensor *d =
            t->in[i].trained && r->x[i]->wants_grad ? r->x[i]->grad_into : r->x[i]->grad;
        if (d && !read_back(r, &r->got_grad[i], d))
            return false;
    }
    return true;
}

/* Run again on the same plan: the same bits. */
static void check_same_bits(run *r, uint8_t *const *data, const uint64_t *bytes)
{
    optest *t = r->t;
    float *first[4] = { 0 }, *first_grad[OPTEST_MAX] = { 0 };

    memcpy(first, r->got, sizeof(first));
    memcpy(first_grad, r->got_grad, sizeof(first_grad));
    memset(r->got, 0, sizeof(r->got));
    memset(r->got_grad, 0, sizeof(r->got_grad));
    const bool ran = execute(r, data, bytes);
    for (uint32_t o = 0; o < t->n_out; o++) {
        harness_check(!ran || !memcmp(first[o], r->got[o], live_count(r->y[o], t->vars) * 4),
                      __FILE__, __LINE__, "%s [%s]: two runs differ in output %u", t->name,
                      r->force ? r->force : "default", o);
        apus_free(first[o]);
    }
    for (uint32_t i = 0; i < t->n_in; i++) {
        harness_check(!ran || !first_grad[i] ||
                          !memcmp(first_grad[i], r->got_grad[i], live_count(r->x[i], t->vars) * 4),
                      __FILE__, __LINE__, "%s [%s]: two runs differ in the gradient of %s", t->name,
                      r->force ? r->force : "default", t->in[i].name);
        apus_free(first_grad[i]);
    }
}

/* Rows that are not live stay as they were, in tensors that are changed in place. */
static void check_dead_rows(run *r, uint8_t *const *data)
{
    optest *t = r->t;

    for (uint32_t o = 0; o < t->n_out; o++)
        for (uint32_t i = 0; i < t->n_in; i++) {
            if (r->y[o] != r->x[i] || r->y[o]->dtype != APUS_F32)
                continue;
            const uint64_t live = live_count(r->y[o], t->vars), n = apus_tensor_count(r->y[o]);
            harness_check(!memcmp(r->got[o] + live, data[i] + 4 * live, 4 * (n - live)), __FILE__,
                          __LINE__, "%s [%s]: %s is changed past its live rows", t->name,
                          r->force ? r->force : "default", t->in[i].name);
        }
}

static void check_guard(const run *r, const optesti_slot *s, const char *what, const char *name)
{
    if (s->bytes)
        harness_check(optesti_guard_ok(s), __FILE__, __LINE__, "%s [%s]: written behind %s%s",
                      r->t->name, r->force ? r->force : "default", what, name);
}

static void check_guards(run *r)
{
    optest *t = r->t;

    for (uint32_t i = 0; i < t->n_in; i++) {
        check_guard(r, &r->in[i], "", t->in[i].name);
        check_guard(r, &r->into[i], "the buffer of the gradient of ", t->in[i].name);
        check_guard(r, &r->slope[i], "the gradient of ", t->in[i].name);
    }
    for (uint32_t o = 0; o < t->n_out; o++)
        check_guard(r, &r->result[o], "output ", t->out[o].name);
}

/* False where the case does not fit this storage of activations. */
static bool run_one(optest *t, const char *force, apus_dtype type, uint32_t acts,
                    uint8_t *const *data, const uint64_t *bytes)
{
    run r = { .t = t, .force = force, .type = type, .acts = acts };
    double *want[4] = { 0 }, *mag[4] = { 0 }, *in[OPTEST_MAX] = { 0 };
    uint32_t terms = 0;
    uint64_t state = 99;

    bool fits = build(&r, data, bytes);
    if (!fits)
        goto done;
    for (uint32_t o = 0; o < t->n_out; o++) {
        const uint64_t n = apus_tensor_count(r.y[o]);
        want[o] = apus_calloc(n, sizeof(double));
        mag[o] = apus_calloc(n, sizeof(double));
        if (!own_memory(r.y[o], &r.result[o], 64 + o))
            goto done;
        if (apus_dtype_is_plain(r.y[o]->dtype) && r.y[o]->wants_grad) {
            r.dy[o] = apus_calloc(n, sizeof(double));
            for (uint64_t e = 0; e < n; e++)
                r.dy[o][e] = optest_random(&state);
            void *as = optesti_encode(r.y[o]->dtype, r.dy[o], n);
            optesti_decode(r.y[o]->dtype, as, r.dy[o], n);
            apus_free(as);
        }
    }
    if (!add_gradient(&r))
        goto done;
    const apus_status st = apus_plan_create(
        &r.plan, the_exec, &r.g,
        &(apus_plan_params) { .name = t->name,
                              .force = force ? force : "",
                              .narrow = t->narrow ? APUS_NARROW_16 : APUS_NARROW_NOT });
    if (force && t->picky && st == APUS_ERR_SUPPORT) { /* nor does what is taken instead */
        printf("    %s: %s does not fit this case or device\n", t->name, force);
        goto done;
    }
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
    check_values(&r, (const double *const *)in, want, mag, terms);
    for (uint32_t i = 0; i < t->n_in; i++)
        if (r.got_grad[i])
            check_gradient(&r, i, want, mag);
    check_dead_rows(&r, data);
    check_same_bits(&r, data, bytes);
    check_guards(&r);

done:
    apus_plan_destroy(&r.plan);
    for (uint32_t i = 0; i < OPTEST_MAX; i++) {
        apus_buffer_destroy(the_gpu, &r.in[i].buffer);
        apus_buffer_destroy(the_gpu, &r.into[i].buffer);
        apus_buffer_destroy(the_gpu, &r.slope[i].buffer);
        apus_free(r.got_grad[i]);
    }
    for (uint32_t o = 0; o < 4; o++) {
        apus_buffer_destroy(the_gpu, &r.seed[o].buffer);
        apus_buffer_destroy(the_gpu, &r.result[o].buffer);
        apus_free(want[o]);
        apus_free(mag[o]);
        apus_free(r.dy[o]);
        apus_free(r.got[o]);
    }
    apus_graph_release(&r.g);
    return fits;
}

/* Returns whether the case fits this storage of activations. */
static bool run_case(optest *t, apus_dtype type, uint32_t acts)
{
    uint8_t *data[OPTEST_MAX] = { 0 };
    uint64_t bytes[OPTEST_MAX] = { 0 },
             state = apus_hash(t->name, strlen(t->name), APUS_HASH_SEED) >> 8;
    bool ok = true;

    for (t->n_in = 0; t->n_in < OPTEST_MAX && t->in[t->n_in].name; t->n_in++)
        ;
    for (t->n_out = 0; t->n_out < 4 && t->out[t->n_out].name; t->n_out++)
        ;
    if (t->fill)
        t->fill(t);
    for (uint32_t i = 0; i < t->n_in; i++) /* in f32 by the table, or by what has filled it */
        if (acts >> i & 1 && t->in[i].dtype == APUS_F32)
            t->in[i].dtype = type;
        else
            acts &= ~(1u << i);
    for (uint32_t i = 0; i < t->n_in && ok; i++)
        ok = (data[i] = optesti_values(&t->in[i], &state, &bytes[i])) != NULL;
    if (ok && !t->force[0])
        ok = run_one(t, NULL, type, acts, data, bytes);
    for (uint32_t f = 0; ok && f < APUS_COUNT(t->force) && t->force[f]; f++)
        ok = run_one(t, t->force[f], type, acts, data, bytes);
    for (uint32_t i = 0; i < t->n_in; i++) {
        apus_free(data[i]);
        apus_free(t->in[i].value);
        t->in[i].value = NULL;
        if (acts >> i & 1)
            t->in[i].dtype = APUS_F32;
    }
    return ok;
}

void optest_run(optest *cases, size_t n)
{
    if (!optest_exec())
        return;
    for (size_t i = 0; i < n; i++)
        run_case(&cases[i], APUS_F32, 0);
}

void optest_run_stored(optest *cases, size_t n, uint32_t acts)
{
    static const apus_dtype types[] = { APUS_F16, APUS_BF16 };

    for (size_t s = 0; s < APUS_COUNT(types) && optest_exec(); s++) {
        size_t fit = 0;
        for (size_t i = 0; i < n; i++)
            fit += run_case(&cases[i], types[s], acts);
        harness_check(fit > 0, __FILE__, __LINE__, "no case has rows that %s can store",
                      apus_dtype_of(types[s])->name);
    }
}
