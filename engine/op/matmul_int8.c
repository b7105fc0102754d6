/* matmul_int8.c - the matmul algorithm int8: rows of a rounded to bytes, quants of b as they are,
 * and their products by instructions for four bytes.  GGML's Vulkan back end multiplies so too
 * (mul_mmq), with rows rounded once in a pass before; here each block of columns rounds them again.
 *
 * In inference only, and only where it was measured to be the fastest (`apus tune`) or is forced:
 * whether it pays is not to be told from what a device says of itself. */
#include "matmul_problem.h"

bool apusi_int8_fits(const apus_caps *caps, const void *problem)
{
    const apus_matmul_problem *p = problem;

    return caps->int8_dot && p->kind == APUS_NT && apus_dtype_is_quant(p->b) && !p->k2 &&
           !p->batch && caps->max_invocations >= 256 && caps->max_shared >= 32768 &&
           p->k / 64 < APUSI_MOST_TURNS;
}

bool apusi_int8_sound(const apus_caps *caps, const void *problem)
{
    (void)problem;
    return caps->int8_fast;
}

bool apusi_int8_chosen(const apus_caps *caps, const void *problem)
{
    (void)caps, (void)problem;
    return false;
}

/* Rows and columns of a block: an invocation has 4 rows, and 4 columns or 8. */
uint32_t apusi_int8_tiles(const apus_caps *caps, const void *problem, apus_tile *out, uint32_t room)
{
    const apus_matmul_problem *p = problem;
    uint32_t n = 0;

    (void)caps;
    for (uint32_t columns = 64; p->m > 32 && columns <= 128; columns *= 2)
        apus_tile_add(out, &n, room, (apus_tile) { 2, { 64, columns } });
    apus_tile_add(out, &n, room, (apus_tile) { 2, { 32, 64 } });
    apus_tile_add(out, &n, room, (apus_tile) { 2, { 16, 64 } });
    return n;
}

apus_status apusi_int8_emit(apus_lower *l, const apus_matmul_problem *p, apus_dispatch *d)
{
    const uint32_t bm = l->tile.v[0], bn = l->tile.v[1], rm = 4, rn = bn == 128 ? 8 : 4;

    d->kernel = "matmul_int8";
    apusi_set_spec(d, p, (uint32_t[]) { bm / rm * (bn / rn), p->b, bm, bn, rm, rn }, 6);
    apusi_matmul_block_grid(p, bm, bn, d);
    return apus_emit(l, d);
}
