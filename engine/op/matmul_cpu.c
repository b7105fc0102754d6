/* matmul_cpu.c - the matmul algorithms of CPU drivers for many rows of a: register tiles without
 * shared memory, one subgroup a workgroup.
 *
 *   row_cpu  NN and TN where uniform loads are cheap: lanes along the rows of b, 32 columns a
 *            workgroup
 *   cpu      any: lanes along the columns of y, a load a lane (of f32 in NT, where uniform loads
 *            are cheap, those for all lanes) */
#include "matmul_problem.h"

#define MOST_GROUPS 65535 /* along an axis, on any device */

/* ---- cpu ---- */

bool apusi_cpu_fits(const apus_caps *caps, const void *problem)
{
    const apus_matmul_problem *p = problem;

    if (p->kind != APUS_NN && !apusi_lanes_store(caps, p))
        return false;
    if (p->kind == APUS_NT)
        return p->k % 8 == 0;
    return p->kind == APUS_NN ? p->k % 4 == 0 && p->whole_n % 4 == 0 : p->whole_m % 4 == 0;
}

/* Rows of a register tile: as many as pay, no more than there are. */
static uint32_t cpu_rows(const apus_caps *caps, const apus_matmul_problem *p)
{
    const uint32_t most = p->kind == APUS_NT && (p->b != APUS_F32 || caps->uniform_loads) ? 64 : 32;
    uint32_t tm = p->kind == APUS_TN ? 4 : 1;

    while (tm < most && tm < p->m)
        tm *= 2;
    return tm;
}

static bool cpu_unrolls(const apus_matmul_problem *p, uint32_t unroll)
{
    if (p->kind == APUS_NT)
        return p->k / 8 % unroll == 0;
    return unroll == 1 || (p->kind == APUS_NN && unroll == 2 && p->k % 8 == 0);
}

/* Rows of a register tile, and turns of the loop in one: the loop holds at most 64 rows' worth. */
uint32_t apusi_cpu_tiles(const apus_caps *caps, const void *problem, apus_tile *out, uint32_t room)
{
    const apus_matmul_problem *p = problem;
    const uint32_t tm = cpu_rows(caps, p), least = p->kind == APUS_TN ? 4 : 1;
    uint32_t n = 0, unroll = 1;

    if (p->kind == APUS_NT) /* few rows: unroll, or the loop itself is what takes the time */
        while (unroll < 4 && unroll * tm < 8 && cpu_unrolls(p, 2 * unroll))
            unroll *= 2;
    else if (cpu_unrolls(p, 2))
        unroll = 2;
    apus_tile_add(out, &n, room, (apus_tile) { 2, { tm, unroll } });
    for (uint32_t rows = tm < 32 ? 2 * tm : 64; rows >= least && rows >= tm / 4; rows /= 2)
        for (unroll = 1; unroll <= 4; unroll *= 2)
            if (cpu_unrolls(p, unroll) && rows < 2 * p->m && (unroll == 1 || rows * unroll <= 64))
                apus_tile_add(out, &n, room, (apus_tile) { 2, { rows, unroll } });
    return n;
}

apus_status apusi_cpu_emit(apus_lower *l, const apus_matmul_problem *p, apus_dispatch *d)
{
    static const char *const kernels[] = { "matmul_nt_cpu", "matmul_nn_cpu", "matmul_tn_cpu" };
    const uint32_t lanes = l->caps->subgroup, tm = l->tile.v[0], unroll = l->tile.v[1];

    d->kernel = kernels[p->kind];
    apusi_set_product_spec(d, p, (uint32_t[]) { lanes, tm, p->b, unroll, p->whole_m % tm != 0 }, 5);
    if (p->kind == APUS_NT)
        d->spec[d->n_spec++] = l->caps->uniform_loads;
    /* Columns along x; single products go on along z, since 65,535 are few where lanes are four. */
    const uint32_t columns = (uint32_t)apus_ceil_div(p->kind == APUS_NN ? p->n / 4 : p->n, lanes);
    d->groups[2] = p->batch ? p->batch : (uint32_t)apus_ceil_div(columns, MOST_GROUPS);
    d->groups[0] = p->batch ? columns : (uint32_t)apus_ceil_div(columns, d->groups[2]);
    d->groups[1] = (uint32_t)apus_ceil_div(p->m, tm);
    d->live_axis = 1;
    d->live_tile = tm;
    return apus_emit(l, d);
}

/* ---- row_cpu ---- */

bool apusi_row_cpu_fits(const apus_caps *caps, const void *problem)
{
    const apus_matmul_problem *p = problem;

    if (p->kind == APUS_NT || (p->kind == APUS_NN ? p->k : p->whole_m) % 4 != 0)
        return false;
    return p->whole_n % 32 == 0 && p->n / 32 <= MOST_GROUPS && p->k / 4 < APUSI_MOST_TURNS &&
           apusi_side_by_side(caps);
}

/* Where an adapter's product is added, cpu is 1.3 times as fast but with f32. */
bool apusi_row_cpu_chosen(const apus_caps *caps, const void *problem)
{
    const apus_matmul_problem *p = problem;

    return apusi_cpu_class(caps, problem) && caps->uniform_loads && (!p->k2 || p->b == APUS_F32);
}

apus_status apusi_row_cpu_emit(apus_lower *l, const apus_matmul_problem *p, apus_dispatch *d)
{
    const uint32_t lanes = l->caps->subgroup, tm = l->tile.v[0], unroll = l->tile.v[1];

    d->kernel = "matmul_row_cpu";
    apusi_set_product_spec(
        d, p, (uint32_t[]) { lanes, tm, p->b, unroll, p->whole_m % tm != 0, lanes }, 6);
    d->spec[d->n_spec++] = p->kind == APUS_TN;
    apusi_matmul_block_grid(p, tm, 32, d);
    return apus_emit(l, d);
}
