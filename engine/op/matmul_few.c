/* matmul_few.c - the matmul algorithms for few rows of a (decode), of one matrix or several that
 * are multiplied by the same rows: where each fits, with what numbers.
 *
 *   vec      on GPUs: lanes along K
 *   dot_cpu  on CPU drivers with cheap uniform loads: lanes along K
 *   vec_cpu  on CPU drivers: lanes along N, loads of 16 bytes
 *
 * All may have a gate beside what it gates, and all but vec_cpu normalize a on the way. */
#include "fetch.h"
#include "matmul_problem.h"

#define MOST_M APUS_FETCH_ROWS /* each matrix is read once */

void apusi_few_one(apusi_few *few, const struct apus_matmul_push *push)
{
    *few = (apusi_few) {
        .push = { .a = push->a,
                  .step = push->step,
                  .rows_var = push->rows_var,
                  .rows_skip = push->rows_skip,
                  .rows_max = push->rows_max,
                  .rows_mul = push->rows_mul,
                  .k = push->k,
                  .scale_words = push->scale_words,
                  .alpha = push->alpha },
        .member = { { .b = push->b,
                      .scales = push->scales,
                      .y = push->y,
                      .acc = push->acc,
                      .bias = push->bias,
                      .n = push->n } },
        .n = 1,
    };
}

/* Append the dispatch, each workgroup of which has `rows` rows of one matrix (of a pair: of both);
 * the constants of the kernel's own are set.  `norms`: it has one for a norm. */
static apus_status emit(apus_lower *l, apusi_few *few, uint32_t rows, bool norms, apus_dispatch *d)
{
    uint32_t groups = 0;

    for (uint32_t i = 0; i < few->n; i++) {
        few->member[i].first = few->gate ? 0 : groups;
        groups += (uint32_t)apus_ceil_div(few->member[i].n, rows);
    }
    APUS_FORWARD(apus_emit_args(l, few->member, few->n * (uint32_t)sizeof(few->member[0]),
                                &few->push.members));
    d->spec[d->n_spec++] = few->n;
    d->spec[d->n_spec++] = few->gate;
    d->spec[d->n_spec++] = few->adapted;
    if (norms)
        d->spec[d->n_spec++] = few->push.norm != 0;
    d->push = &few->push;
    d->push_bytes = sizeof(few->push);
    d->live = (apus_rows) { 0 };
    apus_grid_1d(few->gate ? groups / 2 : groups, 1, d->groups);
    return apus_emit(l, d);
}

/* ---- vec ---- */

/* Rows of b at once and pieces of 8 k a turn, as many as fit the registers without a spill. */
static void vec_shape(const apus_caps *caps, const apus_matmul_problem *p, uint32_t *rows,
                      uint32_t *wide)
{
    *rows = p->m <= 2 || (p->m <= 4 && apusi_wide_gpu(caps)) ? 4 : 2;
    *wide = 1;
    if (p->m == 1 && apus_dtype_is_quant(p->b))
        *wide = p->b != APUS_Q8_0 && p->b != APUS_Q6_K && apusi_wide_gpu(caps) ? 4 : 2;
    while (*wide > 1 && p->k / 8 < caps->subgroup * *wide) /* else lanes have nothing to do */
        *wide /= 2;
}

bool apusi_vec_fits(const apus_caps *caps, const void *problem)
{
    const apus_matmul_problem *p = problem;
    uint32_t rows, wide;

    vec_shape(caps, p, &rows, &wide);
    return p->kind == APUS_NT && !p->k2 && !p->batch && p->m <= MOST_M && p->k % 8 == 0 &&
           caps->subgroup_arith && (!p->gate || rows == 4); /* two of each matrix */
}

/* Rows and pieces: up to 16 sums a lane, and what one load takes. */
uint32_t apusi_vec_tiles(const apus_caps *caps, const void *problem, apus_tile *out, uint32_t room)
{
    const apus_matmul_problem *p = problem;
    const uint32_t widest = !apus_dtype_is_quant(p->b)               ? 1
                            : p->b == APUS_Q8_0 || p->b == APUS_Q6_K ? 2
                                                                     : 4;
    uint32_t n = 0, rows, wide;

    vec_shape(caps, p, &rows, &wide);
    apus_tile_add(out, &n, room, (apus_tile) { 2, { rows, wide } });
    for (rows = p->gate ? 4 : 2; rows <= 8 && rows * p->m <= 16; rows *= 2)
        for (wide = 1; wide <= widest; wide *= 2)
            apus_tile_add(out, &n, room, (apus_tile) { 2, { rows, wide } });
    return n;
}

