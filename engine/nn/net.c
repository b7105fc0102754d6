/* net.c - the walk over a layer's program, names and projections. */
#include "net.h"

#include "matmul.h"

uint32_t apus_dim_of(const apus_net_dims *d, apus_dim dim)
{
    switch (dim) {
    case APUS_DIM_MODEL:
        return d->hidden;
    case APUS_DIM_Q:
        return d->heads * d->head_dim;
    case APUS_DIM_KV:
        return d->kv_heads * d->head_dim;
    case APUS_DIM_FFN:
        return d->ffn;
    case APUS_DIM_HEAD:
        return d->head_dim;
    case APUS_DIM_VOCAB:
        return d->vocab;
    case APUS_DIM_NONE:
        break;
    }
    return 1;
}

const char *apus_net_name(const apus_net *net, const apus_layer_step *step, const char *suffix)
{
    const char *dot = step->name[0] && suffix[0] ? "." : "";
    const char *name =
        apus_arena_format(&net->g->arena, "%s%s%s%s", net->prefix, step->name, dot, suffix);

    return name ? name : "";
}

apus_tensor *apus_net_project(apus_net *net, const apus_layer_step *step, const char *name,
                              apus_tensor *x, bool bias, apus_tensor *acc)
{
    apus_graph *g = net->g;
    const char *module = apus_net_name(net, step, name);
    const char *weight = apus_arena_format(&g->arena, "%s.weight", module);
    const char *bias_name = apus_arena_format(&g->arena, "%s.bias", module);
    apus_tensor *y;

    if (!weight || !bias_name)
        return apus_graph_fail(g, APUS_ERR_MEMORY, "out of host memory building a graph");
    g->prefix = module;
    y = apus_matmul(g, x, net->weight(net->weight_user, g, weight),
                    &(apus_matmul_params) {
                        .kind = APUS_NT,
                        .out = x ? x->dtype : APUS_F32,
                        .acc = acc,
                        .bias = bias ? net->weight(net->weight_user, g, bias_name) : NULL });
    if (net->adapt && y)
        y = net->adapt(net->adapt_user, g, module, x, y);
    return y;
}

void apus_net_layer(apus_net *net, const apus_layer_step *program, uint32_t layer)
{
    apus_graph *g = net->g;

    net->layer = layer;
    g->region = layer + 1;
    for (const apus_layer_step *s = program; s->block; s++) {
        net->folds_residual = s[1].block && s[1].block->residual;
        net->folded = net->folded && s->block->residual;
        g->prefix = apus_net_name(net, s, "");
        s->block->build(net, s);
    }
    g->region = 0;
}
