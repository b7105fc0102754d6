/* tolerance.c - how far a result may be from the recorded one, by the run's kind. */
#include <math.h>

#include "golden.h"

/* Another realisation of the roundings may be beyond the largest of the sixteen measured. */
#define ANOTHER 1.5

static const struct {
    const char *name, *dtype;
    double largest[GOLDEN_QUANTITIES];
} stored[] = {
#define HALF(case_, dtype_, ...) { #case_, #dtype_, { __VA_ARGS__ } },
#include "half_precision.def"
#undef HALF
};

static const cJSON *half_precision(const golden_case *c)
{
    const cJSON *all =
        apus_json_get(apus_json_get(c->manifest, "tolerance"), "half_precision_reference_vs_fp32");

    return apus_json_get(all, c->run->kind == GOLDEN_BF16 ? "bfloat16" : "float16");
}

static double recorded(const golden_case *c, const char *key)
{
    return apus_json_number(half_precision(c), key, (double)NAN);
}

static double exact_tolerance(const golden_case *c, golden_quantity q)
{
    const cJSON *t = apus_json_get(c->manifest, "tolerance");

    switch (q) {
    case GOLDEN_LOGITS:
    case GOLDEN_LORA_LOGITS:
        return golden_number(t, "logits", "suggested_atol");
    case GOLDEN_LOSS:
        return golden_number(t, "loss", "suggested_atol");
    case GOLDEN_GRADIENTS:
    case GOLDEN_FULL_NORMS:
    case GOLDEN_LORA_GRADIENTS:
    case GOLDEN_LORA_NORMS:
        return golden_number(t, "grads", "suggested_rel_l2");
    default:
        return (double)NAN;
    }
}

/* The row of this case and format of activations; NULL if there is none. */
static const double *row_of(const golden_case *c, const char *dtype)
{
    for (size_t i = 0; i < APUS_COUNT(stored); i++)
        if (!strcmp(stored[i].name, c->name) && !strcmp(stored[i].dtype, dtype))
            return stored[i].largest;
    return NULL;
}

/* After training: the recorded error is that of a model as it was, and the adapter has its own. */
static double after_training(const golden_case *c, golden_quantity q, const char *key)
{
    const double *row = row_of(c, c->run->kind == GOLDEN_BF16 ? "bfloat16" : "float16");

    return fmax(recorded(c, key), row ? row[q] : 0);
}

/* Algorithms that round their inputs, all else in f32. */
static double narrow_tolerance(const golden_case *c, golden_quantity q)
{
    switch (q) {
    case GOLDEN_LOGITS:
        return recorded(c, "logits_max_abs");
    case GOLDEN_LOGITS_MEAN:
        return recorded(c, "logits_mean_abs");
    case GOLDEN_LORA_LOGITS:
        return after_training(c, q, "logits_max_abs");
    case GOLDEN_LORA_LOGITS_MEAN:
        return after_training(c, q, "logits_mean_abs");
    case GOLDEN_LOSS:
        /* The reference's own error may be small by luck: it is a mean of errors of both signs,
         * each about as large as the mean error of a logit. */
        return fmax(recorded(c, "loss_abs"), recorded(c, "logits_mean_abs"));
    case GOLDEN_GRADIENTS:
    case GOLDEN_FULL_NORMS:
    case GOLDEN_LORA_GRADIENTS:
    case GOLDEN_LORA_NORMS:
        /* They were not recorded: they may be as far off, relatively, as the worst logit. */
        return recorded(c, "logits_max_abs") /
               apus_json_number(c->manifest, "logits_rms", (double)NAN);
    default:
        return (double)NAN;
    }
}

double golden_tolerance(const golden_case *c, golden_quantity q)
{
    const double *row = row_of(c, c->run->torch_dtype);

    if (row)
        return ANOTHER * row[q];
    return c->run->kind == GOLDEN_EXACT ? exact_tolerance(c, q) : narrow_tolerance(c, q);
}

double golden_trajectory_tolerance(const golden_case *c, golden_quantity q, double exact,
                                   double fall)
{
    const double *row = row_of(c, c->run->torch_dtype);

    if (row)
        return ANOTHER * row[q];
    if (c->run->kind == GOLDEN_EXACT)
        return exact;
    /* A step is off by the gradient's relative error, and so is what the loss falls by. */
    return golden_tolerance(c, GOLDEN_LOSS) + golden_tolerance(c, GOLDEN_GRADIENTS) * fabs(fall);
}
