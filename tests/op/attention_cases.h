/* attention_cases.h - a case of apus_attention: its graph, its definition, its shape. */
#ifndef ATTENTION_CASES_H
#define ATTENTION_CASES_H

#include "attention.h"
#include "optest.h"
#include "sequences.h"

static inline void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const step_shape *p = t->params;
    const apus_sequences s = step_sequences(p, in, IN_SEQS);
    const apus_attention_params params = attention_params(p, &p->p, in);

    outs[0] = apus_attention(g, in[IN_Q], in[IN_K], in[IN_V], &s, &params, &outs[1]);
}

static inline void define(const optest *t, const double *const *in, double **out, double **mag,
                          uint32_t *terms)
{
    const step_shape *p = t->params;
    const apus_attention_params *a = &p->p;
    const uint32_t e = a->head_dim;

    for (uint32_t row = 0; row < step_rows(p); row++)
        for (uint32_t h = 0; h < a->heads; h++) {
            const size_t at = (size_t)row * a->heads + h;
            attention_row(p, a, in, row, h, out[0] + at * e, mag[0] + at * e, &out[1][at],
                          &mag[1][at]);
        }
    *terms = attention_terms(p);
}

#define DEFINED                                                                                    \
    .fill = attention_fill, .build = build, .define = define, .out = { { "o" }, { "lse" } }
#define SHAPE(h, k, e, ...)                                                                        \
    (&(step_shape) { .p.heads = h, .p.kv_heads = k, .p.head_dim = e, __VA_ARGS__ })

#endif
