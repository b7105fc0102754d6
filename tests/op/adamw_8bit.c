/* adamw_8bit.c - tests of apus_adamw_8bit against algorithm 2 of arXiv:1711.05101 with the dynamic
 * quantization of arXiv:2110.02861, section 1.3, by blocks of 256 (2.1), in double precision. */
#include "adamw_8bit.h"

#include <math.h>

#include "args/adamw_8bit.h"
#include "optest.h"

/* The program is linked with apus_gpu_caps wrapped (ld --wrap), so that what GPUs run, a workgroup
 * of several subgroups, runs on a CPU driver too. */
const apus_caps *__real_apus_gpu_caps(const apus_gpu *gpu);
const apus_caps *__wrap_apus_gpu_caps(const apus_gpu *gpu);

static bool as_gpu;

const apus_caps *__wrap_apus_gpu_caps(const apus_gpu *gpu)
{
    static apus_caps c; /* made anew each time, always the same */

    c = *__real_apus_gpu_caps(gpu);
    if (as_gpu)
        c.device_class = APUS_CLASS_GPU;
    return &c;
}

static void run(optest *cases, size_t n)
{
    for (int gpu = 0; gpu < 2; gpu++) {
        as_gpu = gpu;
        optest_run(cases, n);
    }
    as_gpu = false;
}

enum { W, GRAD, CODES_M, CODES_V, SCALES, WIDE_M, WIDE_V, STATE, RUNS, COPY, NOTHING };

#define BLOCK 256u
#define MOST_PARTS 8

/* Parts of the slab, in its order: elements, and whether their moments are codes. */
typedef struct part {
    uint32_t n;
    bool coded;
} part;

typedef enum beginning { AT_RANDOM, FROM_ZERO, NO_GRADIENT } beginning;

struct params {
    apus_adamw_params adamw;
    float lr, clip;
    uint32_t step;
    beginning beginning;
    uint32_t outs[4];
    part parts[MOST_PARTS];
    uint32_t repeat; /* the first part so many times; 0: once each */
};

/* ---- the slab's blocks ---- */

/* Where an element's moments are: its block among those of its kind, its place in it. */
typedef struct place {
    bool coded;
    uint32_t block, at;
} place;

/* What the slab is made of, worked out anew for each case. */
static struct {
    part *parts;
    uint32_t n_parts, n, n_coded, n_wide;
    place *places; /* one an element */
} slab;

static void lay_out(const struct params *p)
{
    uint32_t at = 0;

    apus_free(slab.parts);
    apus_free(slab.places);
    slab.n_parts = p->repeat;
    for (uint32_t i = 0; !p->repeat && i < MOST_PARTS && p->parts[i].n; i++)
        slab.n_parts++;
    slab.parts = apus_calloc(slab.n_parts, sizeof(*slab.parts));
    slab.n = slab.n_coded = slab.n_wide = 0;
    for (uint32_t i = 0; i < slab.n_parts; i++) {
        slab.parts[i] = p->parts[p->repeat ? 0 : i];
        slab.n += slab.parts[i].n;
    }
    slab.places = apus_calloc(slab.n, sizeof(*slab.places));
    for (uint32_t i = 0; i < slab.n_parts; i++) {
        uint32_t *blocks = slab.parts[i].coded ? &slab.n_coded : &slab.n_wide;
        for (uint32_t e = 0; e < slab.parts[i].n; e++)
            slab.places[at++] = (place) { slab.parts[i].coded, *blocks + e / BLOCK, e % BLOCK };
        *blocks += (slab.parts[i].n + BLOCK - 1) / BLOCK;
    }
}

/* The runs: those of coded parts, then the others, with blocks counted through. */
static uint32_t *make_runs(void)
{
    uint32_t *runs = apus_calloc(4 * (size_t)slab.n_parts, sizeof(*runs)), n = 0, block = 0;

    for (int coded = 1; coded >= 0; coded--)
        for (uint32_t i = 0, at = 0; i < slab.n_parts; at += slab.parts[i++].n) {
            if (slab.parts[i].coded != coded)
                continue;
            runs[4 * n] = block;
            runs[4 * n + 1] = at / 4;
            runs[4 * n++ + 2] = slab.parts[i].n / 4;
            block += (slab.parts[i].n + BLOCK - 1) / BLOCK;
        }
    return runs;
}

