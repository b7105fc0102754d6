/* matmul_problem.h - what the matmul algorithms are chosen by, and what their files share. */
#ifndef APUSI_MATMUL_PROBLEM_H
#define APUSI_MATMUL_PROBLEM_H

#include "args/matmul.h"
#include "args/matmul_few.h"
#include "lower.h"
#include "matmul.h"
#include "op.h"

#define APUSI_MOST_TURNS 65535u /* of a loop: Mesa's llvmpipe 22.3 ends longer ones */

typedef struct apus_matmul_problem {
    apus_matmul_kind kind;
    uint32_t m, n, k; /* largest shape; of several matrices: n is that of all */
    apus_dtype b;     /* format of b */
    apus_dtype a, y;  /* of a, and of y and what is added to it */
    uint32_t k2;      /* of the second product; 0: none */
    bool gate, norm;  /* of few rows: see matmul_group.h */
    /* Of several products side by side (matmul_batch.h) m and n are the largest, k divides all. */
    uint32_t batch;            /* how many; 0: one */
    uint32_t whole_m, whole_n; /* divide every m, every n */
    uint32_t parts;            /* most parts that the sum is divided into; 0, 1: it is not, */
    apus_addr sums;            /* where their (parts, m, n) f32 lie */
} apus_matmul_problem;

/* The algorithms, at products of a layer of 4096 columns. */
extern const apus_op_choices apusi_matmul_choices;
/* Choose an algorithm (noted as `what`) and append its dispatch; `d` has arguments (`push` an
 * apus_matmul_push), live rows of a (NT, NN) and estimates filled in.  Errors: of apus_choose and
 * apus_emit. */
apus_status apusi_matmul_emit(apus_lower *l, const apus_matmul_problem *p, const char *what,
                              apus_dispatch *d);
/* The shape of `a` (all rows), `b` and a result in the format `out`; b_k: k as b has it. */
void apusi_matmul_shape(apus_matmul_kind kind, const apus_tensor *a, const apus_tensor *b,
                        apus_dtype out, apus_matmul_problem *p, uint32_t *b_k);

/* The arguments of a product y = alpha op(a) op(b), without more. */
struct apus_matmul_push apusi_matmul_push(const apus_lower *l, const apus_matmul_problem *p,
                                          const apus_tensor *a, const apus_tensor *b,
                                          const apus_tensor *y, float alpha);
/* Into how many parts the sum is best divided, with the algorithm that is chosen; 1: it is not. */
uint32_t apusi_matmul_parts(const apus_caps *caps, apus_narrow narrow, const char *force,
                            const apus_matmul_problem *p);
/* Whether two products take one algorithm with one tile, of those for several products. */
bool apusi_matmul_alike(const apus_caps *caps, apus_narrow narrow, const char *force,
                        const apus_matmul_problem *p, const apus_matmul_problem *q);

/* ---- few rows of a, several matrices ---- */

/* Matrices of one format that are multiplied by the same rows; the algorithm fills in first and
 * members. */
typedef struct apusi_few {
    struct apus_matmul_few_push push;
    struct apus_matmul_member member[APUS_MATMUL_MEMBERS];
    uint32_t n;
    uint32_t gate; /* y = act(first) * second, act of that number; 0: there is none */
    bool adapted;  /* some have a low-rank term */
} apusi_few;

/* Whether the algorithm that is chosen for `p` takes several matrices. */
bool apusi_matmul_few_takes(const apus_caps *caps, apus_narrow narrow, const char *force,
                            const apus_matmul_problem *p);
/* As apusi_matmul_emit, for several, of the algorithms that take them. */
apus_status apusi_matmul_few(apus_lower *l, const apus_matmul_problem *p, const char *what,
                             apusi_few *few, apus_dispatch *d);
/* One matrix as several. */
void apusi_few_one(apusi_few *few, const struct apus_matmul_push *push);

bool apusi_vec_fits(const apus_caps *caps, const void *problem);
uint32_t apusi_vec_tiles(const apus_caps *caps, const void *problem, apus_tile *out, uint32_t room);
apus_status apusi_vec_emit(apus_lower *l, const apus_matmul_problem *p, apusi_few *few,
                           apus_dispatch *d);
