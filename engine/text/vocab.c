/* vocab.c - the two hash tables of a tokenizer, both with linear probing and at most half full:
 * pieces to ids, and pairs of ids to the merge that joins them.  Hashes are seeded by place and
 * time, so that no file can be made to collide; results do not depend on the seed. */
#include "os.h"
#include "rng.h"
#include "text_internal.h"

static uint64_t fresh_seed(const void *place)
{
    return APUS_HASH_SEED ^ apus_now_ns() * 0x9e3779b97f4a7c15ull ^ (uint64_t)(uintptr_t)place;
}

static size_t text_slot(const apusi_vocab *v, const char *text, size_t n)
{
    uint64_t h = apus_hash(text, n, v->seed);

    h ^= h >> 32;
    return (size_t)(h * 0x9e3779b97f4a7c15ull >> 20) & (v->n_slots - 1);
}

static void put(apusi_vocab *v, uint32_t id)
{
    size_t i = text_slot(v, v->bytes.data + v->at[id], v->lengths[id]);

    while (v->slots[i])
        i = (i + 1) & (v->n_slots - 1);
    v->slots[i] = id + 1;
    v->used++;
}

static apus_status grow_slots(apusi_vocab *v)
{
    const size_t n_slots = v->n_slots ? v->n_slots * 2 : 1024;
    uint32_t *old = v->slots;
    const size_t n_old = v->n_slots;

    if (!v->seed)
        v->seed = fresh_seed(v);
    v->slots = apus_calloc(n_slots, sizeof(*v->slots));
    if (!v->slots) {
        v->slots = old;
        return APUS_ERR_MEMORY;
    }
    v->n_slots = n_slots;
    v->used = 0;
    for (size_t i = 0; i < n_old; i++)
        if (old[i])
            put(v, old[i] - 1);
    apus_free(old);
    return APUS_OK;
}

static apus_status grow_ids(apusi_vocab *v, uint32_t id)
{
    size_t room = v->room ? v->room : 1024;

    while (room <= id)
        room *= 2;
    if (room > v->room) {
        uint32_t *at = apus_realloc(v->at, room * sizeof(*at));

        if (!at)
            return APUS_ERR_MEMORY;
        v->at = at;
        uint32_t *lengths = apus_realloc(v->lengths, room * sizeof(*lengths));
        if (!lengths)
            return APUS_ERR_MEMORY;
        v->lengths = lengths;
        v->room = room;
    }
    for (; v->n <= id; v->n++) {
        v->at[v->n] = APUSI_NO_ID;
        v->lengths[v->n] = 0;
    }
    return APUS_OK;
}

apus_status apusi_vocab_set(apusi_vocab *v, uint32_t id, const char *text, size_t n)
{
    if (id >= APUSI_MOST_IDS)
        return apus_fail(APUS_ERR_FORMAT, "token id %u of '%.*s' is larger than %u", id,
                         apusi_shown(n), text, APUSI_MOST_IDS - 1);
    if (n > UINT32_MAX - 1 - v->bytes.len)
        return apus_fail(APUS_ERR_FORMAT, "the vocabulary has more than 4 GiB of text");
    if (id >= v->n)
        APUS_FORWARD(grow_ids(v, id));
    if (v->at[id] != APUSI_NO_ID) {
        if (v->lengths[id] == n && !memcmp(v->bytes.data + v->at[id], text, n))
            return APUS_OK;
        return apus_fail(APUS_ERR_FORMAT, "token id %u is given to both '%.60s' and '%.*s'", id,
                         v->bytes.data + v->at[id], apusi_shown(n), text);
    }
    if ((v->used + 1) * 2 > v->n_slots)
        APUS_FORWARD(grow_slots(v));
    const bool known = apusi_vocab_find(v, text, n) != APUSI_NO_ID;
    const size_t at = v->bytes.len;
    apus_str_add_bytes(&v->bytes, text, n);
    apus_str_add_bytes(&v->bytes, "", 1);
    if (v->bytes.failed)
        return APUS_ERR_MEMORY;
    v->at[id] = (uint32_t)at;
    v->lengths[id] = (uint32_t)n;
    if (!known)
        put(v, id);
    return APUS_OK;
}

