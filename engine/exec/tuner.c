/* tuner.c - measuring choices.  See tuner.h.
 *
 * The graph of a plan is lowered again with another choice for one problem, and of that list only
 * the problem's own dispatches are recorded, one behind the other: those of many layers, whose
 * weights do not all stay in a cache.  A choice is first probed with so few workgroups of one
 * dispatch that even a hundred times the default's time is short; what is then much slower than
 * the default is dropped, of an algorithm that is far slower all tiles.  The rest and the default
 * take turns; medians count. */
#include "tuner.h"

#include "choice.h"
#include "exec_internal.h"
#include "os.h"

#define MOST_NODES 16
#define MOST_PARTS 8        /* dispatches of one node */
#define PASS_SECONDS 0.05   /* of the dispatches of one choice */
#define PROBE_SECONDS 0.005 /* of what is probed, with the default */
#define ROUNDS 7u
#define LEAST_ROUNDS 3u
#define FINALISTS 6u
#define HOPELESS 2.0 /* times the default's time */
#define GAIN 0.97    /* of the default's time: what is nearer is no gain */

/* Where a problem stands in a plan. */
typedef struct place {
    const apus_node *nodes[MOST_NODES]; /* the first ones */
    const apus_node *last;
    uint32_t n, count; /* of those; of all */
} place;

/* Dispatches of a problem, recorded under one choice, in each plan. */
typedef struct trial {
    char *choice; /* borrowed; NULL: the default */
    apus_buffer args[APUS_TUNER_PLANS];
    apus_commands *commands[APUS_TUNER_PLANS];
    double parts[APUS_TUNER_PLANS][MOST_PARTS]; /* of the workgroups of the first dispatches */
    double ns[ROUNDS];
    double estimate; /* seconds, by a probe */
} trial;

typedef struct tuner {
    apus_exec *exec;
    apus_plan *const *plans;
    uint32_t n_plans;
    const apus_tuner_params *params;
    apus_tuner_result *result;
    apus_tuned *into;
    apus_sites sites;
    place *places; /* n_plans for each site */
    double *once;  /* seconds of one dispatch of the default in each place, together */
    uint32_t *order, n_order;
    uint64_t begin_ns, deadline_ns;
    uint32_t done, total; /* choices */
} tuner;

static place *place_of(const tuner *t, uint32_t site, uint32_t plan)
{
    return &t->places[(size_t)site * t->n_plans + plan];
}

/* The first problem is measured whatever it takes. */
static bool late(const tuner *t)
{
    return apus_now_ns() >= t->deadline_ns && t->result->measured > 0;
}

/* How much is done, by count or by time, whichever ends sooner. */
static void tell_progress(const tuner *t, const char *problem)
{
    const double spent = (double)(apus_now_ns() - t->begin_ns),
                 whole = (double)(t->deadline_ns - t->begin_ns) + 1;
    double done = t->total * (spent / whole);

    if (!t->params->progress)
        return;
    if (done < t->done)
        done = t->done;
    if (done > t->total - 1)
        done = t->total - 1;
    t->params->progress(t->params->user, (uint32_t)done, t->total, problem);
}

static apus_status interrupted(const tuner *t)
{
    if (t->params->cancel && t->params->cancel->requested)
        return apus_fail(APUS_ERR_CANCELLED, "the measurement was interrupted");
    return APUS_OK;
}

/* Whether there is something to measure. */
static bool open_question(const tuner *t, uint32_t site)
{
    const apus_site *s = &t->sites.at[site];

    return s->n > 1 && !apus_tuned_find(t->into, s->problem, s->narrow);
}

/* ---- recording ---- */

/* The list of a plan under the picks of `sites`, and its argument buffer. */
static apus_status lower_again(tuner *t, const apus_plan *plan, apus_list *list, apus_buffer *args)
{
    apus_lower l = apusi_lower_of(plan);

    l.list = list;
    l.sites = &t->sites;
    APUS_FORWARD(apusi_lower_nodes(&l, plan->graph));
    if (!list->args_bytes || !args)
        return APUS_OK;
    APUS_FORWARD(
        apus_buffer_create(t->exec->gpu, args, list->args_bytes, APUS_MEMORY_DEVICE, "arguments"));
    apus_list_release(list);
    l.args = args->address;
    APUS_FORWARD(apusi_lower_nodes(&l, plan->graph));
    return apus_buffer_write(t->exec->gpu, args, 0, list->args, list->args_bytes);
}