/* ---- the quantizer ---- */

static double shares[2][256]; /* of m, of v; ascending */

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* Decades 10^-6 ... 1 of 2^i (with a sign) or 2^(i + 1) values, the middles of as many equal parts
 * of [0.1, 1]; then 0 and 1. */
static void make_shares(bool with_sign, double *out)
{
    uint32_t n = 0;

    for (int i = 0; i < 7; i++) {
        const int parts = 1 << (with_sign ? i : i + 1);
        for (int k = 0; k < parts; k++) {
            const double middle = pow(10, i - 6) * (0.1 + 0.9 * (k + 0.5) / parts);
            out[n++] = middle;
            if (with_sign)
                out[n++] = -middle;
        }
    }
    out[n++] = 0;
    out[n++] = 1;
    APUS_BUG_IF(n != 256);
    qsort(out, n, sizeof(*out), ascending);
}

/* The nearest code; that of a second moment above 0 is not 0.  *off is how far x is from where
 * another would be taken. */
static uint32_t encode(bool second, double x, double *off)
{
    const double *table = shares[second];
    const uint32_t least = second && x > 0;
    uint32_t best = least;

    for (uint32_t c = least; c < 256; c++)
        if (fabs(table[c] - x) < fabs(table[best] - x))
            best = c;
    *off = INFINITY;
    if (best > least)
        *off = x - (table[best - 1] + table[best]) / 2;
    if (best < 255)
        *off = fmin(*off, (table[best] + table[best + 1]) / 2 - x);
    return best;
}

/* ---- one element ---- */

typedef struct element {
    double w, m, v;
    double m_terms, update, update_terms;
} element;

static double step_var(const optest *t, apus_step_var var)
{
    float f;

    memcpy(&f, &t->vars[var], 4);
    return (double)f;
}

static uint8_t code_of(const optest *t, uint32_t input, const place *x)
{
    return ((const uint8_t *)t->in[input].u32)[x->block * BLOCK + x->at];
}

static element one(const optest *t, const double *const *in, uint32_t i)
{
    const struct params *p = t->params;
    const double b1 = (double)p->adamw.beta1, b2 = (double)p->adamw.beta2;
    const double lr = step_var(t, APUS_VAR_LR), g = in[GRAD][i] * (double)p->clip;
    const place *x = &slab.places[i];
    element e = { .w = in[W][i] };

    if (x->coded) {
        e.m = in[SCALES][x->block] * shares[0][code_of(t, CODES_M, x)];
        e.v = in[SCALES][slab.n_coded + x->block] * shares[1][code_of(t, CODES_V, x)];
    } else {
        e.m = in[WIDE_M][x->block * BLOCK + x->at];
        e.v = in[WIDE_V][x->block * BLOCK + x->at];
    }
    if (p->clip == 0)
        return e;
    if (i < p->adamw.n_decay)
        e.w -= lr * (double)p->adamw.decay * e.w;
    e.m_terms = fabs(b1 * e.m) + fabs((1 - b1) * g);
    e.m = b1 * e.m + (1 - b1) * g;
    e.v = b2 * e.v + (1 - b2) * g * g;
    const double rate = lr / step_var(t, APUS_VAR_BIAS1) /
                        (sqrt(e.v) / step_var(t, APUS_VAR_BIAS2) + (double)p->adamw.eps);
    e.update_terms = rate * e.m_terms;
    e.update = rate * e.m;
    e.w -= e.update;
    return e;
}

/* The largest moments of each coded block: (2, blocks), and the terms of the largest m. */
static void largest(const optest *t, const double *const *in, double *scales, double *terms)
{
    for (uint32_t i = 0; i < slab.n; i++) {
        const place *x = &slab.places[i];
        const element e = one(t, in, i);
        if (!x->coded)
            continue;
        if (fabs(e.m) > scales[x->block]) {
            scales[x->block] = fabs(e.m);
            terms[x->block] = e.m_terms;
        }
        if (e.v > scales[slab.n_coded + x->block])
            scales[slab.n_coded + x->block] = terms[slab.n_coded + x->block] = e.v;
    }
}

/* ---- values ---- */

static void set(optest *t, apus_step_var var, double value)
{
    const float f = (float)value;

    memcpy(&t->vars[var], &f, 4);
}

