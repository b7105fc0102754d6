/* adamw.c - tests of apus_adamw against algorithm 2 of arXiv:1711.05101 in double precision. */
#include "adamw.h"

#include <math.h>

#include "args/train_state.h"
#include "optest.h"

enum { W, GRAD, M, V, STATE, COPY };

struct params {
    apus_adamw_params adamw;
    float lr, clip;
    uint32_t step;
    uint32_t fourth; /* which input is the fourth output: GRAD or COPY */
};

/* One element's step: what becomes of it, and the sizes that bounds are made of. */
typedef struct element {
    double w, m, v;
    double m_terms, update; /* sum of m's absolute terms; what is taken from w */
    double update_terms;    /* the update of m_terms */
} element;

static void set(optest *t, apus_step_var var, double value)
{
    const float f = (float)value;

    memcpy(&t->vars[var], &f, 4);
}

static double get(const optest *t, apus_step_var var)
{
    float f;

    memcpy(&f, &t->vars[var], 4);
    return (double)f;
}

static void fill(optest *t)
{
    const struct params *p = t->params;
    uint64_t state = 3;

    set(t, APUS_VAR_LR, (double)p->lr);
    set(t, APUS_VAR_BIAS1, 1 - pow((double)p->adamw.beta1, p->step));
    set(t, APUS_VAR_BIAS2, sqrt(1 - pow((double)p->adamw.beta2, p->step)));
    t->in[STATE].value = apus_calloc(APUS_STATE_WORDS, sizeof(double));
    t->in[STATE].value[APUS_STATE_CLIP] = (double)p->clip;
    t->in[V].value = apus_calloc(t->in[V].dims[0], sizeof(double));
    for (uint32_t i = 0; i < t->in[V].dims[0]; i++) /* squares are not negative; some are 0 */
        t->in[V].value[i] = i % 5 ? fabs(optest_random(&state)) * 1e-3 : 0;
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const struct params *p = t->params;

    apus_adamw(g, in[W], in[GRAD], in[M], in[V], p->fourth == COPY ? in[COPY] : NULL, in[STATE],
               &p->adamw);
    outs[0] = in[W];
    outs[1] = in[M];
    outs[2] = in[V];
    outs[3] = in[p->fourth];
}

static element one(const optest *t, const double *const *in, uint32_t i)
{
    const struct params *p = t->params;
    const double b1 = (double)p->adamw.beta1, b2 = (double)p->adamw.beta2;
    const double lr = get(t, APUS_VAR_LR), g = in[GRAD][i] * (double)p->clip;
    element e = { .w = in[W][i], .m = in[M][i], .v = in[V][i] };

    if (p->clip == 0)
        return e;
    if (i < p->adamw.n_decay)
        e.w -= lr * (double)p->adamw.decay * e.w;
    e.m_terms = fabs(b1 * e.m) + fabs((1 - b1) * g);
    e.m = b1 * e.m + (1 - b1) * g;
    e.v = b2 * e.v + (1 - b2) * g * g;
    const double rate =
        lr / get(t, APUS_VAR_BIAS1) / (sqrt(e.v) / get(t, APUS_VAR_BIAS2) + (double)p->adamw.eps);
    e.update_terms = rate * e.m_terms;
    e.update = rate * e.m;
    e.w -= e.update;
    return e;
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const struct params *p = t->params;

    for (uint32_t i = 0; i < t->in[W].dims[0]; i++) {
        const element e = one(t, in, i);
        out[0][i] = e.w;
        out[1][i] = e.m;
        out[2][i] = e.v;
        out[3][i] = p->fourth == GRAD ? 0 : p->clip != 0 ? e.w : in[COPY][i];
        if (p->clip == 0) /* a skipped step is exact */
            continue;
        mag[0][i] = fabs(in[W][i]) + fabs(e.update);
        mag[1][i] = e.m_terms;
        mag[2][i] = fabs(e.v);
        mag[3][i] = p->fourth == COPY ? mag[0][i] : 0;
    }
    *terms = 3;
}

/* Of w: m carries 3 roundings of its terms; the root of v is a division (2.5 ulp) by an inversesqrt
 * (2 ulp), and three more divisions follow: 12 ulp and two roundings of the update.  Of the copy:
 * half an ulp of its format besides. */
static double extra(const optest *t, const double *const *in, uint32_t o, uint64_t i)
{
    const struct params *p = t->params;
    const element e = one(t, in, (uint32_t)i);
    const double off = e.update_terms * 3 * 0x1p-24 + fabs(e.update) * 13 * 0x1p-23;

    if (p->clip == 0 || o == 1 || o == 2 || (o == 3 && p->fourth == GRAD))
        return 0;
    if (o == 0)
        return off;
    return off + (fabs(e.w) + off) * (t->in[COPY].dtype == APUS_F16 ? 0x1p-11 : 0x1p-8) + 0x1p-25;
}

#define CASE(text, n, fourth_, type, lr_, clip_, step_, ...)                                       \
    {                                                                                              \
        .name = text, .fill = fill, .build = build, .define = define, .extra = extra,              \
        .params = &(const struct params) { { __VA_ARGS__ }, lr_, clip_, step_, fourth_ },          \
        .out = { { "w" }, { "m" }, { "v" }, { fourth_ == COPY ? "copy" : "grad" } }, .in = {       \
            { "w", APUS_F32, 1, { n }, .fixed = true },                                            \
            { "grad", APUS_F32, 1, { n }, .fixed = true, .scale = 3 },                             \
            { "m", APUS_F32, 1, { n }, .fixed = true, .scale = 0.1f },                             \
            { "v", APUS_F32, 1, { n }, .fixed = true },                                            \
            { "state", APUS_F32, 1, { APUS_STATE_WORDS }, .fixed = true },                         \
            { "copy", type, 1, { n }, .fixed = true }                                              \
        }                                                                                          \
    }
#define USUAL 0.9f, 0.999f, 1e-8f, 0.1f

TEST(one_step)
{
    optest cases[] = {
        CASE("four elements", 4, GRAD, APUS_F16, 1e-3f, 1, 1, USUAL, 4),
        CASE("one more than a workgroup", 260, GRAD, APUS_F16, 1e-3f, 0.25f, 7, USUAL, 256),
        CASE("nothing decays", 260, GRAD, APUS_F16, 1e-2f, 1, 1000, 0.9f, 0.95f, 1e-6f, 0.5f, 0),
        CASE("f16 copy", 1024, COPY, APUS_F16, 1e-1f, 0.5f, 2, USUAL, 512),
        CASE("bf16 copy", 1024, COPY, APUS_BF16, 1e-1f, 0.5f, 2, USUAL, 512),
        CASE("skipped: gradients become 0", 260, GRAD, APUS_F16, 1e-1f, 0, 2, USUAL, 260),
        CASE("skipped: the copy stays", 260, COPY, APUS_F16, 1e-1f, 0, 2, USUAL, 260),
        CASE("eps weighs more than v", 64, GRAD, APUS_F16, 1e-1f, 1e-6f, 2, 0.5f, 0.5f, 1, 0, 0),
    };
    optest_run(cases, APUS_COUNT(cases));
}
