/* sequences.h - steps of several sequences, for the tests of attention and of the cache, and
 * attention by its definition. */
#ifndef APUS_TESTS_OP_SEQUENCES_H
#define APUS_TESTS_OP_SEQUENCES_H

#include <math.h>

#include "attention.h"
#include "optest.h"

#define SEQS 4
#define ROOM 512 /* elements of an array of the step buffer, at most */

/* What a case is made of: sequences one after the other, each of `before` tokens that the cache has
 * already and `rows` tokens of this step. */
typedef struct step_shape {
    apus_attention_params p;
    uint32_t n, before[SEQS], rows[SEQS];
    bool sinks;            /* a logit of each head in the softmax's sum */
    bool cached;           /* keys by shuffled pages of a cache, not the step's own rows */
    uint32_t page_tokens;  /* 0: 8 */
    uint32_t block_tokens; /* 0: what apus_attention_block_tokens says */
    uint32_t spare;        /* rows, blocks and sequences that are not live */
    uint32_t pos[ROOM], seq[ROOM], base[SEQS * 2], length[SEQS * 2], pages[ROOM], blocks[ROOM];
} step_shape;

static inline uint32_t step_page(const step_shape *t)
{
    return t->page_tokens ? t->page_tokens : 8;
}

static inline uint32_t step_rows(const step_shape *t)
{
    uint32_t rows = 0;

    for (uint32_t i = 0; i < t->n; i++)
        rows += t->rows[i];
    return rows;
}

/* Pages a sequence may have. */
static inline uint32_t step_max_pages(const step_shape *t)
{
    uint32_t most = t->cached ? 0 : step_rows(t) + t->spare;

    for (uint32_t i = 0; i < t->n && t->cached; i++)
        most = t->before[i] + t->rows[i] > most ? t->before[i] + t->rows[i] : most;
    return (uint32_t)apus_ceil_div(most, step_page(t)) + 1;
}

/* Row of key j of sequence s, written down from the definition of the page table. */
static inline uint32_t step_key_row(const step_shape *t, uint32_t s, uint32_t j)
{
    const uint32_t at = j + t->base[s], page = step_page(t);

    return t->pages[s * step_max_pages(t) + at / page] * page + at % page;
}

/* Rows of the keys: the cache's, or the step's. */
static inline uint32_t step_key_rows(const step_shape *t)
{
    return t->cached ? t->n * step_max_pages(t) * step_page(t) : step_rows(t) + t->spare;
}

static inline uint32_t step_max_blocks(const step_shape *t)
{
    return step_rows(t) + t->spare;
}

static inline uint32_t step_block_tokens(const step_shape *t)
{
    return t->block_tokens
               ? t->block_tokens
               : apus_attention_block_tokens(apus_gpu_caps(optest_gpu()), t->p.heads, t->p.kv_heads,
                                             t->p.head_dim, step_rows(t));
}

/* The arrays of the step; dead entries hold numbers that would be seen if they were used. */
static inline uint32_t step_fill(step_shape *t)
{
    const uint32_t max_pages = step_max_pages(t), all = t->n * max_pages;
    uint32_t first[SEQS], at = 0;

    for (uint32_t i = 0; i < ROOM; i++) {
        t->pos[i] = t->seq[i] = 0;
        t->blocks[i] = t->pages[i] = 0;
    }
    for (uint32_t s = 0; s < t->n; s++) {
        first[s] = at;
        t->base[s] = t->cached ? 0 : at;
        t->length[s] = t->before[s] + t->rows[s];
        for (uint32_t i = 0; i < t->rows[s]; i++, at++) {
            t->pos[at] = t->before[s] + i;
            t->seq[at] = s;
        }
        for (uint32_t i = 0; i < max_pages; i++) /* a factor that shares none with `all` shuffles
                                                    them */
            t->pages[s * max_pages + i] =
                t->cached ? ((all % 7 ? 7 : 11) * (s * max_pages + i) + 3) % all : i;
    }
    CHECK(all % 7 != 0 || all % 11 != 0);
    return apus_blocks_fill(t->blocks, first, t->rows, t->n, step_block_tokens(t));
}

/* The inputs pos, seq, base, length, pages, blocks of a case, from `at` on. */
static inline void step_inputs(optest *t, step_shape *p, uint32_t at)
{
    const uint32_t rows = step_rows(p), max = rows + p->spare, blocks = step_max_blocks(p);
    const apus_rows live = { APUS_VAR_TOKENS, 0, max, 1 };

    t->vars[APUS_VAR_BLOCKS] = step_fill(p);
    t->vars[APUS_VAR_TOKENS] = rows;
    t->vars[APUS_VAR_SEQUENCES] = p->n;
    t->in[at] =
        (optest_tensor) { "pos", APUS_U32, 1, { max }, .step = true, .rows = live, .u32 = p->pos };
    t->in[at + 1] =
        (optest_tensor) { "seq", APUS_U32, 1, { max }, .step = true, .rows = live, .u32 = p->seq };
    t->in[at + 2] = (optest_tensor) { "base", APUS_U32, 1, { p->n }, .step = true, .u32 = p->base };
    t->in[at + 3] =
        (optest_tensor) { "length", APUS_U32, 1, { p->n }, .step = true, .u32 = p->length };
    t->in[at + 4] = (optest_tensor) { "pages",      APUS_U32,       1, { p->n * step_max_pages(p) },
                                      .step = true, .u32 = p->pages };
    t->in[at + 5] =
        (optest_tensor) { "blocks",        APUS_U32,     1,
                          { 2 * blocks },  .step = true, .rows = { APUS_VAR_BLOCKS, 0, blocks, 2 },
                          .u32 = p->blocks };
    CHECK(max <= ROOM && 2 * blocks <= ROOM && p->n * step_max_pages(p) <= ROOM);
}