/* In [low, low * 10^decades), of either sign, as f32 has it. */
static double spread(uint64_t *state, double low, double decades)
{
    const double sign = optest_random(state) < 0 ? -1 : 1;

    return (double)(float)(sign * low * pow(10, fabs(optest_random(state)) * decades));
}

/* Each code once in the first block, backwards for v; then at random. */
static void random_codes(uint8_t *m, uint8_t *v, uint32_t n, uint64_t *state)
{
    for (uint32_t i = 0; i < n; i++) {
        m[i] = (uint8_t)(i < 256 ? i : (uint32_t)(fabs(optest_random(state)) * 256));
        v[i] = (uint8_t)(i < 256 ? 255 - i : (uint32_t)(fabs(optest_random(state)) * 256));
    }
}

static double *numbers(optest *t, uint32_t input, uint32_t n)
{
    t->in[input].dims[0] = n;
    t->in[input].n_dims = 1;
    return t->in[input].value = apus_calloc(n, sizeof(double));
}

/* Draw gradients anew until no moment is so near to the middle between two codes that arithmetic in
 * f32 may take the other: 2^-13 of itself, and 16 roundings of its terms. */
static void keep_off_middles(optest *t, uint64_t *state)
{
    double *scales = apus_calloc(2 * (size_t)slab.n_coded, sizeof(double)), *terms, off_m, off_v;
    const double *in[OPTEST_MAX] = { 0 };
    bool moved = true;

    terms = apus_calloc(2 * (size_t)slab.n_coded, sizeof(double));
    for (uint32_t k = 0; k < COPY; k++)
        in[k] = t->in[k].value;
    for (uint32_t turn = 0; moved; turn++) {
        APUS_BUG_IF(turn == 100);
        moved = false;
        memset(scales, 0, 2 * slab.n_coded * sizeof(double));
        largest(t, in, scales, terms);
        for (uint32_t i = 0; i < slab.n; i++) {
            const place *x = &slab.places[i];
            if (!x->coded)
                continue;
            const element e = one(t, in, i);
            const double m = scales[x->block], v = scales[slab.n_coded + x->block];
            const uint32_t cm = encode(false, m > 0 ? e.m / m : 0, &off_m),
                           cv = encode(true, v > 0 ? e.v / v : 0, &off_v);
            if (off_m < 0x1p-13 * fabs(shares[0][cm]) + 0x1p-20 * e.m_terms / (m > 0 ? m : 1) ||
                off_v < 0x1p-13 * shares[1][cv]) {
                t->in[GRAD].value[i] = spread(state, 1e-5, 4);
                moved = true;
            }
        }
    }
    apus_free(scales);
    apus_free(terms);
}

static void fill_state(optest *t, uint64_t *state)
{
    const struct params *p = t->params;
    const uint32_t coded = slab.n_coded ? slab.n_coded : 1, wide = slab.n_wide ? slab.n_wide : 1;
    double *scales = numbers(t, SCALES, 2 * coded), *m = numbers(t, WIDE_M, BLOCK * wide),
           *v = numbers(t, WIDE_V, BLOCK * wide);

    t->in[CODES_M].dims[0] = t->in[CODES_V].dims[0] = BLOCK * coded;
    t->in[CODES_M].u32 = apus_calloc(coded, BLOCK);
    t->in[CODES_V].u32 = apus_calloc(coded, BLOCK);
    t->in[RUNS].u32 = make_runs();
    t->in[RUNS].dims[0] = slab.n_parts;
    if (p->beginning == FROM_ZERO)
        return;
    random_codes((uint8_t *)t->in[CODES_M].u32, (uint8_t *)t->in[CODES_V].u32, BLOCK * coded,
                 state);
    for (uint32_t i = 0; i < coded; i++) {
        scales[i] = fabs(spread(state, 1e-3, 2));
        scales[coded + i] = fabs(spread(state, 1e-5, 3));
    }
    for (uint32_t i = 0; i < BLOCK * wide; i++) {
        m[i] = spread(state, 1e-4, 3);
        v[i] = i % 5 ? fabs(spread(state, 1e-6, 3)) : 0;
    }
}

