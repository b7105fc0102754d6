/* sampler.c - which rows each step takes: epochs, micro batches, accumulation, as transformers and
 * ms-swift count them.  The position is the number of steps done and nothing else, so that resuming
 * is a seek. */
#include <math.h>

#include "apus/data.h"
#include "base.h"
#include "order.h"

struct apus_sampler {
    apus_sampler_params params;
    apus_sampler_plan plan;
    uint32_t *order; /* of the current epoch */
    uint64_t ordered_epoch;
    bool ordered;
    uint64_t done; /* steps */
};

static uint64_t ceil_of(double x)
{
    return x >= 9e15 ? (uint64_t)9e15 : (uint64_t)ceil(x);
}

apus_status apus_sampler_create(apus_sampler **out, const apus_sampler_params *params)
{
    apus_sampler *s;
    const double epochs = params->epochs == 0.0 ? 3.0 : params->epochs;
    const uint32_t batch = params->batch ? params->batch : 1;
    const uint32_t accumulation =
        params->accumulation ? params->accumulation : (uint32_t)apus_ceil_div(16, batch);

    *out = NULL;
    if (params->rows == 0)
        return apus_fail(APUS_ERR_ARG, "no row is left to train on");
    if (params->rows > APUS_ORDER_TORCH_MOST)
        return apus_fail(APUS_ERR_ARG, "%llu rows are more than the %u that can be ordered",
                         (unsigned long long)params->rows, APUS_ORDER_TORCH_MOST);
    if (params->drop_last && batch > params->rows)
        return apus_fail(APUS_ERR_ARG, "a batch of %u is larger than the %llu rows there are",
                         batch, (unsigned long long)params->rows);
    if (!(epochs > 0.0) || isinf(epochs))
        return apus_fail(APUS_ERR_ARG, "num_train_epochs is %g; it must be above 0", epochs);
    s = apus_alloc(sizeof(*s));
    if (!s)
        return APUS_ERR_MEMORY;
    s->params = *params;
    s->order = apus_calloc((size_t)params->rows, sizeof(*s->order));
    if (!s->order) {
        apus_sampler_destroy(&s);
        return APUS_ERR_MEMORY;
    }
    s->plan.batch = batch;
    s->plan.accumulation = accumulation;
    s->plan.batches_per_epoch =
        params->drop_last ? params->rows / batch : apus_ceil_div(params->rows, batch);
    s->plan.steps_per_epoch = apus_ceil_div(s->plan.batches_per_epoch, accumulation);
    if (params->max_steps) {
        s->plan.max_steps = params->max_steps;
        s->plan.epochs = apus_ceil_div(params->max_steps, s->plan.steps_per_epoch);
    } else {
        s->plan.max_steps = ceil_of(epochs * (double)s->plan.steps_per_epoch);
        s->plan.epochs = ceil_of(epochs);
    }
    *out = s;
    return APUS_OK;
}

void apus_sampler_destroy(apus_sampler **sampler)
{
    if (!*sampler)
        return;
    apus_free((*sampler)->order);
    apus_free(*sampler);
    *sampler = NULL;
}

apus_sampler_plan apus_sampler_plan_of(const apus_sampler *sampler)
{
    return sampler->plan;
}

static void order_epoch(apus_sampler *s, uint64_t epoch)
{
    if (s->ordered && (s->ordered_epoch == epoch || !s->params.shuffle))
        return;
    if (s->params.shuffle) {
        apus_order_torch(s->params.seed + epoch, s->order, (uint32_t)s->params.rows);
    } else {
        for (uint32_t i = 0; i < s->params.rows; i++)
            s->order[i] = i;
    }
    s->ordered = true;
    s->ordered_epoch = epoch;
}

bool apus_sampler_next(apus_sampler *s, apus_sampler_step *step)
{
    const apus_sampler_plan *p = &s->plan;

    if (s->done >= p->max_steps)
        return false;
    const uint64_t epoch = s->done / p->steps_per_epoch;
    const uint64_t first = s->done % p->steps_per_epoch * p->accumulation;
    const uint64_t left = p->batches_per_epoch - first;
    const uint64_t batches = left < p->accumulation ? left : p->accumulation;
    const uint64_t from = first * p->batch;
    const uint64_t to = (first + batches) * p->batch;

    order_epoch(s, epoch);
    s->done++;
    *step = (apus_sampler_step) {
        .rows = s->order + from,
        .n_rows = (size_t)((to < s->params.rows ? to : s->params.rows) - from),
        .n_batches = (uint32_t)batches,
        .number = s->done,
        .epoch = (double)epoch + (double)(first + batches) / (double)p->batches_per_epoch,
    };
    return true;
}

void apus_sampler_seek(apus_sampler *sampler, uint64_t step)
{
    sampler->done = step;
}
