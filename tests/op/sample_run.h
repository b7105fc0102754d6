/* sample_run.h - what the tests of sampling share: a recorded draw with guarded buffers, and the
 * definition of the draw in double precision. */
#ifndef APUS_SAMPLE_RUN_H
#define APUS_SAMPLE_RUN_H

#include <math.h>
#include <stdlib.h>

#include "args/sample.h"
#include "optest.h"
#include "rng.h"
#include "sample.h"

#define SAMPLE_GUARD 256
#define SAMPLE_GUARD_WORD 0x7fc0beefu /* a NaN; as an id far outside */
#define SAMPLE_MOST_TOKENS 128

typedef struct sample_setting {
    float temperature;
    uint32_t top_k;
    float top_p, min_p, penalty;
    uint32_t seed, counter, slot;
} sample_setting;

static const sample_setting sample_plain = { .temperature = 1, .top_p = 1, .penalty = 1 };

typedef struct sampler {
    apus_graph g;
    apus_plan *plan;
    apus_buffer logits, seen, drawn;
    apus_tensor *settings, *tokens, *token_slot;
    uint32_t rows, vocab, slots, words;
} sampler;

/* A buffer with guard words behind `words` words of `fill`. */
static inline bool sampler_buffer(apus_buffer *b, uint64_t words, uint32_t fill)
{
    uint32_t *all = apus_alloc((words + SAMPLE_GUARD) * 4);

    for (uint64_t i = 0; i < words + SAMPLE_GUARD; i++)
        all[i] = i < words ? fill : SAMPLE_GUARD_WORD;
    const bool ok =
        CHECK_OK(apus_buffer_create(optest_gpu(), b, (words + SAMPLE_GUARD) * 4, APUS_MEMORY_DEVICE,
                                    "test")) &&
        CHECK_OK(apus_buffer_write(optest_gpu(), b, 0, all, (words + SAMPLE_GUARD) * 4));
    apus_free(all);
    return ok;
}

static inline void sampler_guarded(apus_buffer *b, uint64_t words)
{
    uint32_t guard[SAMPLE_GUARD], bad = 0;

    CHECK_OK(apus_buffer_read(optest_gpu(), b, words * 4, guard, sizeof(guard)));
    for (uint32_t i = 0; i < SAMPLE_GUARD; i++)
        bad += guard[i] != SAMPLE_GUARD_WORD;
    CHECK_EQ_U64(bad, 0);
}

/* rows: the most; slots 0: no `seen`.  The logits are a view that begins one row into its
 * buffer. */
static inline bool sampler_open(sampler *s, uint32_t rows, uint32_t vocab, uint32_t slots)
{
    *s = (sampler) { .rows = rows, .vocab = vocab, .slots = slots, .words = (vocab + 31) / 32 };
    if (!optest_exec() ||
        !sampler_buffer(&s->logits, (uint64_t)(rows + 1) * vocab, SAMPLE_GUARD_WORD) ||
        !sampler_buffer(&s->drawn, rows, 0xabababab) ||
        (slots && !sampler_buffer(&s->seen, (uint64_t)slots * s->words, 0)))
        return false;
    apus_graph_init(&s->g);
    const uint32_t z_dims[2] = { rows + 1, vocab }, seen_dims[2] = { slots, s->words };
    apus_tensor *all = apus_graph_bound(&s->g, "logits", APUS_F32, 2, z_dims, s->logits.address);
    apus_tensor *z = apus_graph_with_rows(&s->g, apus_graph_slice(&s->g, all, 1, rows),
                                          apus_rows_live(APUS_VAR_SEQUENCES, rows));
    s->settings =
        apus_graph_step(&s->g, "settings", APUS_U32, rows * APUS_SAMPLE_WORDS, APUS_ROWS_ALL);
    if (slots) {
        const apus_rows live = apus_rows_live(APUS_VAR_TOKENS, SAMPLE_MOST_TOKENS);
        s->tokens = apus_graph_step(&s->g, "tokens", APUS_U32, SAMPLE_MOST_TOKENS, live);
        s->token_slot = apus_graph_step(&s->g, "token_slot", APUS_U32, SAMPLE_MOST_TOKENS, live);
    }
    apus_sample(
        &s->g, z,
        &(apus_sample_params) {
            .settings = s->settings,
            .tokens = s->tokens,
            .token_slot = s->token_slot,
            .seen = slots ? apus_graph_bound(&s->g, "seen", APUS_U32, 2, seen_dims, s->seen.address)
                          : NULL,
            .out = apus_graph_bound(&s->g, "drawn", APUS_U32, 1, &rows, s->drawn.address) });
    return CHECK_OK(apus_graph_status(&s->g)) &&
           CHECK_OK(apus_plan_create(&s->plan, optest_exec(), &s->g,
                                     &(apus_plan_params) { .name = "draw" }));
}

static inline void sampler_close(sampler *s)
{
    if (s->plan) {
        sampler_guarded(&s->logits, (uint64_t)(s->rows + 1) * s->vocab);
        sampler_guarded(&s->drawn, s->rows);
        if (s->slots)
            sampler_guarded(&s->seen, (uint64_t)s->slots * s->words);
    }
    apus_plan_destroy(&s->plan);
    apus_graph_release(&s->g);
    apus_buffer_destroy(optest_gpu(), &s->logits);
    apus_buffer_destroy(optest_gpu(), &s->drawn);
    apus_buffer_destroy(optest_gpu(), &s->seen);
}

