/* algorithms.c - tables of variants as a list: what a build and a device have and would take. */
#include "choice.h"
#include "env.h"
#include "op.h"
#include "str.h"
#include "tuned.h"

static void each_variant(const apus_op_def *op, const apus_caps *caps, const char *force,
                         const apus_op_problem *p,
                         void (*each)(void *user, const apus_algorithm *a), void *user)
{
    const apus_op_choices *c = op->choices;
    const apus_variant *wide, *narrow;

    wide = apus_variant_find(caps, APUS_NARROW_NOT, force, op->name, c->variants, c->n_variants,
                             p->problem);
    narrow = apus_variant_find(caps, APUS_NARROW_16, force, op->name, c->variants, c->n_variants,
                               p->problem);
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

/* Is "variant" or "variant/tile" of n bytes one of these? */
static bool has_variant(const apus_op_choices *c, const char *text, size_t n)
{
    size_t name;

    if (!apus_choice_is_text(text, n, &name))
        return false;
    for (size_t i = 0; i < c->n_variants; i++)
        if (strlen(c->variants[i].name) == name && !memcmp(c->variants[i].name, text, name))
            return true;
    return false;
}

/* Refuse "op:variant" of n bytes, and say which there are. */
static apus_status no_algorithm(const char *entry, size_t n)
{
    apus_str known = { 0 };
    apus_status st;

    for (size_t i = 0; apus_ops[i]; i++) {
        const apus_op_choices *c = apus_ops[i]->choices;

        for (size_t k = 0; c && k < c->n_variants; k++)
            apus_str_addf(&known, "%s%s:%s", known.len ? ", " : "", apus_ops[i]->name,
                          c->variants[k].name);
    }
    st = known.failed
             ? APUS_ERR_MEMORY
             : apus_fail(APUS_ERR_ARG,
                         "there is no algorithm '%.*s' to force (APUS_KERNEL); there are %s",
                         n < 60 ? (int)n : 60, entry, known.data);
    apus_str_release(&known);
    return st;
}

apus_status apus_algorithms_check(const char *force)
{
    while (*force) {
        const size_t n = strcspn(force, ","), op = strcspn(force, ":,");
        bool known = false;

        for (size_t i = 0; apus_ops[i] && force[op] == ':'; i++) {
            const apus_op_def *def = apus_ops[i];

            if (def->choices && strlen(def->name) == op && !memcmp(def->name, force, op))
                known |= has_variant(def->choices, force + op + 1, n - op - 1);
        }
        if (!known)
            return no_algorithm(force, n);
        force += n + (force[n] == ',');
    }
    return APUS_OK;
}

static apus_status caps_of(uint32_t device, apus_caps *out)
{
    apus_status st;
    apus_gpu_listing *list = NULL;
    uint32_t n = 0;

    APUS_TRY(apus_gpu_list(&list, &n));
    if (device >= n)
        APUS_TRY(apus_fail(APUS_ERR_MISSING, "no device %u; there are %u", device, n));
    *out = list[device].caps;
fail:
    apus_free(list);
    return st;
}

apus_status apus_device_algorithms(uint32_t device,
                                   void (*each)(void *user, const apus_algorithm *a), void *user)
{
    apus_caps caps;

    APUS_FORWARD(apus_algorithms_check(apus_env_get(APUS_KERNEL)));
    APUS_FORWARD(caps_of(device, &caps));
    apus_algorithms_each(&caps, apus_env_get(APUS_KERNEL), each, user);
    return APUS_OK;
}

apus_status apus_device_tuned(uint32_t device, char **said)
{
    apus_status st;
    apus_caps caps;
    apus_tuned *tuned = NULL;
    apus_str text = { 0 };

    *said = NULL;
    APUS_FORWARD(caps_of(device, &caps));
    APUS_TRY(apus_tuned_load(&tuned, &text, &caps));
    if (!text.len)
        apus_str_add(&text, "none");
    if (text.failed)
        APUS_TRY(APUS_ERR_MEMORY);
    *said = text.data;
    text = (apus_str) { 0 };
fail:
    apus_tuned_destroy(&tuned);
    apus_str_release(&text);
    return st;
}
