/* tuning_shapes.c - products of given shapes for `apus tune`, where there is no model.  They are
 * named as choices are listed: "nt 512x4096x4096 q4_K" is y (512, 4096) = a (512, 4096) b' with b
 * (4096, 4096) in that format. */
#include <stdio.h>

#include "half.h"
#include "layout.h"
#include "matmul.h"
#include "rng.h"
#include "tuning_internal.h"
#include "types.h"

#define MOST_DIM (1u << 24)
#define MOST_COPIES 8u
#define COPIES_BYTES (32u << 20)

typedef struct shape {
    apus_matmul_kind kind;
    uint32_t a[2], b[2];
    apus_dtype act, type; /* of a and y; of b */
} shape;

static apus_status read_shape(shape *s, const char *text, apus_dtype act)
{
    static const char *const kinds[] = { "nt", "nn", "tn" };
    char kind[8], type[16], rest;
    uint32_t m, n, k;
    uint64_t bytes;

    *s = (shape) { .act = act };
    const bool read = sscanf(text, "%7s %ux%ux%u %15s%c", kind, &m, &n, &k, type, &rest) == 5 &&
                      apus_dtype_by_name(type, &s->type) && apus_dtype_is_weight(s->type) && m &&
                      n && k && m <= MOST_DIM && n <= MOST_DIM && k <= MOST_DIM;
    while (read && (uint32_t)s->kind < APUS_COUNT(kinds) && strcmp(kinds[s->kind], kind) != 0)
        s->kind++;
    if (!read || (uint32_t)s->kind == APUS_COUNT(kinds))
        return apus_fail(
            APUS_ERR_ARG,
            "--shapes \"%s\": expected a product such as \"nt 512x4096x4096 q4_0\" (nt, "
            "nn or tn; rows, columns and terms; format of the weight)",
            text);
    memcpy(s->a, s->kind == APUS_TN ? (uint32_t[]) { k, m } : (uint32_t[]) { m, k }, sizeof(s->a));
    memcpy(s->b, s->kind == APUS_NT ? (uint32_t[]) { n, k } : (uint32_t[]) { k, n }, sizeof(s->b));
    if (s->kind == APUS_TN) /* the gradient of a weight has two activations */
        s->type = act;
    if (!apus_tensor_bytes(s->type, 2, s->b, &bytes) || !apus_tensor_bytes(act, 2, s->a, &bytes) ||
        (act != APUS_F32 && (s->a[1] % 4 || n % 4)))
        return apus_fail(APUS_ERR_ARG, "--shapes \"%s\": %s has no rows of that length", text,
                         apus_dtype_of(s->type)->name);
    return APUS_OK;
}

void apusi_shapes_fill(uint32_t *words, uint64_t bytes, apus_dtype type, uint64_t scales_at)
{
    uint32_t r[4] = { 0 };

    for (uint64_t i = 0; i < bytes / 4; i++) {
        const uint32_t counter[4] = { (uint32_t)i, 0, 0, 0 }, key[2] = { 1, 2 };
        if (i % 4 == 0)
            apus_philox(key, counter, r);
        const float f = apus_uniform_f32(r[i % 4]) - 0.5f;
        const uint16_t h = type == APUS_BF16 ? apus_f32_to_bf16(f) : apus_f32_to_f16(f);
        if (type == APUS_F32)
            memcpy(&words[i], &f, 4);
        else if (!apus_dtype_is_quant(type) || 4 * i >= scales_at)
            words[i] = (uint32_t)h | (uint32_t)h << 16;
        else
            words[i] = r[i % 4];
    }
}

