/* exec_test.h - small graphs on the device of the tests: bound tensors with random values, a
 * network of gated layers. */
#ifndef APUS_EXEC_TEST_H
#define APUS_EXEC_TEST_H

#include "autodiff.h"
#include "add.h"
#include "dropout.h"
#include "matmul.h"
#include "optest.h"
#include "rms_norm.h"
#include "swiglu.h"

#define STORE_MOST 64

/* Buffers of a test, destroyed together. */
typedef struct store {
    apus_buffer b[STORE_MOST];
    uint32_t n;
    uint64_t state; /* of the random numbers */
} store;

/* A bound f32 tensor with random values times `scale`; NULL after a failed check. */
static inline apus_tensor *store_tensor(store *s, apus_graph *g, const char *name, uint32_t rows,
                                        uint32_t cols, float scale)
{
    const uint64_t n = (uint64_t)rows * cols;
    apus_buffer *b = &s->b[s->n++];
    float *values = apus_calloc(n, sizeof(float));

    for (uint64_t i = 0; i < n; i++)
        values[i] = scale != 0 ? (float)optest_random(&s->state) * scale : 0;
    const bool ok =
        CHECK(s->n <= STORE_MOST && values) &&
        CHECK_OK(apus_buffer_create(optest_gpu(), b, 4 * n, APUS_MEMORY_DEVICE, name)) &&
        CHECK_OK(apus_buffer_write(optest_gpu(), b, 0, values, 4 * n));
    apus_free(values);
    return ok ? apus_graph_bound(g, name, APUS_F32, 2, (uint32_t[]) { rows, cols }, b->address)
              : NULL;
}

static inline void store_release(store *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        apus_buffer_destroy(optest_gpu(), &s->b[i]);
    *s = (store) { 0 };
}

#define NET_LAYERS 3
#define NET_T 64
#define NET_D 32
#define NET_F 96
#define NET_TRAINED (4 * NET_LAYERS)

/* x + down(swiglu(gate(h), up(h))), h = dropout(rms_norm(x)), a region each; rows live by
 * TOKENS. */
typedef struct net {
    apus_tensor *x, *y, *dy, *row_id, *pos;
    apus_tensor *trained[NET_TRAINED]; /* norm, gate, up, down of each layer */
} net;

static inline apus_tensor *net_weight(net *n, uint32_t i, store *s, apus_graph *g, uint32_t rows,
                                      uint32_t cols)
{
    apus_tensor *w = store_tensor(s, g, "w", rows, cols, 0.5f);

    n->trained[i] = w;
    if (!w)
        return NULL;
    w->wants_grad = true;
    w->grad_into = store_tensor(s, g, "into", rows, cols, 0);
    return w;
}

static inline apus_tensor *linear(apus_graph *g, apus_tensor *x, apus_tensor *w)
{
    return apus_matmul(g, x, w, &(apus_matmul_params) { .kind = APUS_NT });
}

/* The same values with every call.  Failures are in the graph's status. */
static inline void net_build(net *n, store *s, apus_graph *g)
{
    const apus_rows live = apus_rows_live(APUS_VAR_TOKENS, NET_T);

    *n = (net) { .x = store_tensor(s, g, "x", NET_T, NET_D, 1),
                 .dy = store_tensor(s, g, "dy", NET_T, NET_D, 1),
                 .row_id = apus_graph_step(g, "row_id", APUS_U32, NET_T, live),
                 .pos = apus_graph_step(g, "pos", APUS_U32, NET_T, live) };
    if (!n->x || !n->dy)
        return;
    n->x->wants_grad = true;
    n->x->rows = n->dy->rows = live;
    n->y = n->x;
    for (uint32_t l = 0; l < NET_LAYERS; l++) {
        apus_tensor *norm = net_weight(n, 4 * l, s, g, 1, NET_D);
        apus_tensor *gate = net_weight(n, 4 * l + 1, s, g, NET_F, NET_D);
        apus_tensor *up = net_weight(n, 4 * l + 2, s, g, NET_F, NET_D);
        apus_tensor *down = net_weight(n, 4 * l + 3, s, g, NET_D, NET_F);
        g->region = l + 1;
        apus_tensor *h = apus_rms_norm(g, n->y, norm, 1e-5f);
        h = apus_dropout(g, h, &(apus_dropout_params) { 0.2f, n->row_id, n->pos, l });
        h = apus_swiglu(g, linear(g, h, gate), linear(g, h, up));
        n->y = apus_add(g, n->y, linear(g, h, down));
    }
    g->region = 0;
    if (!n->y)
        return;
    n->y->keep = true;
    n->y->grad = n->dy;
}

static inline void net_step(const net *n, apus_plan *plan, uint32_t tokens)
{
    const apus_step step = apus_plan_step(plan);
    uint32_t *row_id = apus_step_array(&step, n->row_id), *pos = apus_step_array(&step, n->pos);

    step.vars[APUS_VAR_TOKENS] = tokens;
    step.vars[APUS_VAR_SEED] = 4;
    step.vars[APUS_VAR_STEP] = 1;
    for (uint32_t i = 0; i < NET_T; i++) {
        row_id[i] = i / 10;
        pos[i] = i % 10;
    }
}

/* The network with its gradients on an exec of its own. */
typedef struct bed {
    apus_exec *exec;
    apus_graph g;
    store s;
    net n;
    apus_plan *plan;
} bed;

/* `share` as for apus_exec_bound; false: no device, or said before. */
static inline bool bed_open(bed *b, double share, bool profile)
{
    const apus_plan_params params = { .name = "net", .force = "", .profile = profile };

    *b = (bed) { 0 };
    if (!optest_exec() || !CHECK_OK(apus_exec_create(&b->exec, optest_gpu())) ||
        !CHECK_OK(apus_graph_init(&b->g)))
        return false;
    apus_exec_bound(b->exec, share);
    net_build(&b->n, &b->s, &b->g);
    return CHECK_OK(apus_graph_status(&b->g)) &&
           CHECK_OK(apus_autodiff(&b->g, NULL, NET_LAYERS + 1)) && (b->n.x->grad->keep = true) &&
           CHECK_OK(apus_plan_create(&b->plan, b->exec, &b->g, &params));
}

static inline void bed_close(bed *b)
{
    apus_plan_destroy(&b->plan);
    apus_graph_release(&b->g);
    store_release(&b->s);
    apus_exec_destroy(&b->exec);
}

#endif
