/* arch.c - the table of families, and what follows from it: weights and formulas. */
#include "arch.h"

#include <stdio.h>

#include "arch/families.h"
#include "str.h"

const apus_arch *const apus_archs[] = {
#define ARCH(x) &apus_arch_##x,
#include "arch/arch.def"
#undef ARCH
    NULL
};

apus_status apus_arch_find(const apus_arch **out, const char *model_type)
{
    apus_str known = { 0 };
    apus_status st;

    for (size_t i = 0; apus_archs[i]; i++)
        if (!strcmp(apus_archs[i]->model_type, model_type)) {
            *out = apus_archs[i];
            return APUS_OK;
        }
    for (size_t i = 0; apus_archs[i]; i++)
        apus_str_addf(&known, "%s%s", i ? ", " : "", apus_archs[i]->model_type);
    st = apus_fail(APUS_ERR_SUPPORT, "models of type \"%s\" are not supported yet; there are: %s",
                   model_type, known.data ? known.data : "none");
    apus_str_release(&known);
    return st;
}

static apus_status visit_step(const apus_arch *arch, const apus_net_dims *dims, uint32_t layer,
                              const apus_layer_step *s, apus_weight_visitor visit, void *user)
{
    char prefix[64], name[160];

    snprintf(prefix, sizeof(prefix), arch->layer_prefix, layer);

    for (const apus_weight_decl *w = s->block->weights; w->suffix; w++) {
        if ((s->flags & w->needs) != w->needs)
            continue;
        snprintf(name, sizeof(name), "%s%s.%s", prefix, s->name, w->suffix);
        APUS_FORWARD(visit(user, name, layer, apus_dim_of(dims, w->rows),
                           w->cols == APUS_DIM_NONE ? 0 : apus_dim_of(dims, w->cols), w->target));
    }
    return APUS_OK;
}

apus_status apus_arch_weights(const apus_arch *arch, const apus_net_dims *dims, bool tied,
                              apus_weight_visitor visit, void *user)
{
    APUS_FORWARD(visit(user, arch->embed, APUS_NO_LAYER, dims->vocab, dims->hidden, false));
    for (uint32_t i = 0; i < dims->layers; i++)
        for (const apus_layer_step *s = arch->layer; s->block; s++)
            APUS_FORWARD(visit_step(arch, dims, i, s, visit, user));
    APUS_FORWARD(visit(user, arch->norm, APUS_NO_LAYER, dims->hidden, 0, false));
    if (!tied)
        APUS_FORWARD(visit(user, arch->head, APUS_NO_LAYER, dims->vocab, dims->hidden, false));
    return APUS_OK;
}

char *apus_arch_formula(const apus_arch *arch)
{
    char branch[160] = "X", next[200];
    apus_str all = { 0 };

    for (const apus_layer_step *s = arch->layer; s->block; s++) {
        snprintf(next, sizeof(next), s->block->formula, branch);
        if (!s->block->residual) {
            memcpy(branch, next, sizeof(branch) - 1);
            continue;
        }
        apus_str_addf(&all, "%sX = %s", all.len ? "; " : "", next);
        memcpy(branch, "X", 2);
    }
    return all.data;
}
