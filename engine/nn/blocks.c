/* blocks.c - norm, residual and gated MLP: the blocks without state. */
#include "add.h"
#include "net.h"
#include "rms_norm.h"
#include "swiglu.h"

static const apus_weight_decl norm_weights[] = {
    { "weight", APUS_DIM_MODEL, APUS_DIM_NONE, 0, false },
    { NULL },
};

static void build_norm(apus_net *net, const apus_layer_step *step)
{
    net->h = apus_rms_norm(
        net->g, net->x, net->weight(net->weight_user, net->g, apus_net_name(net, step, "weight")),
        net->dims->rms_eps);
}

const apus_block apus_block_norm = { "norm(%s)", false, norm_weights, build_norm };

static const apus_weight_decl no_weights[] = { { NULL } };

static void build_residual(apus_net *net, const apus_layer_step *step)
{
    (void)step;
    net->x = net->folded ? net->h : apus_add(net->g, net->x, net->h);
    net->folded = false;
}

const apus_block apus_block_residual = { "X + %s", true, no_weights, build_residual };

static const apus_weight_decl mlp_weights[] = {
    { "gate_proj.weight", APUS_DIM_FFN, APUS_DIM_MODEL, 0, true },
    { "up_proj.weight", APUS_DIM_FFN, APUS_DIM_MODEL, 0, true },
    { "down_proj.weight", APUS_DIM_MODEL, APUS_DIM_FFN, 0, true },
    { NULL },
};

static void build_mlp(apus_net *net, const apus_layer_step *step)
{
    apus_tensor *gate = apus_net_project(net, step, "gate_proj", net->h, false, NULL);
    apus_tensor *up = apus_net_project(net, step, "up_proj", net->h, false, NULL);

    net->h = apus_net_project(net, step, "down_proj", apus_swiglu(net->g, gate, up), false,
                              net->folds_residual ? net->x : NULL);
    net->folded = net->folds_residual;
}

const apus_block apus_block_mlp = { "mlp(%s)", false, mlp_weights, build_mlp };
