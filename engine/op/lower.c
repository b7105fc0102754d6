/* lower.c - lists of dispatches: addresses, live grids, choices.  See lower.h. */
#include "lower.h"

#include <stdio.h>

#include "choice.h"
#include "tuned.h"

void apus_list_release(apus_list *list)
{
    apus_free(list->items);
    apus_free(list->accesses);
    apus_free(list->slots);
    apus_free(list->args);
    apus_str_release(&list->choices);
    *list = (apus_list) { 0 };
}

apus_addr apus_address(const apus_lower *l, const apus_tensor *t)
{
    uint64_t at = 0;

    if (!t)
        return 0;
    t = apus_tensor_root(t, &at);
    switch (t->storage) {
    case APUS_STORE_BOUND:
        return t->at + at;
    case APUS_STORE_STEP:
        return l->step + t->at + at;
    default:
        return l->scratch[t->at / l->scratch_bytes] + t->at % l->scratch_bytes + at;
    }
}

apus_access apus_reads(const apus_lower *l, const apus_tensor *t)
{
    return (apus_access) { .at = apus_address(l, t), .bytes = t->bytes };
}

apus_access apus_writes(const apus_lower *l, const apus_tensor *t)
{
    return (apus_access) { .at = apus_address(l, t), .bytes = t->bytes, .write = true };
}

static apus_status add_access(apus_list *list, apus_access a)
{
    APUS_FORWARD(apus_grow(&list->accesses, list->n_accesses, 1, &list->access_room, sizeof(a)));
    list->accesses[list->n_accesses++] = a;
    return APUS_OK;
}

