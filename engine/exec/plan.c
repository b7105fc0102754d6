/* plan.c - the memory planner: greedy by size.  The largest tensor goes to the lowest place where
 * it meets nobody, then the next; that is within a few per cent of the lower bound on the graphs of
 * language models.  Pisarchyk and Lee, Efficient memory management for deep neural net inference,
 * 2020 (arXiv:2001.03288), section 5.2. */
#include "plan.h"

#include "base.h"

#define ALIGN 256

typedef struct span {
    apus_tensor *t;
    uint32_t first, last; /* node ids, inclusive */
    uint64_t bytes, at;
} span;

/* One span for each planned tensor; index by tensor id in `of` (UINT32_MAX: none). */
static uint32_t collect(const apus_graph *g, span *spans, uint32_t *of)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < g->n_tensors; i++) {
        apus_tensor *t = g->tensors[i];
        of[i] = UINT32_MAX;
        if (t->storage != APUS_STORE_PLANNED)
            continue;
        of[i] = n;
        spans[n++] = (span) { .t = t,
                              .first = t->producer->id,
                              .last = t->keep ? g->n_nodes : t->producer->id,
                              .bytes = apus_round_up(t->bytes, ALIGN) };
    }
    for (uint32_t i = 0; i < g->n_tensors; i++) { /* a kept view keeps what it views */
        const apus_tensor *root = apus_tensor_root(g->tensors[i], NULL);
        if (g->tensors[i]->keep && of[root->id] != UINT32_MAX)
            spans[of[root->id]].last = g->n_nodes;
    }
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i]->n_in; k++) {
            if (!g->nodes[i]->in[k])
                continue;
            const apus_tensor *root = apus_tensor_root(g->nodes[i]->in[k], NULL);
            if (of[root->id] != UINT32_MAX && spans[of[root->id]].last < i)
                spans[of[root->id]].last = i;
        }
    return n;
}

static int by_bytes(const void *a, const void *b)
{
    const span *x = a, *y = b;

    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x->t->id < y->t->id ? -1 : 1;
}

static int by_place(const void *a, const void *b)
{
    const span *x = *(const span *const *)a, *y = *(const span *const *)b;

    return x->at < y->at ? -1 : x->at > y->at;
}

/* The lowest offset where s meets none of the first n placed spans. */
static void place(span *s, span *spans, uint32_t n, span **meets, uint64_t block)
{
    uint32_t n_meets = 0;
    uint64_t at = 0;

    for (uint32_t i = 0; i < n; i++)
        if (spans[i].first <= s->last && s->first <= spans[i].last)
            meets[n_meets++] = &spans[i];
    qsort(meets, n_meets, sizeof(*meets), by_place);
    for (uint32_t i = 0; i <= n_meets; i++) {
        if (at / block != (at + s->bytes - 1) / block)
            at = apus_round_up(at, block);
        if (i == n_meets || at + s->bytes <= meets[i]->at)
            break;
        if (meets[i]->at + meets[i]->bytes > at)
            at = meets[i]->at + meets[i]->bytes;
    }
    s->at = at;
    s->t->at = at;
}

static uint64_t largest_live_sum(const span *spans, uint32_t n, uint32_t n_nodes, int64_t *delta)
{
    uint64_t most = 0;
    int64_t live = 0;

    for (uint32_t i = 0; i < n; i++) {
        delta[spans[i].first] += (int64_t)spans[i].bytes;
        delta[spans[i].last + 1] -= (int64_t)spans[i].bytes;
    }
    for (uint32_t i = 0; i <= n_nodes; i++) {
        live += delta[i];
        if ((uint64_t)live > most)
            most = (uint64_t)live;
    }
    return most;
}

apus_status apus_memory_plan_make(apus_memory_plan *plan, apus_graph *g, uint64_t block)
{
    apus_status st = APUS_OK;
    span *spans = apus_calloc(g->n_tensors + 1, sizeof(*spans));
    uint32_t *of = apus_calloc(g->n_tensors + 1, sizeof(*of));
    span **meets = apus_calloc(g->n_tensors + 1, sizeof(*meets));
    int64_t *delta = apus_calloc(g->n_nodes + 2, sizeof(*delta));

    *plan = (apus_memory_plan) { 0 };
    if (!spans || !of || !meets || !delta)
        APUS_TRY(APUS_ERR_MEMORY);
    const uint32_t n = collect(g, spans, of);
    plan->peak_live = largest_live_sum(spans, n, g->n_nodes, delta);
    qsort(spans, n, sizeof(*spans), by_bytes);
    for (uint32_t i = 0; i < n; i++) {
        if (spans[i].bytes > block)
            APUS_TRY(apus_fail(APUS_ERR_MEMORY,
                               "a tensor of %s takes %.1f MiB, more than one "
                               "allocation of this device may be (%.1f MiB); use a smaller batch "
                               "or --max_length",
                               spans[i].t->name, (double)spans[i].bytes / 1048576,
                               (double)block / 1048576));
        place(&spans[i], spans, i, meets, block);
        if (spans[i].at + spans[i].bytes > plan->bytes)
            plan->bytes = spans[i].at + spans[i].bytes;
    }

fail:
    apus_free(spans);
    apus_free(of);
    apus_free(meets);
    apus_free(delta);
    return st;
}
