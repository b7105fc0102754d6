/* barrier.c - tests of placing barriers and of the independent check: random lists, each barrier
 * taken away in turn, and a list with a hazard of each kind. */
#include "barrier.h"

#include <stdio.h>

#include "harness.h"
#include "rng.h"

static uint32_t draw(uint64_t *state, uint32_t below)
{
    const uint32_t key[2] = { 9, 5 }, counter[4] = { (uint32_t)*state, 0, 0, 0 };
    uint32_t out[4];

    ++*state;
    apus_philox(key, counter, out);
    return out[0] % below;
}

#define MOST 64

typedef struct hand_list {
    apus_list list;
    apus_item items[MOST];
    apus_access accesses[MOST * 4];
    apus_node nodes[MOST];
    char names[MOST][16];
} hand_list;

static void add_item(hand_list *h, const apus_access *accesses, uint32_t n)
{
    const uint32_t i = h->list.n_items++;

    h->list.items = h->items;
    h->list.accesses = h->accesses;
    snprintf(h->names[i], sizeof(h->names[i]), "node%u", i);
    h->nodes[i].name = h->names[i];
    h->items[i] = (apus_item) { .kind = APUS_ITEM_DISPATCH,
                                .node = &h->nodes[i],
                                .kernel = { .name = "k" },
                                .first_access = h->list.n_accesses,
                                .n_access = n,
                                .slot = -1 };
    for (uint32_t k = 0; k < n; k++)
        h->accesses[h->list.n_accesses++] = accesses[k];
}

static bool collide(const hand_list *h, uint32_t i, uint32_t j)
{
    const apus_access *x = h->accesses + h->items[i].first_access;
    const apus_access *y = h->accesses + h->items[j].first_access;

    for (uint32_t a = 0; a < h->items[i].n_access; a++)
        for (uint32_t b = 0; b < h->items[j].n_access; b++)
            for (uint64_t at = x[a].at; at < x[a].at + x[a].bytes; at++) /* byte by byte */
                if ((x[a].write || y[b].write) && at >= y[b].at && at < y[b].at + y[b].bytes)
                    return true;
    return false;
}

/* The first item that meets an earlier one without a barrier between them; UINT32_MAX: none. */
static uint32_t first_hazard(const hand_list *h)
{
    for (uint32_t j = 0; j < h->list.n_items; j++)
        for (uint32_t i = j; i-- > 0 && !h->items[i + 1].barrier;)
            if (collide(h, i, j))
                return j;
    return UINT32_MAX;
}

/* Whether the failure names items i and j with their kernels and nodes. */
static bool names_both(uint32_t i, uint32_t j)
{
    char a[64], b[64];

    snprintf(a, sizeof(a), "item %u, k of node%u,", i, i);
    snprintf(b, sizeof(b), "item %u, k of node%u,", j, j);
    return strstr(apus_error_text(), a) && strstr(apus_error_text(), b);
}

static void random_list(hand_list *h, uint64_t *state)
{
    memset(h, 0, sizeof(*h));
    for (uint32_t i = 2 + draw(state, 40); i > 0; i--) {
        apus_access a[4];
        const uint32_t n = 1 + draw(state, 4);
        for (uint32_t k = 0; k < n; k++)
            a[k] = (apus_access) { .at = (1ull << 40) + draw(state, 200),
                                   .bytes = 1 + draw(state, 12),
                                   .write = draw(state, 3) == 0 };
        add_item(h, a, n);
    }
}

/* Take barrier i away: the check must name item i and one that it collides with. */
static bool removal_is_seen(hand_list *h, uint32_t i)
{
    bool named = false;

    h->items[i].barrier = false;
    const bool needed = first_hazard(h) == i;
    const bool seen = apus_hazards_check(&h->list) == APUS_ERR_ARG;
    for (uint32_t e = 0; e < i; e++)
        named = named || (names_both(e, i) && collide(h, e, i));
    h->items[i].barrier = true;
    return CHECK(needed) && CHECK(seen) && CHECK(named);
}