static void fill(optest *t)
{
    const struct params *p = t->params;
    uint64_t state = 5;
    double *w, *g;

    make_shares(true, shares[0]);
    make_shares(false, shares[1]);
    lay_out(p);
    set(t, APUS_VAR_LR, (double)p->lr);
    set(t, APUS_VAR_BIAS1, 1 - pow((double)p->adamw.beta1, p->step));
    set(t, APUS_VAR_BIAS2, sqrt(1 - pow((double)p->adamw.beta2, p->step)));
    t->in[STATE].value = apus_calloc(APUS_STATE_WORDS, sizeof(double));
    t->in[STATE].value[APUS_STATE_CLIP] = (double)p->clip;
    t->in[COPY].dims[0] = slab.n;
    fill_state(t, &state);
    w = numbers(t, W, slab.n);
    g = numbers(t, GRAD, slab.n);
    for (uint32_t i = 0; i < slab.n; i++) {
        w[i] = (double)(float)optest_random(&state);
        g[i] = p->beginning == NO_GRADIENT || i % 11 == 10 ? 0 : spread(&state, 1e-5, 5);
    }
    for (uint32_t o = 0; o < 4; o++)
        if (p->outs[o] == CODES_M && p->clip != 0)
            keep_off_middles(t, &state);
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const struct params *p = t->params;
    bool copied = false;

    for (uint32_t o = 0; o < 4 && p->outs[o] != NOTHING; o++) {
        outs[o] = in[p->outs[o]];
        copied |= p->outs[o] == COPY;
    }
    apus_adamw_8bit(g, in[W], in[GRAD],
                    &(apus_adamw_state) { .codes_m = in[CODES_M],
                                          .codes_v = in[CODES_V],
                                          .scales = in[SCALES],
                                          .wide_m = in[WIDE_M],
                                          .wide_v = in[WIDE_V],
                                          .runs = in[RUNS],
                                          .n_coded = slab.n_coded,
                                          .n_blocks = slab.n_coded + slab.n_wide },
                    copied ? in[COPY] : NULL, in[STATE], &p->adamw);
}

/* ---- the definition ---- */

static void define_codes(const optest *t, const double *const *in, bool second, double *out)
{
    const struct params *p = t->params;
    double *scales = apus_calloc(2 * (size_t)slab.n_coded, sizeof(double)), off;
    double *terms = apus_calloc(2 * (size_t)slab.n_coded, sizeof(double));

    if (p->clip != 0)
        largest(t, in, scales, terms);
    for (uint32_t i = 0; i < BLOCK * slab.n_coded; i++) /* behind a short block: 0 */
        out[i] = p->clip != 0 ? (second ? 0 : 127)
                              : ((const uint8_t *)t->in[second ? CODES_V : CODES_M].u32)[i];
    for (uint32_t i = 0; i < slab.n && p->clip != 0; i++) {
        const place *x = &slab.places[i];
        const element e = one(t, in, i);
        const double scale = x->coded ? scales[second * slab.n_coded + x->block] : 0;
        if (x->coded)
            out[x->block * BLOCK + x->at] =
                encode(second, scale > 0 ? (second ? e.v : e.m) / scale : 0, &off);
    }
    apus_free(scales);
    apus_free(terms);
}

static void define_scales(const optest *t, const double *const *in, double *out, double *mag)
{
    const struct params *p = t->params;

    if (p->clip != 0)
        memset(out, 0, 2 * slab.n_coded * sizeof(double));
    else
        memcpy(out, in[SCALES], 2 * slab.n_coded * sizeof(double));
    if (p->clip != 0)
        largest(t, in, out, mag);
}

static void define_wide(const optest *t, const double *const *in, bool second, double *out,
                        double *mag)
{
    memcpy(out, in[second ? WIDE_V : WIDE_M], BLOCK * slab.n_wide * sizeof(double));
    for (uint32_t i = 0; i < slab.n; i++) {
        const place *x = &slab.places[i];
        const element e = one(t, in, i);
        if (x->coded)
            continue;
        out[x->block * BLOCK + x->at] = second ? e.v : e.m;
        mag[x->block * BLOCK + x->at] = second ? fabs(e.v) : e.m_terms;
    }
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const struct params *p = t->params;

    for (uint32_t o = 0; o < 4 && p->outs[o] != NOTHING; o++) {
        const uint32_t what = p->outs[o];
        if (what == CODES_M || what == CODES_V)
            define_codes(t, in, what == CODES_V, out[o]);
        else if (what == SCALES)
            define_scales(t, in, out[o], mag[o]);
        else if (what == WIDE_M || what == WIDE_V)
            define_wide(t, in, what == WIDE_V, out[o], mag[o]);
        for (uint32_t i = 0; i < slab.n && (what == W || what == COPY || what == GRAD); i++) {
            const element e = one(t, in, i);
            out[o][i] = what == GRAD ? 0 : p->clip != 0 || what == W ? e.w : in[COPY][i];
            if (what != GRAD && p->clip != 0) /* a skipped step is exact */
                mag[o][i] = fabs(in[W][i]) + fabs(e.update);
        }
    }
    /* A decoded moment carries 6 roundings (of 0.1, 0.9 and the power of ten, of three products and
     * a sum, the smaller of which weighs a tenth), a new one 3 more of its terms. */
    *terms = 9;
}