/* The sequences as the builders take them, from inputs `at` on. */
static inline apus_sequences step_sequences(const step_shape *p, apus_tensor *const *in,
                                            uint32_t at)
{
    return (apus_sequences) {
        .pos = in[at],
        .seq = in[at + 1],
        .base = in[at + 2],
        .length = in[at + 3],
        .pages = in[at + 4],
        .blocks = in[at + 5],
        .page_tokens = step_page(p),
        .max_pages = step_max_pages(p),
        .block_tokens = step_block_tokens(p),
        .max_blocks = step_max_blocks(p),
    };
}

/* Inputs of attention: values, then the arrays of the step, then the sinks if there are any. */
enum { IN_Q, IN_K, IN_V, IN_SEQS, IN_SINKS = IN_SEQS + 6 };

/* Inputs of attention, given the shape in t->params. */
static inline void attention_fill(optest *t)
{
    step_shape *p = (step_shape *)(uintptr_t)t->params;
    const apus_attention_params *a = &p->p;
    const uint32_t rows = step_rows(p), max = rows + p->spare, key_rows = step_key_rows(p);
    const apus_dtype kv = p->cached ? t->in[IN_K].dtype : APUS_F32;
    const apus_rows live = { APUS_VAR_TOKENS, 0, max, 1 };

    t->in[IN_Q] = (optest_tensor) {
        "q",          APUS_F32,          2, { max, a->heads * a->head_dim }, .scale = 2,
        .rows = live, .fixed = p->cached
    };
    t->in[IN_K] = (optest_tensor) { "k",        kv,
                                    2,          { key_rows, a->kv_heads * a->head_dim },
                                    .scale = 2, .fixed = p->cached };
    t->in[IN_V] =
        (optest_tensor) { "v", kv, 2, { key_rows, a->kv_heads * a->head_dim }, .fixed = p->cached };
    if (!p->cached)
        t->in[IN_K].rows = t->in[IN_V].rows = live;
    step_inputs(t, p, IN_SEQS);
    t->n_in = IN_SINKS + p->sinks;
    if (p->sinks)
        t->in[IN_SINKS] =
            (optest_tensor) { "sinks",         APUS_F32,          1, { a->heads }, .scale = 3,
                              .trained = true, .fixed = p->cached };
}

/* The parameters as the builder takes them. */
static inline apus_attention_params attention_params(const step_shape *t,
                                                     const apus_attention_params *p,
                                                     apus_tensor *const *in)
{
    apus_attention_params params = *p;

    params.sinks = t->sinks ? in[IN_SINKS] : NULL;
    return params;
}

static inline bool attention_sees(const apus_attention_params *a, uint32_t pos, uint32_t key)
{
    return (a->bidirectional || key <= pos) && (a->window == 0 || (double)pos - key < a->window);
}

/* One row and head: o (head_dim), the log-sum-exp, and for both the size of what is summed. */
static inline void attention_row(const step_shape *p, const apus_attention_params *a,
                                 const double *const *in, uint32_t row, uint32_t head, double *o,
                                 double *o_mag, double *lse, double *lse_mag)
{
    const uint32_t e = a->head_dim, s = p->seq[row], width = a->kv_heads * e;
    const uint32_t kv_head = head / (a->heads / a->kv_heads);
    const double *q = in[IN_Q] + ((size_t)row * a->heads + head) * e;
    const double scale = a->scale != 0 ? (double)a->scale : 1 / sqrt(e);
    const double cap = (double)a->softcap, sink = p->sinks ? in[IN_SINKS][head] : 0;
    double *score = apus_calloc(p->length[s], sizeof(double)), top = -INFINITY, sum = 0, size = 0;

    for (uint32_t j = 0; j < p->length[s]; j++) {
        const double *k = in[IN_K] + (size_t)step_key_row(p, s, j) * width + kv_head * e;
        double all = 0;
        if (!attention_sees(a, p->pos[row], j))
            continue;
        for (uint32_t i = 0; i < e; i++) {
            score[j] += scale * q[i] * k[i];
            all += fabs(scale * q[i] * k[i]);
        }
        if (cap > 0)
            score[j] = cap * tanh(score[j] / cap);
        top = fmax(top, score[j]);
        size = fmax(size, all);
    }
    if (p->sinks) {
        top = fmax(top, sink);
        size = fmax(size, fabs(sink));
        sum = exp(sink - top);
    }
    for (uint32_t j = 0; j < p->length[s]; j++)
        sum += attention_sees(a, p->pos[row], j) ? exp(score[j] - top) : 0;
    for (uint32_t i = 0; i < e; i++)
        o[i] = o_mag[i] = 0;
    for (uint32_t j = 0; j < p->length[s]; j++) {
        const double *v = in[IN_V] + (size_t)step_key_row(p, s, j) * width + kv_head * e;
        const double share = exp(score[j] - top) / sum;
        if (!attention_sees(a, p->pos[row], j))
            continue;
        for (uint32_t i = 0; i < e; i++) {
            o[i] += share * v[i];
            o_mag[i] += fabs(share * v[i]) * (1 + 2 * size); /* an error of a score is one of
                                                                exp(score) */
        }
    }
    *lse = top + log(sum);
    *lse_mag = 1 + size + fabs(*lse);
    apus_free(score);
}

/* Terms of the longest sum. */
static inline uint32_t attention_terms(const step_shape *p)
{
    uint32_t most = 0;

    for (uint32_t s = 0; s < p->n; s++)
        most = p->length[s] > most ? p->length[s] : most;
    return most + p->p.head_dim + 8;
}

#endif