bool apusi_vec_cpu_fits(const apus_caps *caps, const void *problem);
uint32_t apusi_vec_cpu_tiles(const apus_caps *caps, const void *problem, apus_tile *out,
                             uint32_t room);
apus_status apusi_vec_cpu_emit(apus_lower *l, const apus_matmul_problem *p, apusi_few *few,
                               apus_dispatch *d);
bool apusi_dot_cpu_fits(const apus_caps *caps, const void *problem);
uint32_t apusi_dot_cpu_tiles(const apus_caps *caps, const void *problem, apus_tile *out,
                             uint32_t room);
bool apusi_dot_cpu_chosen(const apus_caps *caps, const void *problem);
apus_status apusi_dot_cpu_emit(apus_lower *l, const apus_matmul_problem *p, apusi_few *few,
                               apus_dispatch *d);

/* ---- CPU drivers, many rows ---- */

bool apusi_cpu_fits(const apus_caps *caps, const void *problem);
bool apusi_row_cpu_fits(const apus_caps *caps, const void *problem);
bool apusi_row_cpu_chosen(const apus_caps *caps, const void *problem);
/* Of both: rows, and turns of the loop in one. */
uint32_t apusi_cpu_tiles(const apus_caps *caps, const void *problem, apus_tile *out, uint32_t room);
apus_status apusi_cpu_emit(apus_lower *l, const apus_matmul_problem *p, apus_dispatch *d);
apus_status apusi_row_cpu_emit(apus_lower *l, const apus_matmul_problem *p, apus_dispatch *d);

/* ---- products of bytes ---- */

bool apusi_int8_fits(const apus_caps *caps, const void *problem);
bool apusi_int8_sound(const apus_caps *caps, const void *problem);
bool apusi_int8_chosen(const apus_caps *caps, const void *problem);
uint32_t apusi_int8_tiles(const apus_caps *caps, const void *problem, apus_tile *out,
                          uint32_t room);
apus_status apusi_int8_emit(apus_lower *l, const apus_matmul_problem *p, apus_dispatch *d);

/* ---- of all algorithms ---- */

/* The grid of kernels whose workgroups make blocks of bm x bn.  They run along m first: neighbours
 * share columns of b, which is the large operand. */
void apusi_matmul_block_grid(const apus_matmul_problem *p, uint32_t bm, uint32_t bn,
                             apus_dispatch *d);

/* Registers for a large tile: what has at least 32 lanes (AMD, NVIDIA, Apple, Qualcomm).  A tile of
 * 8 x 8 spills on GPUs with narrower subgroups. */
static inline bool apusi_wide_gpu(const apus_caps *caps)
{
    return caps->subgroup_min >= 32;
}

static inline bool apusi_gpu_class(const apus_caps *caps, const void *problem)
{
    (void)problem;
    return caps->device_class == APUS_CLASS_GPU;
}

static inline bool apusi_cpu_class(const apus_caps *caps, const void *problem)
{
    return !apusi_gpu_class(caps, problem);
}

/* Where neighbouring lanes have the columns of a word: they exchange them. */
static inline bool apusi_lanes_store(const apus_caps *caps, const apus_matmul_problem *p)
{
    return p->y == APUS_F32 || (caps->subgroup_shuffle && caps->subgroup >= 2);
}

/* Where a lane can read a number of 8, 16 or 32 bits of its own out of a row (lanes.glsl). */
static inline bool apusi_side_by_side(const apus_caps *caps)
{
    return caps->small_ints && caps->subgroup_shuffle && caps->subgroup >= 4 &&
           caps->subgroup <= 16;
}

/* Every kernel has the formats of a and y behind its own constants. */
static inline void apusi_set_spec(apus_dispatch *d, const apus_matmul_problem *p,
                                  const uint32_t *spec, uint32_t n)
{
    d->n_spec = n + 2;
    memcpy(d->spec, spec, n * sizeof(*spec));
    d->spec[n] = p->a;
    d->spec[n + 1] = p->y;
}

/* The same, and what a kernel for a second product and for several has behind those. */
static inline void apusi_set_product_spec(apus_dispatch *d, const apus_matmul_problem *p,
                                          const uint32_t *spec, uint32_t n)
{
    apusi_set_spec(d, p, spec, n);
    d->spec[d->n_spec++] = p->k2 > 0;
    d->spec[d->n_spec++] = p->batch > 0;
}

#endif
