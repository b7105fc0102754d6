/* schedule.c - learning-rate schedules: lr times a factor of the step, in double, with the
 * operations in transformers' order, so that the rates agree to the last digits. */
#include "schedule.h"

#include <math.h>

#include "json.h"

#define PI 3.14159265358979323846

static const char *const names[APUS_SCHEDULE_COUNT] = {
    [APUS_SCHEDULE_COSINE] = "cosine",
    [APUS_SCHEDULE_LINEAR] = "linear",
    [APUS_SCHEDULE_COSINE_WITH_RESTARTS] = "cosine_with_restarts",
    [APUS_SCHEDULE_POLYNOMIAL] = "polynomial",
    [APUS_SCHEDULE_CONSTANT] = "constant",
    [APUS_SCHEDULE_CONSTANT_WITH_WARMUP] = "constant_with_warmup",
    [APUS_SCHEDULE_INVERSE_SQRT] = "inverse_sqrt",
    [APUS_SCHEDULE_COSINE_WITH_MIN_LR] = "cosine_with_min_lr",
    [APUS_SCHEDULE_WARMUP_STABLE_DECAY] = "warmup_stable_decay",
};

static const char *const shapes[] = {
    [APUS_SHAPE_LINEAR] = "linear",
    [APUS_SHAPE_COSINE] = "cosine",
    [APUS_SHAPE_ONE_MINUS_SQRT] = "1-sqrt",
};

apus_status apus_schedule_find(apus_schedule_kind *out, const char *name)
{
    for (size_t i = 0; i < APUS_SCHEDULE_COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (apus_schedule_kind)i;
            return APUS_OK;
        }
    }
    return apus_fail(APUS_ERR_ARG,
                     "lr_scheduler_type %s is not known (linear, cosine, cosine_with_restarts, "
                     "polynomial, constant, constant_with_warmup, inverse_sqrt, "
                     "cosine_with_min_lr, warmup_stable_decay)",
                     name);
}

const char *apus_schedule_name(apus_schedule_kind kind)
{
    return kind < APUS_SCHEDULE_COUNT ? names[kind] : "unknown";
}

#define BIT(kind) (1u << APUS_SCHEDULE_##kind)
#define COSINES (BIT(COSINE) | BIT(COSINE_WITH_MIN_LR))

/* Keys of lr_scheduler_kwargs: a double, a count of steps or a shape of the params, and for which
 * kinds. */
static const struct {
    const char *key;
    char type; /* d, u or s */
    size_t at;
    uint32_t kinds;
} keys[] = {
    { "num_cycles", 'd', offsetof(apus_schedule_params, num_cycles),
      COSINES | BIT(COSINE_WITH_RESTARTS) | BIT(WARMUP_STABLE_DECAY) },
    { "power", 'd', offsetof(apus_schedule_params, power), BIT(POLYNOMIAL) },
    { "lr_end", 'd', offsetof(apus_schedule_params, lr_end), BIT(POLYNOMIAL) },
    { "min_lr", 'd', offsetof(apus_schedule_params, min_lr), BIT(COSINE_WITH_MIN_LR) },
    { "min_lr_rate", 'd', offsetof(apus_schedule_params, min_lr_rate), BIT(COSINE_WITH_MIN_LR) },
    { "min_lr_ratio", 'd', offsetof(apus_schedule_params, min_lr_ratio), BIT(WARMUP_STABLE_DECAY) },
    { "timescale", 'u', offsetof(apus_schedule_params, timescale), BIT(INVERSE_SQRT) },
    { "num_decay_steps", 'u', offsetof(apus_schedule_params, num_decay_steps),
      BIT(WARMUP_STABLE_DECAY) },
    { "num_stable_steps", 'u', offsetof(apus_schedule_params, num_stable_steps),
      BIT(WARMUP_STABLE_DECAY) },
    { "warmup_type", 's', offsetof(apus_schedule_params, warmup_type), BIT(WARMUP_STABLE_DECAY) },
    { "decay_type", 's', offsetof(apus_schedule_params, decay_type), BIT(WARMUP_STABLE_DECAY) },
};

static apus_status read_shape(apus_schedule_shape *out, const cJSON *value)
{
    for (size_t i = APUS_SHAPE_LINEAR; i < APUS_COUNT(shapes); i++) {
        if (cJSON_IsString(value) && strcmp(value->valuestring, shapes[i]) == 0) {
            *out = (apus_schedule_shape)i;
            return APUS_OK;
        }
    }
    return apus_fail(APUS_ERR_ARG, "lr_scheduler_kwargs: %s is none of linear, cosine, 1-sqrt",
                     value->string);
}

