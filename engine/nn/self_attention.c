/* self_attention.c - causal self-attention with grouped key-value heads and rotary positions;
 * with a paged cache (inference) or over the step's own rows (training). */
#include "kv_append.h"
#include "net.h"
#include "rms_norm.h"
#include "rope.h"

static const apus_weight_decl weights[] = {
    { "q_proj.weight", APUS_DIM_Q, APUS_DIM_MODEL, 0, true },
    { "k_proj.weight", APUS_DIM_KV, APUS_DIM_MODEL, 0, true },
    { "v_proj.weight", APUS_DIM_KV, APUS_DIM_MODEL, 0, true },
    { "o_proj.weight", APUS_DIM_MODEL, APUS_DIM_Q, 0, true },
    { "q_proj.bias", APUS_DIM_Q, APUS_DIM_NONE, APUS_QKV_BIAS, false },
    { "k_proj.bias", APUS_DIM_KV, APUS_DIM_NONE, APUS_QKV_BIAS, false },
    { "v_proj.bias", APUS_DIM_KV, APUS_DIM_NONE, APUS_QKV_BIAS, false },
    { "q_norm.weight", APUS_DIM_HEAD, APUS_DIM_NONE, APUS_QK_NORM, false },
    { "k_norm.weight", APUS_DIM_HEAD, APUS_DIM_NONE, APUS_QK_NORM, false },
    { NULL },
};

static apus_tensor *flat(apus_net *net, apus_tensor *x)
{
    return x ? apus_graph_reshape(net->g, x, 2,
                                  (uint32_t[]) { x->dims[0], x->dims[1] * x->dims[2] })
             : NULL;
}

/* The weight of the norm by head; NULL where the family has none. */
static apus_tensor *head_norm(apus_net *net, const apus_layer_step *step, const char *name)
{
    if (!(step->flags & APUS_QK_NORM))
        return NULL;
    return net->weight(net->weight_user, net->g, apus_net_name(net, step, name));
}

/* (T, heads * E) as (T, heads, E), normalized by head where the family does so, and turned. */
static apus_tensor *turned(apus_net *net, const apus_layer_step *step, apus_tensor *x,
                           uint32_t heads, const char *norm)
{
    const uint32_t e = net->dims->head_dim;

    if (!x)
        return NULL;
    x = apus_graph_reshape(net->g, x, 3, (uint32_t[]) { x->dims[0], heads, e });
    if (step->flags & APUS_QK_NORM)
        x = apus_rms_norm(net->g, x, head_norm(net, step, norm), net->dims->rms_eps);
    return flat(net, apus_rope(net->g, x, net->rope, net->sequences.pos,
                               &(apus_rope_params) { .head_dim = e }));
}

static void build(apus_net *net, const apus_layer_step *step)
{
    apus_graph *g = net->g;
    const apus_net_dims *d = net->dims;
    const apus_sequences *s = &net->sequences;
    const bool bias = step->flags & APUS_QKV_BIAS;
    const apus_attention_params params = {
        .heads = d->heads,
        .kv_heads = d->kv_heads,
        .head_dim = d->head_dim,
        .window = net->layer >= d->window_from ? d->window : 0,
    };
    apus_tensor *q = apus_net_project(net, step, "q_proj", net->h, bias, NULL);
    apus_tensor *k = apus_net_project(net, step, "k_proj", net->h, bias, NULL);
    apus_tensor *v = apus_net_project(net, step, "v_proj", net->h, bias, NULL);
    apus_tensor *lse = NULL, *o;

    g->prefix = apus_net_name(net, step, "");
    if (net->k_cache) {
        q = apus_kv_append(
            g, q, k, v, net->k_cache, net->v_cache, s,
            &(apus_kv_append_params) { .head_dim = d->head_dim,
                                       .kv_heads = d->kv_heads,
                                       .table = net->rope,
                                       .q_norm = head_norm(net, step, "q_norm.weight"),
                                       .k_norm = head_norm(net, step, "k_norm.weight"),
                                       .eps = d->rms_eps });
        o = apus_attention(g, q, net->k_cache, net->v_cache, s, &params, NULL);
    } else {
        q = turned(net, step, q, d->heads, "q_norm.weight");
        k = turned(net, step, k, d->kv_heads, "k_norm.weight");
        o = apus_attention(g, q, k, v, s, &params, &lse);
    }
    net->h = apus_net_project(net, step, "o_proj", o, false, net->folds_residual ? net->x : NULL);
    net->folded = net->folds_residual;
}

const apus_block apus_block_attention = { "attention(%s)", false, weights, build };