/* A buffer with `copies` tensors of the same values, `apart` bytes from each other. */
static apus_status make_operand(apusi_shapes *s, apus_dtype type, const uint32_t dims[2],
                                uint32_t most, uint32_t *copies, uint64_t *apart, apus_addr *at)
{
    apus_buffer *b = &s->buffers[s->n_buffers];
    apus_status st = APUS_OK;
    uint64_t bytes = 0;

    APUS_BUG_IF(!apus_tensor_bytes(type, 2, dims, &bytes));
    *apart = apus_round_up(bytes, 256);
    *copies = *apart * most <= COPIES_BYTES ? most : (uint32_t)(COPIES_BYTES / *apart);
    *copies = *copies < 1 ? 1 : *copies;
    APUS_FORWARD(apus_buffer_create(s->gpu, b, *copies * *apart, APUS_MEMORY_DEVICE, "operand"));
    s->n_buffers++;
    uint32_t *words = apus_alloc(*apart);
    if (!words)
        return APUS_ERR_MEMORY;
    apusi_shapes_fill(words, bytes, type,
                      apus_dtype_is_quant(type) ? apus_layout_scales_at(type, dims[0], dims[1])
                                                : 0);
    for (uint32_t i = 0; i < *copies && st == APUS_OK; i++)
        st = apus_buffer_write(s->gpu, b, i * *apart, words, *apart);
    apus_free(words);
    *at = b->address;
    return st;
}

static apus_status add_shape(apusi_shapes *s, const shape *x)
{
    apus_graph *g = &s->graph;
    uint32_t one, copies;
    uint64_t apart;
    apus_addr a_at, b_at;

    APUS_FORWARD(make_operand(s, x->act, x->a, 1, &one, &apart, &a_at));
    APUS_FORWARD(make_operand(s, x->type, x->b, MOST_COPIES, &copies, &apart, &b_at));
    apus_tensor *a = apus_graph_bound(g, "a", x->act, 2, x->a, a_at);
    for (uint32_t i = 0; i < copies; i++) {
        apus_tensor *b = apus_graph_bound(g, "b", x->type, 2, x->b, b_at + i * apart);
        apus_matmul(g, a, b,
                    &(apus_matmul_params) { .kind = x->kind,
                                            .out = x->kind == APUS_TN ? APUS_F32 : x->act });
    }
    return apus_graph_status(g);
}

apus_status apusi_shapes_open(apusi_shapes *s, const apus_tuning_params *params)
{
    apus_status st;
    apus_dtype act = APUS_F32;
    shape x;

    if (params->n_shapes > APUSI_SHAPES_MOST)
        return apus_fail(APUS_ERR_ARG, "--shapes: %zu products, at most %d are measured at once",
                         params->n_shapes, APUSI_SHAPES_MOST);
    if (params->torch_dtype)
        APUS_FORWARD(apus_torch_dtype_read(&act, params->torch_dtype));
    for (size_t i = 0; i < params->n_shapes; i++) /* all of them before a device is opened */
        APUS_FORWARD(read_shape(&x, params->shapes[i], act));
    APUS_TRY(apus_gpu_create(&s->gpu, &(apus_gpu_params) { .device = params->device }));
    APUS_TRY(apus_exec_create(&s->exec, s->gpu));
    APUS_TRY(apus_graph_init(&s->graph));
    for (size_t i = 0; i < params->n_shapes; i++) {
        APUS_TRY(read_shape(&x, params->shapes[i], act));
        APUS_TRY(add_shape(s, &x));
    }
    APUS_TRY(apus_plan_create(
        &s->plan, s->exec, &s->graph,
        &(apus_plan_params) { .name = "shapes",
                              .narrow = act != APUS_F32 ? APUS_NARROW_16 : APUS_NARROW_NOT,
                              .force = "" }));
    APUS_TRY(apus_plan_run(s->plan, NULL));
fail:
    return st;
}

void apusi_shapes_close(apusi_shapes *s)
{
    apus_plan_destroy(&s->plan);
    apus_graph_release(&s->graph);
    for (uint32_t i = 0; i < s->n_buffers; i++)
        apus_buffer_destroy(s->gpu, &s->buffers[i]);
    apus_exec_destroy(&s->exec);
    apus_gpu_destroy(&s->gpu);
    *s = (apusi_shapes) { 0 };
}