static apus_status read_key(apus_schedule_params *params, const cJSON *root, const cJSON *value)
{
    for (size_t i = 0; i < APUS_COUNT(keys); i++) {
        char *at = (char *)params + keys[i].at;

        if (strcmp(keys[i].key, value->string) != 0 || !(keys[i].kinds >> params->kind & 1u))
            continue;
        if (keys[i].type == 's')
            return read_shape((apus_schedule_shape *)(void *)at, value);
        if (keys[i].type == 'u')
            return apus_json_u64(root, value->string, 0, (uint64_t)1 << 53, (uint64_t *)(void *)at);
        if (!cJSON_IsNumber(value))
            return apus_fail(APUS_ERR_ARG, "lr_scheduler_kwargs: %s is not a number",
                             value->string);
        *(double *)(void *)at = value->valuedouble;
        if (strcmp(value->string, "lr_end") == 0)
            params->has_lr_end = true;
        return APUS_OK;
    }
    return apus_fail(APUS_ERR_ARG, "lr_scheduler_kwargs: %s has no %.40s",
                     apus_schedule_name(params->kind), value->string);
}

apus_status apus_schedule_read_kwargs(apus_schedule_params *params, const char *json)
{
    cJSON *root = NULL;
    const cJSON *value;
    apus_status st;

    APUS_TRY(apus_json_parse(&root, json, strlen(json), "lr_scheduler_kwargs"));
    if (!cJSON_IsObject(root)) {
        st = apus_fail(APUS_ERR_FORMAT, "lr_scheduler_kwargs: not a JSON object");
        goto fail;
    }
    cJSON_ArrayForEach(value, root)
    {
        if (!cJSON_IsNull(value))
            APUS_TRY(read_key(params, root, value));
    }

fail:
    cJSON_Delete(root);
    return st;
}

static void fill_defaults(apus_schedule_params *p)
{
    if (p->warmup_steps == 0)
        p->warmup_steps = (uint64_t)ceil((double)p->max_steps * p->warmup_ratio);
    if (p->num_cycles == 0.0)
        p->num_cycles = p->kind == APUS_SCHEDULE_COSINE_WITH_RESTARTS ? 1.0 : 0.5;
    if (p->power == 0.0)
        p->power = 1.0;
    if (p->lr_end == 0.0 && !p->has_lr_end)
        p->lr_end = 1e-7;
    if (p->min_lr != 0.0)
        p->min_lr_rate = p->min_lr / p->lr;
    if (p->timescale == 0)
        p->timescale = p->warmup_steps ? p->warmup_steps : 10000;
    if (p->warmup_type == APUS_SHAPE_DEFAULT)
        p->warmup_type = APUS_SHAPE_LINEAR;
    if (p->decay_type == APUS_SHAPE_DEFAULT)
        p->decay_type = APUS_SHAPE_COSINE;
    if (p->kind == APUS_SCHEDULE_WARMUP_STABLE_DECAY && p->num_stable_steps == 0) {
        const uint64_t used = p->warmup_steps + p->num_decay_steps;
        p->num_stable_steps = p->max_steps > used ? p->max_steps - used : 0;
    }
}

apus_status apus_schedule_init(apus_schedule *schedule, const apus_schedule_params *params)
{
    const apus_schedule_params *p = params;

    if (!(p->lr > 0.0) || isinf(p->lr))
        return apus_fail(APUS_ERR_ARG, "learning_rate is %g; it must be above 0", p->lr);
    if (p->max_steps == 0)
        return apus_fail(APUS_ERR_ARG, "a schedule of 0 steps");
    if (!(p->warmup_ratio >= 0.0 && p->warmup_ratio <= 1.0))
        return apus_fail(APUS_ERR_ARG, "warmup_ratio is %g; it must be in [0, 1]", p->warmup_ratio);
    if (p->kind >= APUS_SCHEDULE_COUNT)
        return apus_fail(APUS_ERR_ARG, "schedule %d is not known", (int)p->kind);
    if (p->kind == APUS_SCHEDULE_POLYNOMIAL && !(p->lr_end < p->lr))
        return apus_fail(APUS_ERR_ARG, "lr_end %g must be below the learning rate %g", p->lr_end,
                         p->lr);
    if (p->kind == APUS_SCHEDULE_COSINE_WITH_MIN_LR && p->min_lr == 0.0 && p->min_lr_rate == 0.0)
        return apus_fail(APUS_ERR_ARG, "cosine_with_min_lr needs min_lr or min_lr_rate in "
                                       "lr_scheduler_kwargs");
    if (p->kind == APUS_SCHEDULE_WARMUP_STABLE_DECAY && p->num_decay_steps == 0)
        return apus_fail(APUS_ERR_ARG, "warmup_stable_decay needs num_decay_steps in "
                                       "lr_scheduler_kwargs");
    schedule->params = *params;
    fill_defaults(&schedule->params);
    return APUS_OK;
}