/* The grid of an item, cut to about `part` of its workgroups; returns the part that it is. */
static double cut_grid(const apus_plan *plan, const apus_list *list, const apus_item *item,
                       double part, uint32_t grid[3])
{
    const uint32_t last = (plan->slot + APUSI_SLOTS - 1) % APUSI_SLOTS;
    double is = 1;

    memcpy(grid, item->groups, sizeof(item->groups));
    if (item->slot >= 0)
        apusi_slot_grid(&list->slots[item->slot], plan->slots[last].host, grid);
    for (int i = 0; i < 3 && part < 1 && grid[i]; i++) {
        const double whole = grid[i], wanted = whole * part;
        grid[i] = wanted < 1 ? 1 : (uint32_t)wanted;
        is *= grid[i] / whole;
        part *= whole / grid[i];
    }
    return is;
}

static bool among(const place *p, uint32_t n, const apus_node *node)
{
    for (uint32_t i = 0; i < n && i < p->n; i++)
        if (p->nodes[i] == node)
            return true;
    return false;
}

static apus_status record_plan(tuner *t, uint32_t site, uint32_t at, uint32_t nodes, double part,
                               trial *out)
{
    const apus_plan *plan = t->plans[at];
    apus_status st;
    apus_list list = { 0 };
    uint32_t grid[3], n = 0;

    APUS_TRY(lower_again(t, plan, &list, &out->args[at]));
    APUS_TRY(apus_commands_create(t->exec->gpu, &out->commands[at]));
    apus_commands_profile(out->commands[at], true);
    APUS_TRY(apus_commands_begin(out->commands[at]));
    apus_commands_barrier(out->commands[at]);
    for (uint32_t i = 0; i < list.n_items; i++) {
        const apus_item *item = &list.items[i];
        if (item->kind != APUS_ITEM_DISPATCH || item->site != site ||
            !among(place_of(t, site, at), nodes, item->node))
            continue;
        const double is = cut_grid(plan, &list, item, part, grid);
        if (!grid[0] || !grid[1] || !grid[2])
            continue;
        if (n < MOST_PARTS)
            out->parts[at][n] = is;
        n++;
        APUS_TRY(apus_commands_dispatch(out->commands[at], &item->kernel, item->push,
                                        item->push_bytes, grid));
        apus_commands_barrier(out->commands[at]);
    }
    APUS_TRY(apus_commands_end(out->commands[at]));
    if (n == 0) /* no row is live */
        apus_commands_destroy(&out->commands[at]);
fail:
    apus_list_release(&list);
    return st;
}

static void trial_release(tuner *t, trial *x)
{
    for (uint32_t i = 0; i < t->n_plans; i++) {
        apus_commands_destroy(&x->commands[i]);
        apus_buffer_destroy(t->exec->gpu, &x->args[i]);
    }
}

/* At most `nodes` dispatches in each plan, `part` of the workgroups of each. */
static apus_status record_trial(tuner *t, uint32_t site, uint32_t nodes, double part, trial *out)
{
    apus_status st = APUS_OK;

    t->sites.at[site].pick = out->choice;
    for (uint32_t i = 0; i < t->n_plans && st == APUS_OK; i++)
        if (place_of(t, site, i)->n)
            st = record_plan(t, site, i, nodes, part, out);
    t->sites.at[site].pick = NULL;
    return st;
}

/* ---- running ---- */

/* Add up what the dispatches of a plan took, as if they were whole. */
static apus_status add_times(const trial *x, uint32_t at, double *seconds, bool *timed)
{
    double ns[MOST_PARTS * MOST_NODES];
    uint32_t n = 0;

    APUS_FORWARD(apus_commands_times(x->commands[at], ns, APUS_COUNT(ns), &n));
    *timed &= n > 0;
    for (uint32_t i = 0; i < n; i++)
        *seconds += ns[i] * 1e-9 / (i < MOST_PARTS ? x->parts[at][i] : 1);
    return APUS_OK;
}

