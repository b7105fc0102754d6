/* arch.h - families of models as tables.  A family is one file of data in arch/; a difference
 * that no flag can say becomes a new block, never a condition on a name. */
#ifndef APUSI_ARCH_H
#define APUSI_ARCH_H

#include "net.h"

typedef struct apus_arch {
    const char *name;         /* "llama" */
    const char *model_type;   /* config.json's model_type that it serves */
    const char *layer_prefix; /* "model.layers.%u." */
    const char *embed, *norm,
        *head; /* full names of the outer weights; head may be tied to embed */
    const apus_layer_step *layer;
} apus_arch;

/* The family of a model_type.  Errors: APUS_ERR_SUPPORT (lists what there is). */
apus_status apus_arch_find(const apus_arch **out, const char *model_type);
/* All families, ending in NULL. */
extern const apus_arch *const apus_archs[];

#define APUS_NO_LAYER UINT32_MAX

/* One call for each weight that a model of this family has: name, layer (APUS_NO_LAYER: outside of
 * them), shape (cols 0: a vector), whether it is a projection.  Stops at the first failure. */
typedef apus_status (*apus_weight_visitor)(void *user, const char *name, uint32_t layer,
                                           uint32_t rows, uint32_t cols, bool target);
apus_status apus_arch_weights(const apus_arch *arch, const apus_net_dims *dims, bool tied,
                              apus_weight_visitor visit, void *user);
/* The formula of a layer: "X + attention(norm(X)); X + mlp(norm(X))".  Caller frees with
 * apus_free. */
char *apus_arch_formula(const apus_arch *arch);

#endif