/* Of w: 9 roundings of m's terms; half of 9 of v, whose root is taken, and 12 ulp of a division
 * (2.5 ulp) by an inversesqrt (2 ulp) and three more divisions, and two of the update (as in
 * adamw.c).  Of the copy: half an ulp of its format besides. */
static double extra(const optest *t, const double *const *in, uint32_t o, uint64_t i)
{
    const struct params *p = t->params;
    const uint32_t what = p->outs[o];

    if (p->clip == 0 || (what != W && what != COPY))
        return 0;
    const element e = one(t, in, (uint32_t)i);
    const double off = e.update_terms * 9 * 0x1p-24 + fabs(e.update) * (4.5 + 26) * 0x1p-24;
    if (what == W)
        return off;
    return off + (fabs(e.w) + off) * (t->in[COPY].dtype == APUS_F16 ? 0x1p-11 : 0x1p-8) + 0x1p-25;
}

#define LIST(...) __VA_ARGS__
#define CASE(text, parts_, repeat_, beginning_, out_a, out_b, out_c, out_d, type, lr_, clip_,      \
             step_, ...)                                                                           \
    {                                                                                              \
        .name = text, .fill = fill, .build = build, .define = define, .extra = extra,              \
        .params = &(const struct params) { .adamw = { __VA_ARGS__ },                               \
                                           .lr = lr_,                                              \
                                           .clip = clip_,                                          \
                                           .step = step_,                                          \
                                           .beginning = beginning_,                                \
                                           .outs = { out_a, out_b, out_c, out_d },                 \
                                           .parts = { parts_ },                                    \
                                           .repeat = repeat_ },                                    \
        .out = { { out_a == NOTHING ? NULL : "a" },                                                \
                 { out_b == NOTHING ? NULL : "b" },                                                \
                 { out_c == NOTHING ? NULL : "c" },                                                \
                 { out_d == NOTHING ? NULL : "d" } },                                              \
        .in = {                                                                                    \
            { "w", APUS_F32, 1, { 0 }, .fixed = true },                                            \
            { "grad", APUS_F32, 1, { 0 }, .fixed = true },                                         \
            { "codes of m", APUS_U8, 1, { 0 }, .fixed = true },                                    \
            { "codes of v", APUS_U8, 1, { 0 }, .fixed = true },                                    \
            { "scales", APUS_F32, 1, { 0 }, .fixed = true },                                       \
            { "m", APUS_F32, 1, { 0 }, .fixed = true },                                            \
            { "v", APUS_F32, 1, { 0 }, .fixed = true },                                            \
            { "state", APUS_F32, 1, { APUS_STATE_WORDS }, .fixed = true },                         \
            { "runs", APUS_U32, 2, { 0, APUS_ADAMW_RUN_WORDS }, .fixed = true },                   \
            { "copy", type, 1, { 0 }, .fixed = true },                                             \
        }                                                                                          \
    }
#define USUAL 0.9f, 0.999f, 1e-8f, 0.1f
#define LARGE_EPS 0.9f, 0.999f, 1e-4f, 0.1f /* f16 can hold what becomes of w where v was 0 */
#define ONE LIST({ 256, true })
#define SHORT LIST({ 1028, true }, { 64, false }, { 4, true }, { 260, false }, { 512, true })
#define NARROW LIST({ 252, true })

