/* kernels.c - graphs of single operators at many shapes, lowered into kernels.  See kernels.h.
 * Nothing is allocated: tensors lie at addresses that were made up. */
#include "kernels.h"

#include "adamw_8bit.h"
#include "add.h"
#include "args/adamw_8bit.h"
#include "args/sample.h"
#include "args/train_state.h"
#include "attention_back.h"
#include "col_sum.h"
#include "cross_entropy.h"
#include "embed.h"
#include "fetch.h"
#include "kv_append.h"
#include "matmul.h"
#include "rms_norm.h"
#include "sample.h"

#define ROWS 512
#define PAGE 64         /* tokens; APUS_PAGE_TOKENS, and the training step's */
#define LONG_CACHE 2048 /* keys, which few rows divide */
#define KV_HEADS 2

static const apus_dtype weights[] = { APUS_F32,  APUS_F16,  APUS_BF16, APUS_Q8_0, APUS_Q4_0,
                                      APUS_Q4_1, APUS_Q5_0, APUS_Q5_1, APUS_Q4_K, APUS_Q6_K };
static const apus_dtype plain[] = { APUS_F32, APUS_F16, APUS_BF16 };

typedef struct shapes {
    const apus_caps *caps;
    apus_graph g;
    apus_dtype act; /* format of activations */
    uint64_t at;    /* address of the next tensor */
} shapes;

static apus_tensor *bound(shapes *s, apus_dtype type, uint32_t rows, uint32_t cols)
{
    apus_tensor *t =
        apus_graph_bound(&s->g, "x", type, cols ? 2 : 1, (uint32_t[]) { rows, cols }, s->at);

    s->at += t ? apus_round_up(t->bytes, 256) : 0;
    return t;
}

static apus_tensor *step(shapes *s, apus_dtype type, uint32_t n)
{
    return apus_graph_step(&s->g, "step", type, n, APUS_ROWS_ALL);
}

/* ---- attention ---- */

static apus_sequences sequences(shapes *s, const apus_attention_params *p, uint32_t rows,
                                uint32_t keys)
{
    const uint32_t pages = keys / PAGE;
    const uint32_t tokens =
        apus_attention_block_tokens(s->caps, p->heads, p->kv_heads, p->head_dim, rows);
    const uint32_t blocks = (uint32_t)apus_ceil_div(rows, tokens);

    return (apus_sequences) {
        .pos = step(s, APUS_U32, rows),
        .seq = step(s, APUS_U32, rows),
        .base = step(s, APUS_U32, 1),
        .length = step(s, APUS_U32, 1),
        .pages = step(s, APUS_U32, pages),
        .blocks = step(s, APUS_U32, 2 * blocks),
        .page_tokens = PAGE,
        .max_pages = pages,
        .block_tokens = tokens,
        .max_blocks = blocks,
    };
}

/* A prompt or one token over a cache of that type; with that of activations the gradient too.
 * `bent`: scores are capped, and there are sinks. */
static void add_attention(shapes *s, uint32_t head_dim, uint32_t group, apus_dtype type,
                          uint32_t rows, uint32_t keys, bool bent)
{
    apus_attention_params p = { .heads = group * KV_HEADS,
                                .kv_heads = KV_HEADS,
                                .head_dim = head_dim,
                                .softcap = bent ? 50.0f : 0.0f };
    const apus_sequences seqs = sequences(s, &p, rows, keys);
    apus_tensor *q = bound(s, s->act, rows, p.heads * head_dim), *lse = NULL;
    apus_tensor *k = bound(s, type, keys, KV_HEADS * head_dim);
    apus_tensor *v = bound(s, type, keys, KV_HEADS * head_dim);
    if (bent && (p.sinks = bound(s, APUS_F32, p.heads, 0)) != NULL) {
        p.sinks->wants_grad = true;
        p.sinks->grad_into = bound(s, APUS_F32, p.heads, 0);
    }
    apus_tensor *o = apus_attention(&s->g, q, k, v, &seqs, &p, &lse);

    if (type == s->act && rows == ROWS)
        apus_attention_back(&s->g, q, k, v, o, lse, bound(s, s->act, rows, p.heads * head_dim),
                            &seqs, &p);
    apus_kv_append(&s->g, q, bound(s, s->act, rows, KV_HEADS * head_dim),
                   bound(s, s->act, rows, KV_HEADS * head_dim), k, v, &seqs,
                   &(apus_kv_append_params) { .head_dim = head_dim, .kv_heads = KV_HEADS });
}

/* Head sizes of models, and the largest; query heads of a key-value head. */
static void add_heads(shapes *s, bool few)
{
    static const uint32_t sizes[] = { 64, 128, 32, 80, 96, 112, 160, 192, 256 };
    static const uint32_t groups[] = { 2, 1, 4, 7 };

    for (size_t e = 0; e < (few ? 2 : APUS_COUNT(sizes)); e++)
        for (size_t g = 0; g < (few ? 1 : APUS_COUNT(groups)); g++)
            for (size_t c = 0; c < APUS_COUNT(plain); c++) {
                if (s->act != APUS_F32 && plain[c] != s->act)
                    continue; /* a cache has the format of 16-bit activations */
                add_attention(s, sizes[e], groups[g], plain[c], ROWS, ROWS, false);
                add_attention(s, sizes[e], groups[g], plain[c], 1, ROWS, false);
                add_attention(s, sizes[e], groups[g], plain[c], 1, LONG_CACHE, false);
                if (g > 0)
                    continue;
                add_attention(s, sizes[e], groups[g], plain[c], ROWS, ROWS, true);
                add_attention(s, sizes[e], groups[g], plain[c], 1, LONG_CACHE, true);
            }
}

/* ---- products ---- */