TEST(each_barrier_is_needed_and_missed)
{
    static hand_list h;
    uint64_t state = 1;
    uint32_t removed = 0;

    for (uint32_t round = 0; round < 300; round++) {
        random_list(&h, &state);
        REQUIRE_OK(apus_barriers_place(&h.list));
        REQUIRE_OK(apus_hazards_check(&h.list));
        REQUIRE(first_hazard(&h) == UINT32_MAX);
        for (uint32_t i = 0; i < h.list.n_items; i++) {
            if (!h.items[i].barrier)
                continue;
            REQUIRE(removal_is_seen(&h, i));
            removed++;
        }
    }
    printf("    %u barriers removed, each of them missed\n", removed);
    CHECK(removed > 1000);
}

#define R(first, n)                                                                                \
    (apus_access)                                                                                  \
    {                                                                                              \
        .at = 1000 + (first), .bytes = n                                                           \
    }
#define W(first, n)                                                                                \
    (apus_access)                                                                                  \
    {                                                                                              \
        .at = 1000 + (first), .bytes = n, .write = true                                            \
    }

/* Two items with one access each; `kind` NULL: no hazard. */
static void two(apus_access a, apus_access b, const char *kind)
{
    static hand_list h;

    memset(&h, 0, sizeof(h));
    add_item(&h, &a, 1);
    add_item(&h, &b, 1);
    if (kind) {
        CHECK_FAILS(apus_hazards_check(&h.list), APUS_ERR_ARG, kind);
        CHECK(names_both(0, 1));
    } else {
        CHECK_OK(apus_hazards_check(&h.list));
    }
    h.items[1].barrier = true;
    CHECK_OK(apus_hazards_check(&h.list));
    CHECK_OK(apus_barriers_place(&h.list));
    CHECK(h.items[1].barrier == (kind != NULL));
}

TEST(every_kind_of_hazard)
{
    two(W(0, 8), R(0, 8), "read after write");
    two(R(0, 8), W(0, 8), "write after read");
    two(W(0, 8), W(0, 8), "write after write");
    two(R(0, 8), R(0, 8), NULL);
    /* One byte is shared; ranges only touch; one lies within the other. */
    two(W(0, 8), R(7, 9), "read after write");
    two(W(7, 9), R(0, 8), "read after write");
    two(W(0, 8), R(8, 8), NULL);
    two(W(8, 8), R(0, 8), NULL);
    two(W(0, 100), R(50, 1), "read after write");
    two(R(50, 1), W(0, 100), "write after read");
}

TEST(hazards_over_several_items)
{
    static hand_list h;

    /* An item may change what it reads; it is not forgotten behind others. */
    add_item(&h, (apus_access[]) { R(0, 8), W(0, 8) }, 2);
    CHECK_OK(apus_hazards_check(&h.list));
    add_item(&h, &W(100, 8), 1);
    add_item(&h, &R(200, 8), 1);
    CHECK_OK(apus_hazards_check(&h.list));
    add_item(&h, &R(4, 1), 1);
    CHECK_FAILS(apus_hazards_check(&h.list), APUS_ERR_ARG, "read after write");
    CHECK(names_both(0, 3));
    h.items[1].barrier = true; /* anywhere between the two will do */
    CHECK_OK(apus_hazards_check(&h.list));
    /* Two readers, then a writer: a barrier behind the first one only is not enough. */
    add_item(&h, &R(4, 1), 1);
    h.items[4].barrier = true;
    add_item(&h, &W(4, 1), 1);
    CHECK_FAILS(apus_hazards_check(&h.list), APUS_ERR_ARG, "write after read");
    CHECK(names_both(4, 5));
    h.items[5].barrier = true;
    CHECK_OK(apus_hazards_check(&h.list));
}