/* The default: a node reads its inputs, writes what it mutates and its outputs. */
static apus_status node_accesses(apus_lower *l)
{
    const apus_node *n = l->node;

    for (uint32_t i = 0; i < n->n_in; i++) {
        if (!n->in[i])
            continue;
        APUS_FORWARD(add_access(l->list, apus_reads(l, n->in[i])));
        if (n->mutates >> i & 1)
            APUS_FORWARD(add_access(l->list, apus_writes(l, n->in[i])));
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        APUS_FORWARD(add_access(l->list, apus_writes(l, n->out[i])));
    return APUS_OK;
}

static apus_item *new_item(apus_lower *l, apus_item_kind kind)
{
    apus_list *list = l->list;
    apus_item *item;

    if (apus_grow(&list->items, list->n_items, 1, &list->item_room, sizeof(*item)) != APUS_OK)
        return NULL;
    item = &list->items[list->n_items++];
    *item =
        (apus_item) { .kind = kind, .node = l->node, .slot = -1, .first_access = list->n_accesses };
    return item;
}

/* The slot of a live grid; equal ones are shared, so that a step writes few. */
static apus_status find_slot(apus_list *list, const apus_slot *want, int32_t *out)
{
    for (uint32_t i = 0; i < list->n_slots; i++)
        if (!memcmp(&list->slots[i], want, sizeof(*want))) {
            *out = (int32_t)i;
            return APUS_OK;
        }
    APUS_FORWARD(apus_grow(&list->slots, list->n_slots, 1, &list->slot_room, sizeof(*want)));
    list->slots[list->n_slots] = *want;
    *out = (int32_t)list->n_slots++;
    return APUS_OK;
}

apus_status apus_emit(apus_lower *l, const apus_dispatch *d)
{
    apus_item *item = new_item(l, APUS_ITEM_DISPATCH);
    uint32_t i;

    if (!item)
        return APUS_ERR_MEMORY;
    if (d->push_bytes > sizeof(item->push))
        return apus_fail(APUS_ERR_SHAPE, "%s: %u bytes of push constants", d->kernel,
                         d->push_bytes);
    item->kernel =
        (apus_kernel_key) { .name = d->kernel, .n_spec = d->n_spec, .subgroup = d->subgroup };
    memcpy(item->kernel.spec, d->spec, sizeof(d->spec));
    memcpy(item->push, d->push, d->push_bytes);
    item->push_bytes = d->push_bytes;
    item->flops = d->flops;
    item->moved = d->moved;
    item->fixed = d->fixed;
    item->rough = d->rough;
    item->algorithm = l->algorithm;
    item->site = l->site;
    for (i = 0; i < 3; i++)
        item->groups[i] = d->groups[i] ? d->groups[i] : 1;
    if (d->live.max && d->live.var >= 0) {
        apus_slot slot;
        memset(&slot, 0, sizeof(slot)); /* compared by bytes */
        slot.rows = d->live;
        slot.tile = d->live_tile;
        slot.axis = d->live_axis;
        memcpy(slot.groups, item->groups, sizeof(slot.groups));
        item->groups[d->live_axis] =
            (uint32_t)apus_ceil_div((uint64_t)d->live.max * d->live.mul, d->live_tile);
        slot.groups[d->live_axis] = 0;
        APUS_FORWARD(find_slot(l->list, &slot, &item->slot));
    }
    for (i = 0; i < 3; i++)
        if (item->groups[i] > 65535)
            return apus_fail(APUS_ERR_SHAPE, "%s: a grid of %u x %u x %u workgroups", d->kernel,
                             item->groups[0], item->groups[1], item->groups[2]);
    for (i = 0; i < d->n_access; i++)
        APUS_FORWARD(add_access(l->list, d->access[i]));
    if (d->n_access == 0)
        APUS_FORWARD(node_accesses(l));
    item->n_access = l->list->n_accesses - item->first_access;
    return APUS_OK;
}

apus_status apus_emit_fill(apus_lower *l, const apus_tensor *t, uint32_t word)
{
    apus_item *item = new_item(l, APUS_ITEM_FILL);
    apus_access access = apus_writes(l, t);

    if (!item)
        return APUS_ERR_MEMORY;
    access.bytes = apus_round_up(t->bytes, 4); /* whole words are filled */
    item->to = access.at;
    item->bytes = access.bytes;
    item->word = word;
    item->n_access = 1;
    return add_access(l->list, access);
}

apus_status apus_emit_args(apus_lower *l, const void *args, uint32_t bytes, apus_addr *at)
{
    apus_list *list = l->list;
    const uint32_t start = (uint32_t)apus_round_up(list->args_bytes, 16);

    APUS_FORWARD(apus_grow(&list->args, start, bytes, &list->args_room, 1));
    memset(list->args + list->args_bytes, 0, start - list->args_bytes);
    memcpy(list->args + start, args, bytes);
    list->args_bytes = start + bytes;
    *at = l->args + start;
    return APUS_OK;
}

static apus_status note_choice(apus_list *list, const char *problem, const char *choice)
{
    char *line = apus_format("%s: %s\n", problem, choice);

    if (!line)
        return APUS_ERR_MEMORY;
    if (!list->choices.data || !strstr(list->choices.data, line))
        apus_str_add(&list->choices, line);
    apus_free(line);
    return list->choices.failed ? APUS_ERR_MEMORY : APUS_OK;
}

/* What is wanted where nothing is forced; with sites, the problem's is found or made. */
static apus_status find_wanted(apus_lower *l, const apus_choosing *from, const char *problem,
                               const char **wanted)
{
    const apus_tuned_row *row;

    if (l->sites) {
        APUS_FORWARD(apus_sites_at(l->sites, from, problem, &l->site));
        *wanted = l->sites->at[l->site].pick;
        return APUS_OK;
    }
    row = apus_tuned_find(l->tuned, problem, l->narrow);
    if (!row && l->narrow == APUS_NARROW_8) /* what 16 bits allow, 8 allow too */
        row = apus_tuned_find(l->tuned, problem, APUS_NARROW_16);
    *wanted = row ? row->choice : NULL;
    return APUS_OK;
}

apus_status apus_choose(apus_lower *l, const char *op, const apus_variant *variants, size_t n,
                        const void *problem, const char *describe, const apus_variant **out)
{
    const apus_choosing from = { l->caps, op, variants, n, problem, l->narrow };
    const char *wanted = NULL;
    char key[APUS_PROBLEM_ROOM], text[APUS_CHOICE_ROOM];

    snprintf(key, sizeof(key), "%s %s", op, describe);
    APUS_FORWARD(find_wanted(l, &from, key, &wanted));
    const apus_choice found = apus_choice_find(&from, l->force, wanted);
    if (!found.variant)
        return apus_fail(APUS_ERR_SUPPORT, "%s %s: no algorithm for %s", op, describe,
                         l->caps->name);
    apus_choice_text(text, &found);
    APUS_FORWARD(note_choice(l->list, key, text));
    l->algorithm = found.variant->name;
    l->tile = found.tile;
    if (found.variant->narrow > l->list->narrow)
        l->list->narrow = found.variant->narrow;
    *out = found.variant;
    return APUS_OK;
}

apus_rows_arg apus_rows_arg_of(apus_rows rows, uint32_t static_rows)
{
    if (rows.var < 0)
        return (apus_rows_arg) { .var = UINT32_MAX, .max = static_rows, .mul = 1 };
    return (apus_rows_arg) { (uint32_t)rows.var, rows.skip, rows.max, rows.mul };
}

apus_rows_arg apus_rows_of(const apus_tensor *t)
{
    return apus_rows_arg_of(t->rows, t->dims[0]);
}

apus_rows apus_rows_flat(const apus_tensor *t)
{
    apus_rows rows = t->rows;

    for (uint32_t i = 1; i + 1 < t->n_dims; i++)
        rows.mul *= t->dims[i];
    return rows;
}

void apus_grid_1d(uint64_t n, uint32_t local, uint32_t groups[3])
{
    const uint64_t total = apus_ceil_div(n, local);

    groups[1] = (uint32_t)apus_ceil_div(total, 32768);
    groups[0] = (uint32_t)apus_ceil_div(total, groups[1]);
    groups[2] = 1;
}
