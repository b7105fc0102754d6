/* matmul_cases.h - a case of apus_matmul: its graph, its definition, the exact algorithms. */
#ifndef MATMUL_CASES_H
#define MATMUL_CASES_H

#include <math.h>

#include "matmul.h"
#include "optest.h"

struct params {
    apus_matmul_kind kind;
    bool bias, acc;
    float alpha;
    bool wide;      /* the result is f32 */
    apus_dtype to;  /* or this; else it is as a */
    uint32_t parts; /* of the sum */
    bool ends;      /* factors beyond f16's largest number count as that */
};

static inline void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const struct params *p = t->params;

    outs[0] = apus_matmul(g, in[0], in[1],
                          &(apus_matmul_params) { .kind = p->kind,
                                                  .alpha = p->alpha,
                                                  .parts = p->parts,
                                                  .out = p->wide ? APUS_F32
                                                         : p->to ? p->to
                                                                 : in[0]->dtype,
                                                  .bias = p->bias ? in[2 + p->acc] : NULL,
                                                  .acc = p->acc ? in[2] : NULL });
    if (outs[0] && p->kind != APUS_NT)
        outs[0]->wants_grad = false;
}

static inline void define(const optest *t, const double *const *in, double **out, double **mag,
                          uint32_t *terms)
{
    const struct params *p = t->params;
    const uint32_t *a = t->in[0].dims, *b = t->in[1].dims;
    const uint32_t m = p->kind == APUS_TN ? a[1] : a[0], k = p->kind == APUS_TN ? a[0] : a[1];
    const uint32_t n = p->kind == APUS_NT ? b[0] : b[1];
    const double alpha = p->alpha == 0 ? 1 : (double)p->alpha;
    uint32_t live_k = k;

    if (p->kind == APUS_TN && t->in[0].rows.max)
        live_k = t->vars[t->in[0].rows.var];
    for (uint32_t i = 0; i < m; i++)
        for (uint32_t j = 0; j < n; j++) {
            double sum = 0, all = 0;
            for (uint32_t x = 0; x < live_k; x++) {
                const double a_ik = in[0][p->kind == APUS_TN ? x * m + i : i * k + x];
                const double term = alpha * (p->ends ? fmax(-65504, fmin(65504, a_ik)) : a_ik) *
                                    in[1][p->kind == APUS_NT ? j * k + x : x * n + j];
                sum += term;
                all += fabs(term);
            }
            if (p->bias)
                sum += in[2 + p->acc][j], all += fabs(in[2 + p->acc][j]);
            if (p->acc)
                sum += in[2][i * n + j], all += fabs(in[2][i * n + j]);
            out[0][i * n + j] = sum;
            mag[0][i * n + j] = all;
        }
    *terms = live_k + 3 + p->parts;
}

#define COOP_F16                                                                                   \
    {                                                                                              \
        "matmul:coop"                                                                              \
    }
#define COOP_BF16                                                                                  \
    {                                                                                              \
        "matmul:coop_bf16", "matmul:coop_bf16_large"                                               \
    }
#define EXACT                                                                                      \
    {                                                                                              \
        "matmul:plain", "matmul:cpu", "matmul:vec", "matmul:vec_cpu", "matmul:dot_cpu",            \
            "matmul:row_cpu", "matmul:tile"                                                        \
    }
/* `kind_` with a result of (m, n) and sums over k. */
#define SHAPES(kind_, m, n, k, type)                                                               \
    .build = build, .define = define, .out = { { "y" } },                                          \
    .in = { { "a", APUS_F32, 2, { (kind_) == APUS_TN ? k : m, (kind_) == APUS_TN ? m : k } },      \
            { "b",                                                                                 \
              type,                                                                                \
              2,                                                                                   \
              { (kind_) == APUS_NT ? n : k, (kind_) == APUS_NT ? k : n },                          \
              .trained = true } }
#define CASE(text, kind_, m, n, k, type, ...)                                                      \
    {                                                                                              \
        .name = text, .force = EXACT, SHAPES(kind_, m, n, k, type),                                \
        .params = &(const struct params)                                                           \
        {                                                                                          \
            .kind = kind_, __VA_ARGS__                                                             \
        }                                                                                          \
    }
#define NARROW(text, bits, force_, kind_, m, n, k, type, ...)                                      \
    {                                                                                              \
        .name = text, .force = force_, .narrow = bits, SHAPES(kind_, m, n, k, type),               \
        .params = &(const struct params)                                                           \
        {                                                                                          \
            .kind = kind_, __VA_ARGS__                                                             \
        }                                                                                          \
    }

#endif