static double over(uint64_t a, uint64_t b)
{
    return (double)a / (double)(b > 1 ? b : 1);
}

/* Warm-up then a stretch at 1, then decay, both of a chosen shape between min_lr_ratio and 1. */
static double stable_decay(const apus_schedule_params *p, uint64_t step)
{
    double factor, progress;

    if (step < p->warmup_steps) {
        progress = over(step, p->warmup_steps);
        factor = p->warmup_type == APUS_SHAPE_COSINE           ? 0.5 * (1.0 - cos(PI * progress))
                 : p->warmup_type == APUS_SHAPE_ONE_MINUS_SQRT ? 1.0 - sqrt(1.0 - progress)
                                                               : progress;
    } else if (step < p->warmup_steps + p->num_stable_steps) {
        return 1.0;
    } else if (step < p->warmup_steps + p->num_stable_steps + p->num_decay_steps) {
        progress = over(step - p->warmup_steps - p->num_stable_steps, p->num_decay_steps);
        factor = p->decay_type == APUS_SHAPE_LINEAR ? 1.0 - progress
                 : p->decay_type == APUS_SHAPE_ONE_MINUS_SQRT
                     ? 1.0 - sqrt(progress)
                     : 0.5 * (1.0 + cos(PI * p->num_cycles * 2.0 * progress));
    } else {
        return p->min_lr_ratio;
    }
    return fmax(0.0, factor * (1.0 - p->min_lr_ratio) + p->min_lr_ratio);
}

static double polynomial(const apus_schedule_params *p, uint64_t step)
{
    if (step > p->max_steps)
        return p->lr_end / p->lr;
    const double range = p->lr - p->lr_end;
    const double left =
        1.0 - (double)(step - p->warmup_steps) / ((double)p->max_steps - (double)p->warmup_steps);

    return (range * pow(left, p->power) + p->lr_end) / p->lr;
}

static double factor_at(const apus_schedule_params *p, uint64_t step)
{
    if (p->kind == APUS_SCHEDULE_CONSTANT)
        return 1.0;
    if (p->kind == APUS_SCHEDULE_WARMUP_STABLE_DECAY)
        return stable_decay(p, step);
    if (step < p->warmup_steps)
        return over(step, p->warmup_steps);

    const uint64_t falling = p->max_steps > p->warmup_steps ? p->max_steps - p->warmup_steps : 0;
    const double progress = over(step - p->warmup_steps, falling);
    const double wave = 0.5 * (1.0 + cos(PI * p->num_cycles * 2.0 * progress));

    switch (p->kind) {
    case APUS_SCHEDULE_LINEAR:
        return step < p->max_steps ? over(p->max_steps - step, falling) : 0.0;
    case APUS_SCHEDULE_COSINE:
        return fmax(0.0, wave);
    case APUS_SCHEDULE_COSINE_WITH_RESTARTS:
        if (progress >= 1.0)
            return 0.0;
        return fmax(0.0, 0.5 * (1.0 + cos(PI * fmod(p->num_cycles * progress, 1.0))));
    case APUS_SCHEDULE_POLYNOMIAL:
        return polynomial(p, step);
    case APUS_SCHEDULE_INVERSE_SQRT:
        return 1.0 / sqrt(((double)step + ((double)p->timescale - (double)p->warmup_steps)) /
                          (double)p->timescale);
    case APUS_SCHEDULE_COSINE_WITH_MIN_LR:
        return fmax(0.0, wave * (1.0 - p->min_lr_rate) + p->min_lr_rate);
    default:
        return 1.0;
    }
}

double apus_schedule_lr(const apus_schedule *schedule, uint64_t step)
{
    return schedule->params.lr * factor_at(&schedule->params, step);
}