apus_status apusi_vec_emit(apus_lower *l, const apus_matmul_problem *p, apusi_few *few,
                           apus_dispatch *d)
{
    const uint32_t rows = l->tile.v[0], wide = l->tile.v[1];

    d->kernel = "matmul_vec";
    apusi_set_spec(d, p, (uint32_t[]) { l->caps->subgroup, p->m, p->b, rows, wide }, 5);
    return emit(l, few, few->gate ? rows / 2 : rows, true, d);
}

/* ---- vec_cpu ---- */

bool apusi_vec_cpu_fits(const apus_caps *caps, const void *problem)
{
    const apus_matmul_problem *p = problem;

    return p->kind == APUS_NT && !p->k2 && !p->batch && !p->norm && p->m <= MOST_M &&
           p->k % 32 == 0 && apusi_lanes_store(caps, p);
}

/* Rows of b a lane; with a gate one of each matrix. */
uint32_t apusi_vec_cpu_tiles(const apus_caps *caps, const void *problem, apus_tile *out,
                             uint32_t room)
{
    const apus_matmul_problem *p = problem;
    uint32_t n = 0, rows = apus_dtype_is_quant(p->b) && p->b != APUS_Q8_0 ? 2 : 1;

    if (p->n < 64 * caps->subgroup) /* enough workgroups for all cores come first */
        rows = 1;
    apus_tile_add(out, &n, room, (apus_tile) { 1, { p->gate ? 2 : rows } });
    for (rows = 1; rows <= 4 && !p->gate; rows *= 2)
        apus_tile_add(out, &n, room, (apus_tile) { 1, { rows } });
    return n;
}

apus_status apusi_vec_cpu_emit(apus_lower *l, const apus_matmul_problem *p, apusi_few *few,
                               apus_dispatch *d)
{
    const uint32_t lanes = l->caps->subgroup, rows = l->tile.v[0];

    d->kernel = "matmul_vec_cpu";
    apusi_set_spec(d, p, (uint32_t[]) { lanes, p->m, p->b, rows }, 4);
    return emit(l, few, few->gate ? lanes : lanes * rows, false, d);
}

/* ---- dot_cpu ---- */

/* k in a turn of the loop is a multiple of this: 32 elements, and a number for each lane. */
static uint32_t dot_cpu_turn(const apus_caps *caps, const apus_matmul_problem *p)
{
    const bool pairs = apus_dtype_is_quant(p->b) && p->b != APUS_Q8_0; /* two weights a byte */
    const uint32_t turn = pairs ? 2 * caps->subgroup : caps->subgroup;

    return turn > 32 ? turn : 32;
}

bool apusi_dot_cpu_fits(const apus_caps *caps, const void *problem)
{
    const apus_matmul_problem *p = problem;

    return p->kind == APUS_NT && !p->k2 && !p->batch && p->m <= MOST_M &&
           p->k % dot_cpu_turn(caps, p) == 0 && p->k / 32 < APUSI_MOST_TURNS &&
           apusi_side_by_side(caps);
}

/* Where a load from an address that all lanes share is no cheaper than a gather, it is 5 times
 * slower than vec_cpu. */
bool apusi_dot_cpu_chosen(const apus_caps *caps, const void *problem)
{
    return apusi_cpu_class(caps, problem) && caps->uniform_loads;
}

/* k in a turn: whole turns of K. */
uint32_t apusi_dot_cpu_tiles(const apus_caps *caps, const void *problem, apus_tile *out,
                             uint32_t room)
{
    const apus_matmul_problem *p = problem;
    const uint32_t turn = dot_cpu_turn(caps, p);
    uint32_t n = 0, longest = turn;

    /* Long turns of blocks are up to 1.3 times as fast; of plain numbers they are no faster than
     * 64.  The elements of all rows of a turn are held at once. */
    const uint32_t most = apus_dtype_is_quant(p->b) ? 256 / p->m : 64;
    while (2 * longest <= most && p->k % (2 * longest) == 0)
        longest *= 2;
    apus_tile_add(out, &n, room, (apus_tile) { 1, { longest } });
    for (uint32_t k = turn; k <= 4 * turn; k *= 2)
        if (p->k % k == 0 && (k == turn || k * p->m <= 1024))
            apus_tile_add(out, &n, room, (apus_tile) { 1, { k } });
    return n;
}

apus_status apusi_dot_cpu_emit(apus_lower *l, const apus_matmul_problem *p, apusi_few *few,
                               apus_dispatch *d)
{
    const uint32_t lanes = l->caps->subgroup;

    d->kernel = "matmul_dot_cpu";
    apusi_set_spec(d, p, (uint32_t[]) { lanes, p->b, lanes, l->tile.v[0], p->m }, 5);
    return emit(l, few, lanes, true, d);
}