/* By the device's clock, or the host's where it has none. */
static apus_status run_trial(tuner *t, const trial *x, double *seconds)
{
    apus_commands *lists[APUS_TUNER_PLANS];
    uint32_t n = 0;
    uint64_t ticket = 0;
    bool timed = true;
    double part = 1;

    APUS_FORWARD(interrupted(t));
    for (uint32_t i = 0; i < t->n_plans; i++)
        if (x->commands[i]) {
            lists[n++] = x->commands[i];
            part = x->parts[i][0];
        }
    *seconds = 0;
    if (n == 0)
        return apus_fail(APUS_ERR_ARG, "no row is live");
    const uint64_t start = apus_now_ns();
    APUS_FORWARD(apus_gpu_submit(t->exec->gpu, lists, n, &ticket));
    APUS_FORWARD(apus_gpu_wait(t->exec->gpu, ticket, 0));
    const double host = (double)(apus_now_ns() - start) * 1e-9;
    for (uint32_t i = 0; i < t->n_plans; i++)
        if (x->commands[i])
            APUS_FORWARD(add_times(x, i, seconds, &timed));
    if (!timed || *seconds <= 0)
        *seconds = host / part;
    return APUS_OK;
}

/* Part of one dispatch in each plan, twice: the first run is a warm-up. */
static apus_status probe(tuner *t, uint32_t site, double part, trial *x)
{
    apus_status st;
    double seconds = 0;

    APUS_TRY(record_trial(t, site, 1, part, x));
    APUS_TRY(run_trial(t, x, &seconds));
    APUS_TRY(run_trial(t, x, &seconds));
    x->estimate = seconds;
fail:
    trial_release(t, x);
    return st;
}

/* ---- a problem ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int by_estimate(const void *a, const void *b)
{
    return by_value(&((const trial *)a)->estimate, &((const trial *)b)->estimate);
}

/* Whether a failure is the choice's own: a kernel that this driver does not compile, say. */
static bool goes_on(apus_status st)
{
    return st == APUS_ERR_DEVICE || st == APUS_ERR_SUPPORT || st == APUS_ERR_MISSING ||
           st == APUS_ERR_ARG || st == APUS_ERR_SHAPE;
}

/* Is it a tile of an algorithm that is hopeless by itself?  Those stand behind it. */
static bool hopeless_too(const char *choice, const char *hopeless)
{
    const size_t n = hopeless ? strlen(hopeless) : 0;

    return n && !strncmp(choice, hopeless, n) && choice[n] == '/';
}

/* Probe all but the default, trials[0]; those worth more come first behind it.  *n is how many
 * there are then, 0 if time ran out. */
static apus_status probe_all(tuner *t, uint32_t site, trial *trials, uint32_t *n)
{
    const apus_site *s = &t->sites.at[site];
    const double part = t->once[site] > PROBE_SECONDS ? PROBE_SECONDS / t->once[site] : 1;
    const uint32_t all = *n;
    const char *hopeless = NULL;

    *n = 1;
    for (uint32_t i = 1; i < all; i++) {
        trial *x = &trials[*n];

        if (hopeless_too(s->choices[i], hopeless)) {
            t->done++;
            continue;
        }

        if (late(t)) {
            *n = 0;
            return APUS_OK;
        }
        tell_progress(t, s->problem);
        t->done++;
        *x = (trial) { .choice = s->choices[i] };
        const apus_status st = probe(t, site, part, x);
        if (st != APUS_OK && !goes_on(st))
            return st;
        if (st != APUS_OK)
            apus_log(APUS_LOG_DEBUG, "%s: %s: %s", s->problem, s->choices[i], apus_error_text());
        else if (x->estimate < HOPELESS * t->once[site])
            ++*n;
        else if (x->estimate > HOPELESS * HOPELESS * t->once[site] && !strchr(s->choices[i], '/'))
            hopeless = s->choices[i];
    }
    qsort(trials + 1, *n - 1, sizeof(*trials), by_estimate);
    if (*n > FINALISTS)
        *n = FINALISTS;
    return APUS_OK;
}

