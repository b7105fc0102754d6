/* cmd_devices.c - `apus devices`: what Vulkan devices there are, and what they can. */
#include <stdio.h>
#include <stdlib.h>

#include "apus/gpu.h"
#include "apus/op.h"
#include "args.h"
#include "base.h"
#include "sizes.h"
#include "str.h"

static void show(const apus_device_row *r)
{
    char heap[32], most[32];

    apusi_bytes_text(heap, sizeof(heap), r->heap);
    apusi_bytes_text(most, sizeof(most), r->max_alloc);
    printf("device %u  %s\n", r->index, r->name);
    printf("  driver    %s, Vulkan %u.%u\n", r->driver, r->api_version >> 22,
           r->api_version >> 12 & 0x3ff);
    printf("  uuid      %s\n", r->uuid);
    if (!r->usable) {
        printf("  not usable: %s\n", r->reason);
        return;
    }
    printf("  kind      %s, %s of memory, one allocation up to %s\n", r->kind, heap, most);
    printf("  subgroup  %u (%u to %u), shared memory %u bytes\n", r->subgroup, r->subgroup_min,
           r->subgroup_max, r->max_shared);
    printf("  types     f32%s%s%s\n", r->f16 ? ", f16" : "", r->bf16 ? ", bf16" : "",
           r->int8_dot ? ", int8 dot" : "");
    printf("  matrices  %s%s\n", r->coop[0] ? r->coop : "none",
           r->coop[0] && !r->coop_built ? " (this build's glslc was too old for them)" : "");
}

/* ---- algorithms ---- */

typedef struct algorithms {
    apus_algorithm *at;
    size_t n, room;
    bool failed;
} algorithms;

static void keep(void *user, const apus_algorithm *a)
{
    algorithms *all = user;

    all->failed |= apus_grow(&all->at, all->n, 1, &all->room, sizeof(*a)) != APUS_OK;
    if (!all->failed)
        all->at[all->n++] = *a;
}

static void add_name(apus_str *names, const char *name)
{
    apus_str_addf(names, "%s%s", names->len ? ", " : "", name);
}

/* The algorithms of one problem: rows [from, to).  The narrow one is named where it is another. */
static void show_problem(const algorithms *all, size_t from, size_t to)
{
    const char *wide = "none", *narrow = "none";
    apus_str also = { 0 }, chosen = { 0 };

    for (size_t i = from; i < to; i++) {
        const apus_algorithm *a = &all->at[i];

        wide = a->chosen ? a->variant : wide;
        narrow = a->chosen_narrow ? a->variant : narrow;
        if (a->built && a->fits && !a->chosen && !a->chosen_narrow)
            add_name(&also, a->variant);
    }
    apus_str_add(&chosen, wide);
    if (strcmp(wide, narrow) != 0)
        apus_str_addf(&chosen, " (16 bits: %s)", narrow);
    printf("    %-24s %-28s%s%s\n", all->at[from].problem, chosen.data ? chosen.data : "",
           also.len ? "  also " : "", also.data ? also.data : "");
    apus_str_release(&also);
    apus_str_release(&chosen);
}

/* Those of an operator, rows [from, to), that none of its problems can have. */
static void show_missing(const algorithms *all, size_t from, size_t to, bool built,
                         const char *label)
{
    apus_str names = { 0 };

    for (size_t i = from; i < to && !strcmp(all->at[i].problem, all->at[from].problem); i++) {
        bool fits = false;

        for (size_t k = from; k < to; k++)
            fits |= !strcmp(all->at[k].variant, all->at[i].variant) && all->at[k].fits;
        if (all->at[i].built == built && !(built && fits))
            add_name(&names, all->at[i].variant);
    }
    if (names.len)
        printf("    %-24s %s\n", label, names.data);
    apus_str_release(&names);
}

static apus_status show_tuned(uint32_t device)
{
    char *said = NULL;

    APUS_FORWARD(apus_device_tuned(device, &said));
    printf("  tuned     %s\n", said);
    free(said);
    return APUS_OK;
}

static apus_status show_algorithms(uint32_t device)
{
    algorithms all = { 0 };
    apus_status st;
    size_t op = 0, problem = 0;

    APUS_TRY(apus_device_algorithms(device, keep, &all));
    if (all.failed)
        APUS_TRY(APUS_ERR_MEMORY);
    for (size_t i = 1; i <= all.n; i++) {
        const bool end = i == all.n || strcmp(all.at[i].op, all.at[op].op) != 0;

        if (problem == op && i == op + 1)
            printf("  %s\n", all.at[op].op);
        if (end || strcmp(all.at[i].problem, all.at[problem].problem) != 0) {
            show_problem(&all, problem, i);
            problem = i;
        }
        if (end) {
            show_missing(&all, op, i, true, "not on this device");
            show_missing(&all, op, i, false, "not in this build");
            op = i;
        }
    }
fail:
    apus_free(all.at);
    return st;
}

apus_status apus_cmd_devices(apus_args *args)
{
    apus_device_row *rows = NULL;
    apus_status st = APUS_OK;
    uint32_t n = 0;

    (void)args;
    APUS_FORWARD(apus_device_rows(&rows, &n));
    for (uint32_t i = 0; i < n && st == APUS_OK; i++) {
        show(&rows[i]);
        if (rows[i].usable)
            st = show_tuned(rows[i].index);
        if (rows[i].usable && st == APUS_OK)
            st = show_algorithms(rows[i].index);
    }
    apus_device_rows_free(&rows);
    if (st == APUS_OK && fflush(stdout) != 0)
        st = apus_fail(APUS_ERR_IO, "devices: the text could not be written");
    return st;
}
