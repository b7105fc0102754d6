/* algorithms.c - tables of variants as a list: what a build and a device have and would take. */
#include "env.h"
#include "op.h"

static void each_variant(const apus_op_def *op, const apus_caps *caps, const char *force,
                         const apus_op_problem *p,
                         void (*each)(void *user, const apus_algorithm *a), void *user)
{
    const apus_op_choices *c = op->choices;
    const apus_variant *wide, *narrow;

    wide = apus_variant_find(caps, false, force, op->name, c->variants, c->n_variants, p->problem);
    narrow = apus_variant_find(caps, true, force, op->name, c->variants, c->n_variants, p->problem);
    for (size_t i = 0; i < c->n_variants; i++) {
        const apus_variant *v = &c->variants[i];

        each(user, &(apus_algorithm) { .op = op->name,
                                       .problem = p->name,
                                       .variant = v->name,
                                       .built = !v->kernel || apus_kernel_exists(v->kernel),
                                       .fits = !v->fits || v->fits(caps, p->problem),
                                       .chosen = v == wide,
                                       .chosen_narrow = v == narrow });
    }
}

void apus_algorithms_each(const apus_caps *caps, const char *force,
                          void (*each)(void *user, const apus_algorithm *a), void *user)
{
    for (size_t i = 0; apus_ops[i]; i++)
        for (size_t k = 0; apus_ops[i]->choices && k < apus_ops[i]->choices->n_problems; k++)
            each_variant(apus_ops[i], caps, force, &apus_ops[i]->choices->problems[k], each, user);
}

apus_status apus_device_algorithms(uint32_t device,
                                   void (*each)(void *user, const apus_algorithm *a), void *user)
{
    apus_status st;
    apus_gpu_listing *list = NULL;
    uint32_t n = 0;

    APUS_TRY(apus_gpu_list(&list, &n));
    if (device >= n)
        APUS_TRY(apus_fail(APUS_ERR_MISSING, "no device %u; there are %u", device, n));
    apus_algorithms_each(&list[device].caps, apus_env_get(APUS_KERNEL), each, user);
fail:
    apus_free(list);
    return st;
}
