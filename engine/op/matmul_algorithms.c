/* matmul_algorithms.c - the matmul algorithms: where each fits, which is chosen, with what numbers.
 *
 *   vec, dot_cpu, vec_cpu  few rows of a (decode): matmul_few.c
 *   coop, coop_bf16  matrix cores, operands rounded to 16 bits; _large: blocks of 128 x 128
 *   row_cpu, cpu     register tiles for CPU drivers: matmul_cpu.c
 *   tile             blocks in shared memory, any GPU, any shape; _wide, _large: larger ones
 *   int8             blocks in shared memory, products of bytes: matmul_int8.c
 *   plain            one element an invocation: the definition */
#include "choice.h"
#include "matmul_problem.h"

#define COOP_LEAST 16   /* rows and columns below which fragments are mostly padding */
#define MANY_BLOCKS 192 /* as many workgroups keep a large GPU busy: larger blocks pay */
#define FEW_BLOCKS 64   /* fewer than this leave units idle: smaller blocks pay */
#define TILE_K 16

static uint32_t blocks_of(const apus_matmul_problem *p, uint32_t bm, uint32_t bn)
{
    const uint64_t n = apus_ceil_div(p->m, bm) * apus_ceil_div(p->n, bn);

    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

void apusi_matmul_block_grid(const apus_matmul_problem *p, uint32_t bm, uint32_t bn,
                             apus_dispatch *d)
{
    d->groups[0] = (uint32_t)apus_ceil_div(p->m, bm);
    d->groups[1] = (uint32_t)apus_ceil_div(p->n, bn);
    d->groups[2] = p->batch;
    d->live_axis = 0;
    d->live_tile = bm;
}

/* As apusi_set_product_spec, and what is known of the shapes, for kernels that take chunks of `bk`
 * along k; 0: nothing is to be known. */
static void set_edges(apus_dispatch *d, const apus_matmul_problem *p, const uint32_t *spec,
                      uint32_t n, uint32_t bk)
{
    const uint32_t a_cols = p->kind == APUS_TN ? p->whole_m : p->k;
    const uint32_t b_cols = p->kind == APUS_NT ? p->k : p->whole_n;
    const bool fours = bk && ((a_cols | b_cols | p->k2 | p->whole_n) & 3) == 0;
    const bool whole =
        fours && p->kind != APUS_TN && ((a_cols | b_cols) & 7) == 0 && p->k % bk == 0;

    apusi_set_product_spec(d, p, spec, n);
    d->spec[d->n_spec++] = !fours ? APUS_MATMUL_ANY : whole ? APUS_MATMUL_WHOLE : APUS_MATMUL_FOURS;
    d->spec[d->n_spec++] = p->parts > 0;
}

/* ---- parts of a sum ---- */

#define MOST_PARTS 8
#define LEAST_PART 512 /* k of a part: what its own result costs is little beside it */

/* Chunks of `bk` along both sums. */
static uint32_t chunks_of(const apus_matmul_problem *p, uint32_t bk)
{
    return (uint32_t)(apus_ceil_div(p->k, bk) + apus_ceil_div(p->k2, bk));
}

/* What a kernel that takes chunks of `bk` makes of a product: that itself, or f32 parts, none of
 * them empty. */
static apus_matmul_problem in_parts(const apus_matmul_problem *p, uint32_t bk)
{
    const uint32_t chunks = chunks_of(p, bk);
    apus_matmul_problem x = *p;

    x.parts = p->parts > 1 && chunks > 1
                  ? (uint32_t)apus_ceil_div(chunks, apus_ceil_div(chunks, p->parts))
                  : 0;
    x.y = x.parts ? APUS_F32 : p->y;
    return x;
}

/* Append the dispatch `d` of that, and if these are parts one that adds them up: split-K, as in
 * CUTLASS (parallel reduction). */
static apus_status emit_parts(apus_lower *l, const apus_matmul_problem *p,
                              const apus_matmul_problem *x, uint32_t bk, const apus_dispatch *d)
{
    struct apus_matmul_push sum = *(const struct apus_matmul_push *)d->push, part = sum;
    const double bytes = 4.0 * x->parts * p->m * p->n;
    apus_dispatch parts = *d;

    if (!x->parts)
        return apus_emit(l, d);
    part.part = (uint32_t)apus_ceil_div(chunks_of(p, bk), x->parts) * bk;
    part.y = sum.a = p->sums;
    part.acc = part.bias = 0;
    part.alpha = 1;
    sum.k = x->parts;
    parts.push = &part;
    parts.groups[2] = x->parts;
    parts.moved += bytes;
    APUS_FORWARD(apus_emit(l, &parts));
    apus_dispatch add = { .kernel = "matmul_sum",
                          .spec = { 64, p->y },
                          .n_spec = 2,
                          .push = &sum,
                          .push_bytes = sizeof(sum),
                          .flops = bytes / 4,
                          .moved = bytes + 8.0 * p->m * p->n };
    apus_grid_1d((uint64_t)p->m * p->n / 4, 64, add.groups);
    return apus_emit(l, &add);
}

/* ---- tile ---- */

typedef struct tile_shape {
    uint32_t bm, bn, rm, rn;
} tile_shape;

static const tile_shape tile_large = { 128, 128, 8, 8 }, tile_wide = { 64, 128, 4, 8 };

/* 64 x 64, smaller where the result is smaller or would give too few workgroups. */
static tile_shape tile_of(const apus_caps *caps, const apus_matmul_problem *p)
{
    tile_shape s = { 64, 64, 4, 4 };

    while (s.bm > 16 && p->m <= s.bm / 2)
        s.bm /= 2;
    while (s.bn > 16 && p->n <= s.bn / 2)
        s.bn /= 2;
    while (s.bm * s.bn > 32 * 32 &&
           (blocks_of(p, s.bm, s.bn) < FEW_BLOCKS || s.bm * s.bn / 16 > caps->max_invocations)) {
        if (s.bn >= s.bm)
            s.bn /= 2;
        else
            s.bm /= 2;
    }
    return s;
}

static bool tile_fits(const apus_caps *caps, const void *problem)
{
    const apus_matmul_problem *p = problem;

    return caps->max_shared >= 16384 && p->k / TILE_K < APUSI_MOST_TURNS;
}

static bool tile_large_fits(const apus_caps *caps, const void *problem)
{
    return tile_fits(caps, problem) && caps->max_shared >= 32768 && caps->max_invocations >= 256;
}

/* Rows and columns of a block. */
static uint32_t tile_tiles(const apus_caps *caps, const void *problem, apus_tile *out,
                           uint32_t room)
{
    const tile_shape s = tile_of(caps, problem);
    uint32_t n = 0;

    apus_tile_add(out, &n, room, (apus_tile) { 2, { s.bm, s.bn } });
    for (uint32_t bm = 16; bm <= 64; bm *= 2)
        for (uint32_t bn = 16; bn <= 64; bn *= 2)
            if (bm * bn / 16 <= caps->max_invocations)
                apus_tile_add(out, &n, room, (apus_tile) { 2, { bm, bn } });
    return n;
}

static bool tile_worth(const apus_caps *caps, const apus_matmul_problem *p, tile_shape s)
{
    return apusi_gpu_class(caps, p) && apusi_wide_gpu(caps) && p->m > s.bm / 2 &&
           blocks_of(p, s.bm, s.bn) >= MANY_BLOCKS;
}

static bool tile_large_chosen(const apus_caps *caps, const void *problem)
{
    return tile_worth(caps, problem, tile_large);
}

static bool tile_wide_chosen(const apus_caps *caps, const void *problem)
{
    return tile_worth(caps, problem, tile_wide);
}

static apus_status emit_tile(apus_lower *l, const apus_matmul_problem *p, tile_shape s,
                             apus_dispatch *d)
{
    /* The few lanes of the smallest tile have no registers for a whole chunk on its way. */
    const uint32_t chunk = s.bm * s.bn > 256 ? TILE_K : 0;
    const apus_matmul_problem x = in_parts(p, TILE_K);

    d->kernel = "matmul_tile";
    set_edges(
        d, &x,
        (uint32_t[]) { s.bm / s.rm * (s.bn / s.rn), p->kind, p->b, s.bm, s.bn, TILE_K, s.rm, s.rn },
        8, chunk);
    apusi_matmul_block_grid(p, s.bm, s.bn, d);
    return emit_parts(l, p, &x, TILE_K, d);
}

/* ---- coop ---- */

typedef struct coop_shape {
    apus_dtype in;
    bool large; /* blocks of 128 x 128, else 64 x 64 */
    uint32_t subgroup, bm, bn, bk, sub_m, sub_n;
    apus_coop_shape f;
} coop_shape;

/* False where the device lists no shape that divides the block, or lacks memory for it. */
static bool coop_of(const apus_caps *caps, const apus_matmul_problem *p, coop_shape *s)
{
    const apus_coop_shape *f = apus_caps_coop(caps, s->in);

    if (!f || !caps->coop_built)
        return false;
    s->f = *f;
    s->subgroup = caps->subgroup;
    s->bm = s->bn = s->large ? 128 : 64;
    s->bk = 32;
    s->sub_m = s->large ? 4 : 2;
    s->sub_n = 2;
    if (!apusi_wide_gpu(caps)) {
        /* A row of a fragment lies across the lanes: 8 columns need subgroups of 8, 16 of 16. */
        if (caps->subgroup_pinned && f->n >= caps->subgroup_min && f->n <= caps->subgroup_max)
            s->subgroup = f->n;
        s->bk = s->subgroup <= 8 ? 16 : 32; /* registers for what is staged next */
        /* A subgroup's share is 16 x 32 elements where registers are left: not where rows of b are
         * k (NN, TN), nor beside the decoding of q6_K. */
        s->sub_m = 4;
        s->sub_n = s->subgroup > 8 && p->kind == APUS_NT && p->b != APUS_Q6_K && !s->large ? 2 : 4;
    }
    const uint32_t subgroups = s->sub_m * s->sub_n;
    const uint32_t shared = 2 * (s->bm + s->bn) * (s->bk + 8) + 4 * subgroups * f->m * f->n;
    return !p->batch && subgroups * s->subgroup <= caps->max_invocations &&
           shared <= caps->max_shared && s->bm % (s->sub_m * f->m) == 0 &&
           s->bn % (s->sub_n * f->n) == 0 && s->bk % f->k == 0 && p->k / s->bk < APUSI_MOST_TURNS;
}

static bool coop_fits(const apus_caps *caps, const void *problem)
{
    return coop_of(caps, problem, &(coop_shape) { .in = APUS_F16 });
}

static bool coop_large_fits(const apus_caps *caps, const void *problem)
{
    return coop_of(caps, problem, &(coop_shape) { .in = APUS_F16, .large = true });
}

static bool coop_bf16_fits(const apus_caps *caps, const void *problem)
{
    return coop_of(caps, problem, &(coop_shape) { .in = APUS_BF16 });
}

static bool coop_bf16_large_fits(const apus_caps *caps, const void *problem)
{
    return coop_of(caps, problem, &(coop_shape) { .in = APUS_BF16, .large = true });
}

static bool coop_worth(const apus_caps *caps, const apus_matmul_problem *p)
{
    return apusi_gpu_class(caps, p) && p->m >= COOP_LEAST && p->n >= COOP_LEAST &&
           p->k >= COOP_LEAST;
}

/* Blocks of 128 x 128 have the registers they need in wide subgroups only. */
static bool coop_large_worth(const apus_caps *caps, const apus_matmul_problem *p)
{
    return apusi_wide_gpu(caps) && p->m > 64 && blocks_of(p, 128, 128) >= MANY_BLOCKS;
}

/* Gradients are small numbers: below 2^-24 f16 has nothing, so that they go through bf16 or stay
 * f32, unless they are stored in f16 (then the loss was scaled). */
static bool coop_sound(const apus_caps *caps, const void *problem)
{
    const apus_matmul_problem *p = problem;

    (void)caps;
    return p->kind == APUS_NT || p->a == APUS_F16;
}

static bool coop_chosen(const apus_caps *caps, const void *problem)
{
    return coop_worth(caps, problem) && coop_sound(caps, problem);
}

static bool coop_large_chosen(const apus_caps *caps, const void *problem)
{
    return coop_chosen(caps, problem) && coop_large_worth(caps, problem);
}

/* bf16 keeps three bits less than f16: taken where f16 may not be, or where a or b has no more. */
static bool coop_bf16_sound(const apus_caps *caps, const void *problem)
{
    const apus_matmul_problem *p = problem;

    (void)caps;
    return p->a != APUS_F16 && (p->kind != APUS_NT || p->a == APUS_BF16 || p->b == APUS_BF16);
}

static bool coop_bf16_chosen(const apus_caps *caps, const void *problem)
{
    return coop_worth(caps, problem) && coop_bf16_sound(caps, problem);
}

static bool coop_bf16_large_chosen(const apus_caps *caps, const void *problem)
{
    return coop_bf16_chosen(caps, problem) && coop_large_worth(caps, problem);
}

static apus_status emit_coop(apus_lower *l, const apus_matmul_problem *p, coop_shape s,
                             apus_dispatch *d)
{
    if (!coop_of(l->caps, p, &s))
        return apus_fail(APUS_ERR_SUPPORT, "matmul: no cooperative-matrix shape for %s",
                         l->caps->name);
    const uint32_t local = s.sub_m * s.sub_n * s.subgroup;
    const apus_matmul_problem x = in_parts(p, s.bk);
    d->kernel = s.in == APUS_BF16 ? "matmul_coop_bf16" : "matmul_coop";
    d->subgroup = s.subgroup;
    set_edges(d, &x,
              (uint32_t[]) { local, p->kind, p->b, s.bm, s.bn, s.bk, s.sub_m, s.sub_n, s.f.m, s.f.n,
                             s.f.k, local },
              12, s.bk);
    apusi_matmul_block_grid(p, s.bm, s.bn, d);
    return emit_parts(l, p, &x, s.bk, d);
}

/* ---- plain ---- */

static apus_status emit_plain(apus_lower *l, const apus_matmul_problem *p, apus_dispatch *d)
{
    d->kernel = "matmul";
    apusi_set_product_spec(d, p, (uint32_t[]) { 64, p->kind, p->b }, 3);
    d->live = (apus_rows) { 0 };
    apus_grid_1d((uint64_t)p->m * p->n / (p->y == APUS_F32 ? 1 : 2), 64, d->groups);
    d->groups[2] = p->batch;
    return apus_emit(l, d);
}

/* ---- choice ---- */

enum {
    VEC,
    DOT_CPU,
    VEC_CPU,
    FEW, /* those before take several matrices (matmul_group.h) */
    COOP_BF16_LARGE = FEW,
    COOP_BF16,
    COOP_LARGE,
    COOP,
    INT8,
    ROW_CPU, /* from here on: those for several products (matmul_batch.h) */
    CPU,
    TILE_LARGE,
    TILE_WIDE,
    TILE,
    PLAIN
};

static const apus_variant variants[] = {
    [VEC] = { "vec", "matmul_vec", .fits = apusi_vec_fits, .chosen = apusi_gpu_class,
              .tiles = apusi_vec_tiles },
    [COOP_BF16_LARGE] = { "coop_bf16_large", "matmul_coop_bf16", .narrow = APUS_NARROW_16,
                          .fits = coop_bf16_large_fits, .chosen = coop_bf16_large_chosen,
                          .sound = coop_bf16_sound },
    [COOP_BF16] = { "coop_bf16", "matmul_coop_bf16", .narrow = APUS_NARROW_16,
                    .fits = coop_bf16_fits, .chosen = coop_bf16_chosen, .sound = coop_bf16_sound },
    [COOP_LARGE] = { "coop_large", "matmul_coop", .narrow = APUS_NARROW_16, .fits = coop_large_fits,
                     .chosen = coop_large_chosen, .sound = coop_sound },
    [COOP] = { "coop", "matmul_coop", .narrow = APUS_NARROW_16, .fits = coop_fits,
               .chosen = coop_chosen, .sound = coop_sound },
    [INT8] = { "int8", "matmul_int8", .narrow = APUS_NARROW_8, .fits = apusi_int8_fits,
               .chosen = apusi_int8_chosen, .sound = apusi_int8_sound, .tiles = apusi_int8_tiles },
    [DOT_CPU] = { "dot_cpu", "matmul_dot_cpu", .fits = apusi_dot_cpu_fits,
                  .chosen = apusi_dot_cpu_chosen, .tiles = apusi_dot_cpu_tiles },
    [VEC_CPU] = { "vec_cpu", "matmul_vec_cpu", .fits = apusi_vec_cpu_fits,
                  .chosen = apusi_cpu_class, .tiles = apusi_vec_cpu_tiles },
    [ROW_CPU] = { "row_cpu", "matmul_row_cpu", .fits = apusi_row_cpu_fits,
                  .chosen = apusi_row_cpu_chosen, .tiles = apusi_cpu_tiles },
    [CPU] = { "cpu", "matmul_nt_cpu", .fits = apusi_cpu_fits, .chosen = apusi_cpu_class,
              .tiles = apusi_cpu_tiles },
    [TILE_LARGE] = { "tile_large", "matmul_tile", .fits = tile_large_fits,
                     .chosen = tile_large_chosen },
    [TILE_WIDE] = { "tile_wide", "matmul_tile", .fits = tile_large_fits,
                    .chosen = tile_wide_chosen },
    [TILE] = { "tile", "matmul_tile", .fits = tile_fits, .chosen = apusi_gpu_class,
               .tiles = tile_tiles },
    [PLAIN] = { "plain", "matmul" },
};

static const apus_matmul_problem one = { APUS_NT, 1, 4096, 4096, APUS_F16 },
                                 many = { APUS_NT, 512, 4096, 4096, APUS_F16 },
                                 blocks = { APUS_NT, 512, 4096, 4096, APUS_Q4_0 },
                                 back = { APUS_NN, 512, 4096, 4096, APUS_F16 },
                                 weight = { APUS_TN, 4096, 4096, 512, APUS_F32 };
static const apus_op_problem problems[] = {
    { "1 row", &one },
    { "512 rows", &many },
    { "512 rows, 4-bit weights", &blocks },
    { "gradient of 512 rows", &back },
    { "gradient of a weight", &weight },
};

const apus_op_choices apusi_matmul_choices = { variants, APUS_COUNT(variants), problems,
                                               APUS_COUNT(problems) };

/* Fewer blocks than keep a GPU busy, and a long sum.  Large tiles are for many blocks. */
uint32_t apusi_matmul_parts(const apus_caps *caps, apus_narrow narrow, const char *force,
                            const apus_matmul_problem *p)
{
    const apus_variant *v =
        apus_variant_find(caps, narrow, force, "matmul", variants, APUS_COUNT(variants), p);
    tile_shape s = { 64, 64, 4, 4 };

    if (!v || p->kind == APUS_TN || p->batch || p->n % 4 || !apusi_gpu_class(caps, p) ||
        (v != &variants[COOP] && v != &variants[COOP_BF16] && v != &variants[TILE]))
        return 1;
    if (v == &variants[TILE])
        s = tile_of(caps, p);
    /* Beside q6_K's decoding narrow subgroups (Skylake) have no register for a part's place. */
    if (v == &variants[TILE] && !apusi_wide_gpu(caps) && p->kind == APUS_NN && p->b == APUS_Q6_K)
        return 1;
    const uint32_t few = blocks_of(p, s.bm, s.bn), longest = (p->k + p->k2) / LEAST_PART;
    uint32_t parts = few < FEW_BLOCKS ? 2 * FEW_BLOCKS / few : 1;
    parts = parts > longest ? longest : parts;
    return parts > MOST_PARTS ? MOST_PARTS : parts ? parts : 1;
}

bool apusi_matmul_alike(const apus_caps *caps, apus_narrow narrow, const char *force,
                        const apus_matmul_problem *p, const apus_matmul_problem *q)
{
    const apus_choosing of_p = { caps, "matmul", variants, APUS_COUNT(variants), p, narrow },
                        of_q = { caps, "matmul", variants, APUS_COUNT(variants), q, narrow };
    const apus_choice x = apus_choice_find(&of_p, force, NULL),
                      y = apus_choice_find(&of_q, force, NULL);

    return x.variant == y.variant && x.variant >= variants + ROW_CPU &&
           !memcmp(&x.tile, &y.tile, sizeof(x.tile));
}

bool apusi_matmul_few_takes(const apus_caps *caps, apus_narrow narrow, const char *force,
                            const apus_matmul_problem *p)
{
    const apus_variant *v =
        apus_variant_find(caps, narrow, force, "matmul", variants, APUS_COUNT(variants), p);

    return v && v < variants + FEW;
}

apus_status apusi_matmul_few(apus_lower *l, const apus_matmul_problem *p, const char *what,
                             apusi_few *few, apus_dispatch *d)
{
    const apus_variant *v = NULL;

    APUS_FORWARD(apus_choose(l, "matmul", variants, FEW, p, what, &v));
    switch (v - variants) {
    case VEC:
        return apusi_vec_emit(l, p, few, d);
    case DOT_CPU:
        return apusi_dot_cpu_emit(l, p, few, d);
    default:
        return apusi_vec_cpu_emit(l, p, few, d);
    }
}

apus_status apusi_matmul_emit(apus_lower *l, const apus_matmul_problem *p, const char *what,
                              apus_dispatch *d)
{
    const apus_variant *v = NULL;
    apusi_few few;

    APUS_FORWARD(apus_choose(l, "matmul", variants, APUS_COUNT(variants), p, what, &v));
    apusi_few_one(&few, d->push);
    switch (v - variants) {
    case VEC:
        return apusi_vec_emit(l, p, &few, d);
    case COOP_BF16_LARGE:
        return emit_coop(l, p, (coop_shape) { .in = APUS_BF16, .large = true }, d);
    case COOP_BF16:
        return emit_coop(l, p, (coop_shape) { .in = APUS_BF16 }, d);
    case COOP_LARGE:
        return emit_coop(l, p, (coop_shape) { .in = APUS_F16, .large = true }, d);
    case COOP:
        return emit_coop(l, p, (coop_shape) { .in = APUS_F16 }, d);
    case INT8:
        return apusi_int8_emit(l, p, d);
    case DOT_CPU:
        return apusi_dot_cpu_emit(l, p, &few, d);
    case VEC_CPU:
        return apusi_vec_cpu_emit(l, p, &few, d);
    case ROW_CPU:
        return apusi_row_cpu_emit(l, p, d);
    case CPU:
        return apusi_cpu_emit(l, p, d);
    case TILE_LARGE:
        return emit_tile(l, p, tile_large, d);
    case TILE_WIDE:
        return emit_tile(l, p, tile_wide, d);
    case TILE:
        return emit_tile(l, p, (tile_shape) { l->tile.v[0], l->tile.v[1], 4, 4 }, d);
    default:
        return emit_plain(l, p, d);
    }
}
