/* profile.c - the table of APUS_PROFILE: timestamps around dispatches, added up by kernel.
 *
 * A step's times are read when it was waited for, at the latest before its segments are submitted
 * again.  Estimates of an item are of its largest shape; they are scaled to the live rows. */
#include "profile.h"

#include <stdio.h>

#include "bound.h"

struct apusi_profile {
    apus_profile_row *rows;
    uint32_t n;
    size_t room;
    bool timed; /* the device has timestamps */
    double *ns; /* of the dispatches of one segment */
    uint32_t ns_room;
};

apus_status apusi_profile_begin(apus_exec *exec)
{
    const apus_caps *caps = apus_gpu_caps(exec->gpu);

    if (exec->profile)
        return APUS_OK;
    exec->profile = apus_calloc(1, sizeof(*exec->profile));
    if (!exec->profile)
        return APUS_ERR_MEMORY;
    exec->profile->timed = caps->timestamps;
    if (!caps->timestamps)
        apus_log(APUS_LOG_WARN,
                 "profile: %s writes no timestamps on this queue: calls are counted, not timed",
                 caps->name);
    return APUS_OK;
}

static apus_status find_row(apusi_profile *p, const apus_item *item, apus_profile_row **out)
{
    const char *algorithm = item->algorithm ? item->algorithm : "";

    for (uint32_t i = 0; i < p->n; i++)
        if (!strcmp(p->rows[i].kernel, item->kernel.name) &&
            !strcmp(p->rows[i].algorithm, algorithm)) {
            *out = &p->rows[i];
            return APUS_OK;
        }
    APUS_FORWARD(apus_grow(&p->rows, p->n, 1, &p->room, sizeof(*p->rows)));
    apus_profile_row *row = &p->rows[p->n];
    *row = (apus_profile_row) { .knows_flops = true, .knows_moved = true };
    snprintf(row->kernel, sizeof(row->kernel), "%s", item->kernel.name);
    snprintf(row->algorithm, sizeof(row->algorithm), "%s", algorithm);
    p->n++;
    *out = row;
    return APUS_OK;
}

static void add_item(apus_profile_row *row, const apus_item *item, double part, const double *ns)
{
    row->calls++;
    if (ns) {
        row->timed++;
        row->ns += *ns;
    }
    row->flops += item->flops * part;
    row->moved += item->fixed + (item->moved - item->fixed) * part;
    row->knows_flops = row->knows_flops && item->flops > 0 && !item->rough;
    row->knows_moved = row->knows_moved && item->moved > 0 && !item->rough;
}

static apus_status add_segment(apus_plan *plan, const apusi_segment *s, const uint32_t *vars)
{
    apusi_profile *p = plan->exec->profile;
    uint32_t n = 0, k = 0;

    if (p->ns_room < s->n) {
        double *ns = apus_realloc(p->ns, s->n * sizeof(*ns));
        if (!ns)
            return APUS_ERR_MEMORY;
        p->ns = ns;
        p->ns_room = s->n;
    }
    APUS_FORWARD(apus_commands_times(s->commands, p->ns, s->n, &n));
    for (uint32_t i = s->first; i < s->first + s->n; i++) {
        const apus_item *item = &plan->list.items[i];
        apus_profile_row *row;
        if (item->kind != APUS_ITEM_DISPATCH)
            continue;
        APUS_FORWARD(find_row(p, item, &row));
        add_item(row, item, apusi_live_part(apusi_item_rows(&plan->list, item), vars),
                 k < n ? &p->ns[k] : NULL);
        k++;
    }
    return APUS_OK;
}

apus_status apusi_profile_collect(apus_plan *plan)
{
    /* The next step is written into the other slot, so this one still has the step's variables. */
    const uint32_t *vars = plan->slots[(plan->slot + APUSI_SLOTS - 1) % APUSI_SLOTS].host;
    for (uint32_t i = 0; i < plan->n_segments; i++)
        APUS_FORWARD(add_segment(plan, &plan->segments[i], vars));
    return APUS_OK;
}

static int by_time(const void *a, const void *b)
{
    const apus_profile_row *x = a, *y = b;

    if (x->ns != y->ns)
        return x->ns < y->ns ? 1 : -1;
    if (x->calls != y->calls)
        return x->calls < y->calls ? 1 : -1;
    return strcmp(x->kernel, y->kernel);
}

const apus_profile_row *apus_exec_profile(apus_exec *exec, uint32_t *n)
{
    apusi_profile *p = exec->profile;

    *n = p ? p->n : 0;
    if (*n)
        qsort(p->rows, p->n, sizeof(*p->rows), by_time);
    return *n ? p->rows : NULL;
}

/* "12.3", or "" where it is not known. */
static void rate_text(char out[16], bool known, double amount, double ns)
{
    out[0] = 0;
    if (known && ns > 0)
        snprintf(out, 16, "%.1f", amount / ns); /* a byte per ns is a GB/s */
}

apus_status apus_exec_profile_text(apus_exec *exec, apus_str *out)
{
    uint32_t n;
    const apus_profile_row *rows = apus_exec_profile(exec, &n);
    double all = 0;
    uint64_t calls = 0;

    for (uint32_t i = 0; i < n; i++) {
        all += rows[i].ns;
        calls += rows[i].calls;
    }
    apus_str_addf(out, "%-28s %-10s %9s %12s %6s %8s %9s\n", "kernel", "algorithm", "calls", "ms",
                  "%", "GB/s", "GFLOP/s");
    for (uint32_t i = 0; i < n; i++) {
        const apus_profile_row *r = &rows[i];
        char ms[32] = "", share[16] = "", moved[16], flops[16];
        const bool whole = r->timed == r->calls;
        if (r->timed) {
            snprintf(ms, sizeof(ms), "%.3f", r->ns * 1e-6);
            snprintf(share, sizeof(share), "%.1f", all > 0 ? 100 * r->ns / all : 0);
        }
        rate_text(moved, whole && r->knows_moved, r->moved, r->ns);
        rate_text(flops, whole && r->knows_flops, r->flops, r->ns);
        apus_str_addf(out, "%-28s %-10s %9llu %12s %6s %8s %9s\n", r->kernel, r->algorithm,
                      (unsigned long long)r->calls, ms, share, moved, flops);
    }
    apus_str_addf(out, "%-28s %-10s %9llu ", "all", "", (unsigned long long)calls);
    if (all > 0)
        apus_str_addf(out, "%12.3f\n", all * 1e-6);
    else
        apus_str_add(out, "\n");
    return out->failed ? APUS_ERR_MEMORY : APUS_OK;
}

static void log_table(apus_exec *exec)
{
    apus_str text = { 0 };

    if (apus_exec_profile_text(exec, &text) == APUS_OK) {
        apus_log(APUS_LOG_INFO, "profile: time of the dispatches on the device, by kernel");
        for (char *line = text.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
            char *last = end;
            while (last > line && last[-1] == ' ')
                last--;
            apus_log(APUS_LOG_INFO, "%.*s", (int)(last - line), line);
        }
    }
    apus_str_release(&text);
}

void apusi_profile_end(apus_exec *exec)
{
    if (!exec->profile)
        return;
    if (exec->profile->n)
        log_table(exec);
    apus_free(exec->profile->rows);
    apus_free(exec->profile->ns);
    apus_free(exec->profile);
    exec->profile = NULL;
}