TEST(codes)
{
    optest cases[] = {
        CASE("each code, one block", ONE, 0, AT_RANDOM, W, CODES_M, CODES_V, SCALES, APUS_F16,
             1e-3f, 1, 7, USUAL, 256),
        CASE("the beginning", ONE, 0, FROM_ZERO, W, CODES_M, CODES_V, SCALES, APUS_F16, 1e-3f, 0.5f,
             1, USUAL, 256),
        CASE("without a gradient each code comes back", ONE, 0, NO_GRADIENT, W, CODES_M, CODES_V,
             SCALES, APUS_F16, 1e-3f, 1, 3, USUAL, 256),
        CASE("short blocks in several runs", SHORT, 0, AT_RANDOM, W, CODES_M, CODES_V, SCALES,
             APUS_F16, 1e-3f, 0.25f, 7, USUAL, 1092),
        CASE("four elements less than a block", NARROW, 0, AT_RANDOM, W, CODES_M, CODES_V, SCALES,
             APUS_F16, 1e-2f, 1, 1000, 0.9f, 0.95f, 1e-6f, 0.5f, 0),
        CASE("skipped: the state stays", SHORT, 0, AT_RANDOM, W, CODES_M, CODES_V, SCALES, APUS_F16,
             1e-1f, 0, 2, USUAL, 260),
        CASE("eps weighs more than v", ONE, 0, AT_RANDOM, W, CODES_M, CODES_V, SCALES, APUS_F16,
             1e-1f, 1e-6f, 2, 0.5f, 0.5f, 1, 0, 0),
    };
    run(cases, APUS_COUNT(cases));
}

#define WIDE LIST({ 260, false })

TEST(the_rest)
{
    optest cases[] = {
        CASE("parts with f32 moments", SHORT, 0, AT_RANDOM, W, GRAD, WIDE_M, WIDE_V, APUS_F16,
             1e-3f, 1, 7, USUAL, 1028),
        CASE("nothing is coded", WIDE, 0, AT_RANDOM, W, GRAD, WIDE_M, WIDE_V, APUS_F16, 1e-3f, 1, 7,
             USUAL, 128),
        CASE("skipped: gradients become 0", SHORT, 0, AT_RANDOM, W, GRAD, WIDE_M, WIDE_V, APUS_F16,
             1e-3f, 0, 7, USUAL, 1028),
        CASE("f16 copy", SHORT, 0, AT_RANDOM, W, GRAD, COPY, NOTHING, APUS_F16, 1e-1f, 0.5f, 2,
             LARGE_EPS, 512),
        CASE("bf16 copy", SHORT, 0, AT_RANDOM, W, GRAD, COPY, NOTHING, APUS_BF16, 1e-1f, 0.5f, 2,
             LARGE_EPS, 512),
        CASE("skipped: the copy stays", SHORT, 0, AT_RANDOM, W, GRAD, COPY, NOTHING, APUS_F16,
             1e-1f, 0, 2, USUAL, 512),
    };
    run(cases, APUS_COUNT(cases));
}

TEST(many_runs)
{
    optest cases[] = {
        CASE("one workgroup more than a row of the grid has", LIST({ 4, true }), 65536, FROM_ZERO,
             W, GRAD, NOTHING, NOTHING, APUS_F16, 1e-3f, 1, 1, USUAL, 0),
    };
    optest_run(cases, APUS_COUNT(cases));
}

/* A state that is not that of the parameters is refused. */
TEST(other_shapes)
{
    apus_graph g;
    const uint32_t n = 512, words = APUS_STATE_WORDS, two = 2, runs[2] = { 1, 4 };

    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *w = apus_graph_bound(&g, "w", APUS_F32, 1, &n, 4096);
    apus_tensor *codes = apus_graph_bound(&g, "codes", APUS_U8, 1, &n, 4096);
    const apus_adamw_state s = {
        .codes_m = codes,
        .codes_v = codes,
        .scales = apus_graph_bound(&g, "scales", APUS_F32, 1, &two, 4096),
        .wide_m = w,
        .wide_v = w,
        .runs = apus_graph_bound(&g, "runs", APUS_U32, 2, runs, 4096),
        .n_coded = 2,
        .n_blocks = 4,
    };
    apus_adamw_8bit(&g, w, w, &s, NULL, apus_graph_bound(&g, "state", APUS_F32, 1, &words, 4096),
                    &(apus_adamw_params) { .eps = 1 });
    CHECK_EQ_U64(apus_graph_status(&g), APUS_ERR_SHAPE); /* two scales, four are needed */
    CHECK(strstr(apus_error_text(), "adamw_8bit: 512 elements in 4 blocks, 2 with codes"));
    apus_graph_release(&g);
}