/* How many dispatches of a problem are timed together, in each plan at most. */
static uint32_t nodes_of(const tuner *t, uint32_t site)
{
    const double fit = PASS_SECONDS / (t->once[site] > 1e-9 ? t->once[site] : 1e-9);

    return fit < 1 ? 1 : fit > MOST_NODES ? MOST_NODES : (uint32_t)fit;
}

/* The finalists in turn.  *rounds is how many there were. */
static apus_status race(tuner *t, uint32_t site, trial *trials, uint32_t n, uint32_t *rounds)
{
    double seconds;

    *rounds = 0;
    for (uint32_t i = 0; i < n; i++) {
        APUS_FORWARD(record_trial(t, site, nodes_of(t, site), 1, &trials[i]));
        APUS_FORWARD(run_trial(t, &trials[i], &seconds));
    }
    for (; *rounds < ROUNDS && !(late(t) && *rounds >= LEAST_ROUNDS); ++*rounds)
        for (uint32_t i = 0; i < n; i++) {
            APUS_FORWARD(run_trial(t, &trials[i], &seconds));
            trials[i].ns[*rounds] = seconds * 1e9;
        }
    return APUS_OK;
}

/* Whether a choice is faster than the default: by its median, and in seven of ten rounds, so that
 * what else the machine did in a few of them does not decide. */
static bool beats(const trial *x, const trial *other, double ns, double other_ns, uint32_t rounds)
{
    uint32_t wins = 0;

    for (uint32_t i = 0; i < rounds; i++)
        wins += x->ns[i] < other->ns[i];
    return ns < GAIN * other_ns && 10 * wins >= 7 * rounds;
}

static double median(const trial *x, uint32_t rounds)
{
    double sorted[ROUNDS];

    memcpy(sorted, x->ns, sizeof(sorted));
    qsort(sorted, rounds, sizeof(*sorted), by_value);
    return sorted[rounds / 2];
}

static apus_status add_row(tuner *t, uint32_t site, trial *trials, uint32_t n, uint32_t rounds)
{
    const apus_site *s = &t->sites.at[site];
    uint32_t best = 0, dispatches = 0;
    double ns[FINALISTS];

    for (uint32_t p = 0; p < t->n_plans; p++) {
        const uint32_t most = nodes_of(t, site), there = place_of(t, site, p)->n;
        dispatches += trials[0].commands[p] ? (there < most ? there : most) : 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        ns[i] = median(&trials[i], rounds) / dispatches;
        if (ns[i] < ns[best] && beats(&trials[i], &trials[0], ns[i], ns[0], rounds))
            best = i;
    }
    const apus_tuned_row row = { .problem = s->problem,
                                 .narrow = s->narrow,
                                 .choice = trials[best].choice,
                                 .ns = ns[best],
                                 .or_else = trials[0].choice,
                                 .or_else_ns = ns[0] };
    APUS_FORWARD(apus_tuned_add(t->into, &row));
    t->result->measured++;
    if (t->params->measured)
        t->params->measured(t->params->user, &row);
    return APUS_OK;
}

static apus_status tune_site(tuner *t, uint32_t site)
{
    const apus_site *s = &t->sites.at[site];
    apus_status st;
    uint32_t n = s->n, rounds = 0;
    trial *trials = apus_calloc(n, sizeof(*trials));

    if (!trials)
        return APUS_ERR_MEMORY;
    trials[0].choice = s->choices[0];
    APUS_TRY(probe_all(t, site, trials, &n));
    if (n)
        APUS_TRY(race(t, site, trials, n, &rounds));
    if (rounds)
        APUS_TRY(add_row(t, site, trials, n, rounds));
fail:
    for (uint32_t i = 0; i < s->n; i++)
        trial_release(t, &trials[i]);
    apus_free(trials);
    return st;
}

/* ---- all problems ---- */