uint32_t apusi_vocab_find(const apusi_vocab *v, const char *text, size_t n)
{
    if (!v->n_slots)
        return APUSI_NO_ID;
    for (size_t i = text_slot(v, text, n); v->slots[i]; i = (i + 1) & (v->n_slots - 1)) {
        const uint32_t id = v->slots[i] - 1;

        if (v->lengths[id] == n && !memcmp(v->bytes.data + v->at[id], text, n))
            return id;
    }
    return APUSI_NO_ID;
}

const char *apusi_vocab_text(const apusi_vocab *v, uint32_t id, size_t *n)
{
    if (id >= v->n || v->at[id] == APUSI_NO_ID)
        return NULL;
    if (n)
        *n = v->lengths[id];
    return v->bytes.data + v->at[id];
}

void apusi_vocab_release(apusi_vocab *v)
{
    apus_str_release(&v->bytes);
    apus_free(v->at);
    apus_free(v->lengths);
    apus_free(v->slots);
    *v = (apusi_vocab) { 0 };
}

static size_t pair_slot(const apusi_merges *m, uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) ^ m->seed;

    h *= 0xbf58476d1ce4e5b9ull;
    h ^= h >> 29;
    h *= 0x94d049bb133111ebull;
    return (size_t)(h >> 16) & (m->n_slots - 1);
}

/* The slot of a pair, or the free one where it belongs. */
static apusi_merge *slot_of(const apusi_merges *m, uint32_t left, uint32_t right)
{
    size_t i = pair_slot(m, left, right);

    while (m->slots[i].id != APUSI_NO_ID &&
           (m->slots[i].left != left || m->slots[i].right != right))
        i = (i + 1) & (m->n_slots - 1);
    return &m->slots[i];
}

static apus_status grow_merges(apusi_merges *m)
{
    const apusi_merges old = *m;
    const size_t n_slots = old.n_slots ? old.n_slots * 2 : 1024;
    apusi_merge *slots = apus_calloc(n_slots, sizeof(*slots));

    if (!slots)
        return APUS_ERR_MEMORY;
    for (size_t i = 0; i < n_slots; i++)
        slots[i].id = APUSI_NO_ID;
    if (!m->seed)
        m->seed = fresh_seed(m);
    m->slots = slots;
    m->n_slots = n_slots;
    for (size_t i = 0; i < old.n_slots; i++)
        if (old.slots[i].id != APUSI_NO_ID)
            *slot_of(m, old.slots[i].left, old.slots[i].right) = old.slots[i];
    apus_free(old.slots);
    return APUS_OK;
}

apus_status apusi_merges_add(apusi_merges *m, uint32_t left, uint32_t right, uint32_t id)
{
    if (m->next_rank == UINT32_MAX)
        return apus_fail(APUS_ERR_FORMAT, "the tokenizer has more than 2^32 merges");
    if ((m->used + 1) * 2 > m->n_slots)
        APUS_FORWARD(grow_merges(m));
    apusi_merge *slot = slot_of(m, left, right);
    if (slot->id == APUSI_NO_ID)
        m->used++;
    *slot = (apusi_merge) { left, right, m->next_rank++, id };
    return APUS_OK;
}

const apusi_merge *apusi_merges_find(const apusi_merges *m, uint32_t left, uint32_t right)
{
    if (!m->n_slots)
        return NULL;
    const apusi_merge *slot = slot_of(m, left, right);
    return slot->id == APUSI_NO_ID ? NULL : slot;
}

void apusi_merges_release(apusi_merges *m)
{
    apus_free(m->slots);
    *m = (apusi_merges) { 0 };
}