static void add_matmul(shapes *s, apus_matmul_kind kind, uint32_t m, uint32_t n, uint32_t k,
                       apus_dtype type)
{
    apus_tensor *a = kind == APUS_TN ? bound(s, s->act, k, m) : bound(s, s->act, m, k);
    apus_tensor *b = kind == APUS_NT ? bound(s, type, n, k) : bound(s, type, k, n);

    apus_matmul(&s->g, a, b,
                &(apus_matmul_params) { .kind = kind, .out = kind == APUS_TN ? APUS_F32 : s->act });
}

/* Layers of a small and of a large model, a head, the down half of an adapter. */
static void add_products(shapes *s, bool few)
{
    static const struct {
        uint32_t n, k;
    } layers[] = { { 576, 576 }, { 4096, 4096 }, { 32768, 1024 }, { 8, 1024 } };
    static const uint32_t rows[] = { 1, 8, ROWS, 2, 3, 4, 5, 6, 7, 16, 32, 64 };
    const size_t n_layers = few ? 2 : APUS_COUNT(layers), n_rows = few ? 3 : APUS_COUNT(rows);

    for (size_t l = 0; l < n_layers; l++) {
        for (size_t t = 0; t < APUS_COUNT(weights); t++)
            for (size_t r = 0; r < n_rows; r++) {
                if (apus_dtype_is_quant(weights[t]) &&
                    (layers[l].n % 32 || layers[l].k % apus_dtype_of(weights[t])->block))
                    continue; /* adapters are not quantized, nor are parts of a block */
                add_matmul(s, APUS_NT, rows[r], layers[l].n, layers[l].k, weights[t]);
                add_matmul(s, APUS_NN, rows[r], layers[l].k, layers[l].n, weights[t]);
            }
        add_matmul(s, APUS_TN, layers[l].n, layers[l].k, ROWS, s->act);
        add_matmul(s, APUS_TN, layers[l].k, layers[l].n, ROWS, s->act);
    }
}

/* ---- the rest: what depends on the format or on the columns, or is in no plan of a model ---- */

static void add_columns(shapes *s, uint32_t cols)
{
    apus_tensor *logits = bound(s, APUS_F32, 8, cols);

    apus_rms_norm(&s->g, bound(s, s->act, ROWS, cols), bound(s, APUS_F32, cols, 0), 1e-5f);
    for (int gradient = 0; gradient < 2; gradient++)
        apus_cross_entropy(
            &s->g, logits,
            &(apus_cross_entropy_params) { .labels = step(s, APUS_U32, 8),
                                           .weights = step(s, APUS_F32, 8),
                                           .state = bound(s, APUS_F32, APUS_STATE_WORDS, 0),
                                           .gradient = gradient });
    apus_sample(&s->g, logits,
                &(apus_sample_params) { .settings = step(s, APUS_U32, 8 * APUS_SAMPLE_WORDS),
                                        .out = bound(s, APUS_U32, 8, 0) });
}

static void add_optimizer(shapes *s)
{
    const uint32_t n = 4 * APUS_ADAMW_BLOCK;
    const apus_adamw_state moments = {
        .codes_m = bound(s, APUS_U8, n, 0),
        .codes_v = bound(s, APUS_U8, n, 0),
        .scales = bound(s, APUS_F32, 8, 0),
        .wide_m = bound(s, APUS_F32, APUS_ADAMW_BLOCK, 0),
        .wide_v = bound(s, APUS_F32, APUS_ADAMW_BLOCK, 0),
        .runs = bound(s, APUS_U32, 1, APUS_ADAMW_RUN_WORDS),
        .n_coded = 4,
        .n_blocks = 4,
    };

    apus_adamw_8bit(&s->g, bound(s, APUS_F32, n, 0), bound(s, APUS_F32, n, 0), &moments,
                    s->act == APUS_F32 ? NULL : bound(s, s->act, n, 0),
                    bound(s, APUS_F32, APUS_STATE_WORDS, 0), &(apus_adamw_params) { .eps = 1e-8f });
}

static void add_rest(shapes *s)
{
    for (size_t t = 0; t < APUS_COUNT(weights); t++)
        apus_embed(&s->g, step(s, APUS_U32, ROWS), bound(s, weights[t], 4096, 1024), NULL, s->act);
    add_columns(s, 4096);
    if (s->act == APUS_F32)
        add_columns(s, 4095);
    apus_add(&s->g, bound(s, s->act, ROWS, 64), bound(s, s->act, ROWS, 64));
    apus_fetch(&s->g, bound(s, s->act, ROWS, 64), NULL);
    apus_col_sum(&s->g, bound(s, s->act, ROWS, 64), bound(s, APUS_F32, 64, 0));
    add_optimizer(s);
}

apus_status kernels_each(const apus_caps *caps, const apus_plan_params *params, kernel_visit *visit,
                         void *user)
{
    apus_status st;
    apus_plan_info info;
    apus_list list = { 0 };
    shapes s = { .caps = caps, .at = 1 << 20 };
    const bool few = params->force && params->force[0];

    APUS_FORWARD(apus_graph_init(&s.g));
    for (size_t i = 0; i < APUS_COUNT(plain); i++) {
        s.act = plain[i];
        if (s.act != APUS_F32 && !params->narrow)
            continue; /* whoever stores 16 bits allows them in products */
        add_heads(&s, few);
        add_products(&s, few);
        if (!few)
            add_rest(&s);
    }
    APUS_TRY(apus_plan_estimate(&info, &list, &s.g, caps, params));
    for (uint32_t i = 0; i < list.n_items; i++)
        if (list.items[i].kind == APUS_ITEM_DISPATCH)
            visit(user, &list.items[i].kernel);
fail:
    apus_list_release(&list);
    apus_graph_release(&s.g);
    return st;
}