/* The problems of all plans, and which nodes have them. */
static apus_status collect(tuner *t)
{
    apus_status st = APUS_OK;
    apus_list lists[APUS_TUNER_PLANS] = { 0 };

    for (uint32_t p = 0; p < t->n_plans; p++)
        APUS_TRY(lower_again(t, t->plans[p], &lists[p], NULL));
    t->places = apus_calloc((size_t)t->sites.n * t->n_plans + 1, sizeof(*t->places));
    t->once = apus_calloc(t->sites.n + 1, sizeof(*t->once));
    t->order = apus_calloc(t->sites.n + 1, sizeof(*t->order));
    if (!t->places || !t->once || !t->order)
        APUS_TRY(APUS_ERR_MEMORY);
    for (uint32_t p = 0; p < t->n_plans; p++)
        for (uint32_t i = 0; i < lists[p].n_items; i++) {
            const apus_item *item = &lists[p].items[i];
            place *at = item->site == UINT32_MAX ? NULL : place_of(t, item->site, p);

            if (!at || item->kind != APUS_ITEM_DISPATCH || at->last == item->node)
                continue;
            at->last = item->node;
            at->count++;
            if (at->n < MOST_NODES)
                at->nodes[at->n++] = item->node;
        }
fail:
    for (uint32_t p = 0; p < t->n_plans; p++)
        apus_list_release(&lists[p]);
    return st;
}

/* What all dispatches of a problem take in a step of each plan. */
static double share_of(const tuner *t, uint32_t site)
{
    uint32_t count = 0, places = 0;

    for (uint32_t p = 0; p < t->n_plans; p++) {
        count += place_of(t, site, p)->count;
        places += place_of(t, site, p)->n > 0;
    }
    return places ? t->once[site] * count / places : 0;
}

/* Time the defaults, and put the problems in order. */
static apus_status look(tuner *t)
{
    for (uint32_t i = 0; i < t->sites.n; i++) {
        trial x = { .choice = NULL };
        const apus_status st = open_question(t, i) ? probe(t, i, 1, &x) : APUS_ERR_ARG;

        if (st != APUS_OK && !goes_on(st))
            return st;
        if (st != APUS_OK)
            continue;
        t->total += t->sites.at[i].n - 1;
        t->once[i] = x.estimate;
        uint32_t at = t->n_order++;
        for (; at && share_of(t, t->order[at - 1]) < share_of(t, i); at--)
            t->order[at] = t->order[at - 1];
        t->order[at] = i;
    }
    return APUS_OK;
}

/* Call back with the problems that were not measured. */
static void tell_rest(const tuner *t)
{
    for (uint32_t i = 0; t->params->measured && i < t->sites.n; i++) {
        const apus_site *s = &t->sites.at[i];
        const apus_tuned_row row = { .problem = s->problem,
                                     .narrow = s->narrow,
                                     .choice = s->choices[0],
                                     .or_else = s->choices[0] };

        if (open_question(t, i))
            t->params->measured(t->params->user, &row);
    }
}

apus_status apus_tuner_run(apus_exec *exec, apus_plan *const *plans, uint32_t n_plans,
                           apus_tuned *into, const apus_tuner_params *params,
                           apus_tuner_result *result)
{
    tuner t = { .exec = exec,
                .plans = plans,
                .n_plans = n_plans,
                .params = params,
                .result = result,
                .into = into,
                .begin_ns = apus_now_ns() };
    apus_status st;

    *result = (apus_tuner_result) { 0 };
    APUS_BUG_IF(n_plans > APUS_TUNER_PLANS);
    t.deadline_ns = t.begin_ns + (uint64_t)(params->seconds * 1e9);
    APUS_TRY(collect(&t));
    for (uint32_t i = 0; i < t.sites.n; i++)
        result->problems += open_question(&t, i);
    if (params->seconds > 0)
        APUS_TRY(look(&t));
    for (uint32_t i = 0; i < t.n_order && !late(&t); i++)
        APUS_TRY(tune_site(&t, t.order[i]));
fail:
    if (st == APUS_OK)
        tell_rest(&t);
    apus_sites_release(&t.sites);
    apus_free(t.places);
    apus_free(t.once);
    apus_free(t.order);
    return st;
}
