/* optest.h - the runner of operator tests.
 *
 * A test gives inputs, a builder and a definition in double precision, written from the paper; the
 * runner derives the rest, for every algorithm that it is told to force and the device can run:
 * values within a derived bound, gradients against central differences of the definition, the same
 * bits twice, a guard of its own NaN pattern behind every tensor, hazards checked. */
#ifndef APUS_OPTEST_H
#define APUS_OPTEST_H

#include "exec.h"
#include "harness.h"

#define OPTEST_MAX 16

typedef struct optest_tensor {
    const char *name;
    apus_dtype dtype;
    uint32_t n_dims, dims[4];
    bool step;      /* an array of the step buffer (u32 or f32), not a bound tensor */
    bool fixed;     /* no gradient is wanted */
    bool trained;   /* its gradient is added to a persistent buffer (grad_into) */
    float scale;    /* random values in [-scale, scale]; 0: 1 */
    apus_rows rows; /* live rows; max 0: all */
    double *value;  /* made by the runner (decoded where quantized), or by `fill` (apus_calloc) */
    uint32_t *u32;  /* of u32 tensors, and the bytes of u8 ones, set by `fill` */
} optest_tensor;

typedef struct optest optest;
struct optest {
    const char *name;      /* also why it is there: "one more than a tile" */
    const char *force[12]; /* algorithms to force in turn; empty: the default choice only */
    bool picky;      /* there may be no algorithm for it: not every one that is forced has another
                   behind it */
    uint32_t narrow; /* significant bits to which the forced algorithm rounds both factors of its
                         products: 11 (f16), 8 (bf16); 0: none, it is exact */
    optest_tensor in[OPTEST_MAX], out[4];
    uint32_t n_in, n_out; /* counted by the runner up to the first without a name */
    const void *params;
    /* Give values where random ones will not do (indices, positions, labels).  May be NULL. */
    void (*fill)(optest *t);
    /* Write an input that holds addresses of others (in[i]->at), once they have buffers.  May be
     * NULL. */
    void (*link)(const optest *t, apus_tensor *const *in, uint8_t *const *bytes);
    /* Build the node(s); outs[i] for each output.  An output may be a bound input that is
     * changed in place (mark it `fixed`): its dead rows must then stay as they were. */
    void (*build)(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs);
    /* out[i][e] from in[][] (NaN: it has to be one); magnitude[i][e] = sum of the absolute values
     * of its terms (at least the size of any intermediate), terms = how many are summed in the
     * longest sum. */
    void (*define)(const optest *t, const double *const *in, double **out, double **magnitude,
                   uint32_t *terms);
    uint32_t vars[APUS_STEP_VARS]; /* step variables of the run */
    uint32_t inner;    /* 16-bit results on the way to the output, where activations have 16 bits */
    double grad_bound; /* relative; 0: 1e-4 */
    double extra_bound; /* absolute, for functions with a stated precision (exp, sin); 0: none */
    /* The same for element e of output o; NULL: extra_bound. */
    double (*extra)(const optest *t, const double *const *in, uint32_t o, uint64_t e);
};

/* Run a table of cases on the device (one for the program).  Failures go to the harness. */
void optest_run(optest *cases, size_t n);
/* The same with activations stored in f16, then in bf16: the inputs whose bits are set in `acts`
 * (those in f32), where rows are whole fours.  The results' formats are what the builder makes of
 * it. */
void optest_run_stored(optest *cases, size_t n, uint32_t acts);
/* The program's device and exec; NULL after harness_skip where there is no Vulkan. */
apus_exec *optest_exec(void);
apus_gpu *optest_gpu(void);
/* Deterministic random numbers in [-1, 1). */
double optest_random(uint64_t *state);

#endif
