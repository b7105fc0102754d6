/* bound.c - how much goes into one submission, so that none runs into a watchdog (2 s on some
 * systems) or keeps a cancel token waiting, and none is so short that the device waits for the
 * host.
 *
 * Segments are recorded once, each small by the estimate of a slow device of its class.  A
 * submission takes as many as are estimated to run for AIM_SECONDS, by that estimate times what
 * the segment took in steps before over what had been estimated for them.  Two such ratios are
 * kept: a smoothed one, and the worst of late, by which no submission passes MOST_SECONDS.  A
 * segment that was not measured yet counts as estimated.  Only where a list is cut depends on
 * this, so results never do.
 *
 * In a step this costs a few additions a segment; timestamps are read in the first steps, then in
 * every EVERY-th. */
#include "bound.h"

#define CUT_SECONDS 0.025 /* of a segment, as estimated */
#define AIM_SECONDS 0.1
#define MOST_SECONDS 0.5
#define LEAST_RATIO (1.0 / 1024)
#define MOST_RATIO 64.0
#define SMOOTHING 0.25
#define FORGETTING 0.98 /* of the worst, by each measurement */
#define GROWTH 4        /* a submission becomes at most so much longer by one measurement */
#define FIRST 6u
#define EVERY 8u

/* ---- estimates ---- */

apus_rows apusi_item_rows(const apus_list *list, const apus_item *item)
{
    const apus_tensor *in = item->node && item->node->n_in ? item->node->in[0] : NULL;

    return item->slot >= 0 ? list->slots[item->slot].rows : in ? in->rows : APUS_ROWS_ALL;
}

double apusi_live_part(apus_rows rows, const uint32_t *vars)
{
    if (rows.var < 0 || rows.max == 0)
        return 1;
    const uint32_t var = vars[rows.var];
    const uint32_t n = var > rows.skip ? var - rows.skip : 0;
    return n < rows.max ? (double)n / rows.max : 1;
}

/* Which of the plan's kinds of rows these are; APUSI_KINDS: none, they count as all live. */
static uint32_t kind_of(apus_plan *plan, apus_rows rows)
{
    uint32_t i = 0;

    if (rows.var < 0 || rows.max == 0)
        return APUSI_KINDS;
    while (i < plan->n_kinds &&
           (plan->kinds[i].var != rows.var || plan->kinds[i].skip != rows.skip ||
            plan->kinds[i].max != rows.max))
        i++;
    if (i == plan->n_kinds && i < APUSI_KINDS)
        plan->kinds[plan->n_kinds++] = rows;
    return i;
}

typedef struct estimate {
    double fixed, live; /* seconds: whatever is live, and for all rows */
    uint32_t kind;
} estimate;

/* By constants of a slow device of each class, so that the first steps are bounded too. */
static estimate estimate_item(apus_plan *plan, const apus_item *item)
{
    const bool cpu = apus_gpu_caps(plan->exec->gpu)->device_class == APUS_CLASS_CPU;
    const double flops = cpu ? 30e9 : 500e9, bytes = cpu ? 5e9 : 30e9;

    return (estimate) { .fixed = item->fixed / bytes + 5e-6,
                        .live = item->flops / flops + (item->moved - item->fixed) / bytes,
                        .kind = kind_of(plan, apusi_item_rows(&plan->list, item)) };
}

apus_status apusi_bound_cut(apus_plan *plan)
{
    const apus_list *list = &plan->list;
    const double most = CUT_SECONDS * plan->exec->share;
    double seconds = 0;

    plan->segments = apus_calloc(list->n_items + 1, sizeof(*plan->segments));
    if (!plan->segments)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < list->n_items; i++) {
        const estimate e = estimate_item(plan, &list->items[i]);
        if (plan->n_segments == 0 || seconds + e.fixed + e.live > most) {
            plan->segments[plan->n_segments++] =
                (apusi_segment) { .first = i, .ratio = 1, .worst = 1 };
            seconds = 0;
        }
        apusi_segment *s = &plan->segments[plan->n_segments - 1];
        s->n++;
        s->fixed += e.fixed;
        if (e.kind < APUSI_KINDS)
            s->live[e.kind] += e.live;
        else
            s->fixed += e.live;
        seconds += e.fixed + e.live;
    }
    return APUS_OK;
}

void apusi_bound_step(apus_plan *plan, const uint32_t *vars)
{
    double part[APUSI_KINDS];

    for (uint32_t k = 0; k < plan->n_kinds; k++)
        part[k] = apusi_live_part(plan->kinds[k], vars);
    for (uint32_t i = 0; i < plan->n_segments; i++) {
        apusi_segment *s = &plan->segments[i];
        s->estimate = s->fixed;
        for (uint32_t k = 0; k < plan->n_kinds; k++)
            s->estimate += part[k] * s->live[k];
    }
    plan->bound = (apus_plan_bound) { 0 };
}

/* ---- groups ---- */

uint32_t apusi_bound_group(apus_plan *plan, uint32_t first)
{
    const double aim = AIM_SECONDS * plan->exec->share, most = MOST_SECONDS * plan->exec->share;
    double seconds = 0, worst = 0;
    uint32_t n = 0;

    for (; first + n < plan->n_segments; n++) {
        const apusi_segment *s = &plan->segments[first + n];
        const double likely = s->estimate * s->ratio, unlikely = s->estimate * s->worst;
        if (n > 0 && (seconds + likely > aim || worst + unlikely > most || n == APUS_SUBMIT_LISTS))
            break;
        seconds += likely;
        worst += unlikely;
    }
    plan->bound.submissions++;
    if (seconds > plan->bound.longest_s)
        plan->bound.longest_s = seconds;
    return n;
}

static double at_least(double x, double least)
{
    return x > least ? x : least;
}

void apusi_bound_measured(apusi_segment *s, double seconds)
{
    double ratio = at_least(seconds / s->estimate, LEAST_RATIO);

    if (ratio > MOST_RATIO)
        ratio = MOST_RATIO;
    /* What was estimated for a slow device gives way to the first measurements. */
    const bool first = s->measured < FIRST;
    const double smooth = first ? ratio : s->ratio + SMOOTHING * (ratio - s->ratio);
    const double worst = first ? ratio : at_least(ratio, FORGETTING * s->worst);
    s->ratio = at_least(smooth, s->ratio / GROWTH);
    s->worst = at_least(worst, s->worst / GROWTH);
    s->measured += first;
}

void apusi_bound_learn(apus_plan *plan, double seconds)
{
    double estimated = 0, ns;

    plan->steps++;
    if (plan->steps > FIRST && plan->steps % EVERY)
        return;
    for (uint32_t i = 0; i < plan->n_segments; i++)
        estimated += plan->segments[i].estimate;
    for (uint32_t i = 0; i < plan->n_segments; i++) {
        apusi_segment *s = &plan->segments[i];
        const bool known = apus_commands_ns(s->commands, &ns);
        apusi_bound_measured(s, known ? ns * 1e-9 : seconds * s->estimate / estimated);
    }
}