static inline bool sampler_logits(sampler *s, uint32_t row, const float *z)
{
    return CHECK_OK(apus_buffer_write(optest_gpu(), &s->logits, (uint64_t)(row + 1) * s->vocab * 4,
                                      z, (uint64_t)s->vocab * 4));
}

static inline void sampler_forget(sampler *s)
{
    const uint64_t bytes = (uint64_t)s->slots * s->words * 4;
    void *zero = apus_calloc(bytes, 1);

    CHECK_OK(apus_buffer_write(optest_gpu(), &s->seen, 0, zero, bytes));
    apus_free(zero);
}

/* Draw for rows [0, n); ids gets all rows of the buffer. */
static inline bool sampler_draw(sampler *s, const sample_setting *settings, uint32_t n,
                                const uint32_t *tokens, const uint32_t *token_slot,
                                uint32_t n_tokens, uint32_t *ids)
{
    const apus_step step = apus_plan_step(s->plan);

    memset(apus_step_array(&step, s->settings), 0xff, (size_t)s->rows * APUS_SAMPLE_WORDS * 4);
    memcpy(apus_step_array(&step, s->settings), settings, n * sizeof(*settings));
    if (s->slots && n_tokens) {
        memcpy(apus_step_array(&step, s->tokens), tokens, n_tokens * 4);
        memcpy(apus_step_array(&step, s->token_slot), token_slot, n_tokens * 4);
    }
    step.vars[APUS_VAR_SEQUENCES] = n;
    step.vars[APUS_VAR_TOKENS] = n_tokens;
    return CHECK_OK(apus_plan_run(s->plan, NULL)) &&
           CHECK_OK(apus_buffer_read(optest_gpu(), &s->drawn, 0, ids, s->rows * 4));
}

/* ---- the definition ---- */

static inline double sample_uniform(uint32_t seed, uint32_t counter)
{
    const uint32_t key[2] = { seed, 0x53616D70u }, at[4] = { counter, 0, 0, 0 };
    uint32_t words[4];

    apus_philox(key, at, words);
    return (words[0] >> 8) / 16777216.0;
}

typedef struct sample_item {
    double z;
    uint32_t id;
} sample_item;

static inline int sample_order(const void *a, const void *b)
{
    const sample_item *x = a, *y = b;

    if (x->z != y->z)
        return x->z < y->z ? 1 : -1;
    return x->id < y->id ? 1 : -1; /* downwards, as an ascending stable sort read from its end */
}

/* weight[v] of every id, 0 where it is filtered out; returns how near top-p's cut came to a change
 * (as a share of the mass). */
static inline double sample_define(const float *logits, uint32_t vocab, const sample_setting *p,
                                   const uint8_t *seen, double *weight)
{
    sample_item *x = apus_alloc(vocab * sizeof(*x));
    uint32_t n = 0, keep;
    double near = 1, total = 0, before = 0;

    for (uint32_t v = 0; v < vocab; v++) {
        double z = (double)logits[v];
        weight[v] = 0;
        if (seen && seen[v])
            z = z < 0 ? z * (double)p->penalty : z / (double)p->penalty;
        if (z > (double)-INFINITY) /* NaN is not */
            x[n++] = (sample_item) { (double)(float)z, v };
    }
    qsort(x, n, sizeof(*x), sample_order);
    keep = n;
    if (p->top_k && p->top_k < n) {
        keep = p->top_k;
        while (keep < n && x[keep].z == x[keep - 1].z)
            keep++;
    }
    for (uint32_t i = 0; i < keep; i++)
        total += weight[x[i].id] = exp((x[i].z - x[0].z) / (double)p->temperature);
    for (uint32_t i = 0; i < keep; i++) {
        const double w = weight[x[i].id];
        if (p->top_p < 1 && i > 0) {
            near = fmin(near, fabs(before / total - (double)p->top_p));
            if (before / total >= (double)p->top_p)
                weight[x[i].id] = 0;
        }
        if (w < (double)p->min_p)
            weight[x[i].id] = 0;
        before += w;
    }
    apus_free(x);
    return near;
}

/* Is `id` what u draws, u being allowed to be wrong by `slack`? */
static inline bool sample_agrees(const double *weight, uint32_t vocab, double u, uint32_t id,
                                 double slack)
{
    double total = 0, before = 0;

    if (id >= vocab || !(weight[id] > 0))
        return false;
    for (uint32_t v = 0; v < vocab; v++)
        total += weight[v];
    for (uint32_t v = 0; v < id; v++)
        before += weight[v];
    return u >= before / total - slack && u <= (before + weight[id]) / total + slack;
}

/* Does the definition draw `id`?  Sums in single precision may put the cut of top-p one id
 * further where
 * it is that near: then the id must be right for a top_p a hundred-thousandth away. */
static inline bool sample_is_defined(const float *logits, uint32_t vocab, const sample_setting *p,
                                     const uint8_t *seen, double *weight, uint32_t id)
{
    const double u = sample_uniform(p->seed, p->counter);
    const double near = sample_define(logits, vocab, p, seen, weight);
    sample_setting other = *p;

    if (sample_agrees(weight, vocab, u, id, 4e-6))
        return true;
    for (int side = -1; side <= 1 && near < 4e-6; side += 2) {
        other.top_p = p->top_p + (float)side * 1e-5f;
        sample_define(logits, vocab, &other, seen, weight);
        if (sample_agrees(weight, vocab, u, id, 2e-5))
            return true;
    }
    return false;
}

#endif
