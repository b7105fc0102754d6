/* bpe.c - byte-pair encoding of one word: join the neighbours whose merge has the lowest rank, the
 * leftmost of equals, until no neighbours have a merge.
 *
 * Short words (nearly all) keep the ranks of their pairs in an array and look for the least one at
 * each step.  Long words keep them in a heap over a doubly linked list, O(n log n), so that a
 * megabyte without a gap is no trap; entries that a neighbour's merge made wrong are told by their
 * rank when they come up.
 * Sennrich et al., Neural machine translation of rare words with subword units, 2016
 * (arXiv:1508.07909). */
#include "text_internal.h"

#define SHORT_WORD 48
#define NO_RANK UINT32_MAX

struct apusi_heap_entry {
    uint32_t rank, at;
};

static uint32_t rank_of(const apus_tokenizer *t, uint32_t left, uint32_t right)
{
    const apusi_merge *m = apusi_merges_find(&t->merges, left, right);

    return m ? m->rank : NO_RANK;
}

/* The pieces of the bytes; bytes without one become the unknown token or nothing. */
static size_t symbols(const apus_tokenizer *t, const char *word, size_t n, uint32_t *ids)
{
    size_t count = 0;
    bool last_unknown = false;

    for (size_t i = 0; i < n; i++) {
        const uint32_t id = t->byte_ids[(uint8_t)word[i]];

        if (id != APUSI_NO_ID)
            ids[count++] = id;
        else if (t->unknown != APUSI_NO_ID && !(last_unknown && t->fuse_unknown))
            ids[count++] = t->unknown;
        last_unknown = id == APUSI_NO_ID;
    }
    return count;
}

static apus_status short_word(const apus_tokenizer *t, const char *word, size_t n, apus_tokens *out)
{
    uint32_t ids[SHORT_WORD], ranks[SHORT_WORD];
    size_t count = symbols(t, word, n, ids);

    for (size_t i = 0; i + 1 < count; i++)
        ranks[i] = rank_of(t, ids[i], ids[i + 1]);
    while (count > 1) {
        size_t best = 0;

        for (size_t i = 1; i + 1 < count; i++)
            if (ranks[i] < ranks[best])
                best = i;
        if (ranks[best] == NO_RANK)
            break;
        ids[best] = apusi_merges_find(&t->merges, ids[best], ids[best + 1])->id;
        count--;
        memmove(ids + best + 1, ids + best + 2, (count - best - 1) * sizeof(*ids));
        if (count > best + 1) {
            memmove(ranks + best + 1, ranks + best + 2, (count - best - 2) * sizeof(*ranks));
            ranks[best] = rank_of(t, ids[best], ids[best + 1]);
        }
        if (best > 0)
            ranks[best - 1] = rank_of(t, ids[best - 1], ids[best]);
    }
    for (size_t i = 0; i < count; i++)
        APUS_FORWARD(apusi_tokens_add(out, ids[i]));
    return APUS_OK;
}

static bool before(struct apusi_heap_entry a, struct apusi_heap_entry b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static apus_status push(apusi_scratch *s, uint32_t rank, uint32_t at)
{
    const struct apusi_heap_entry entry = { rank, at };

    if (rank == NO_RANK)
        return APUS_OK;
    APUS_FORWARD(apus_grow(&s->heap, s->heap_n, 1, &s->heap_room, sizeof(*s->heap)));
    size_t i = s->heap_n++;
    for (; i > 0 && before(entry, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = entry;
    return APUS_OK;
}

static struct apusi_heap_entry pop(apusi_scratch *s)
{
    const struct apusi_heap_entry top = s->heap[0], last = s->heap[--s->heap_n];
    size_t i = 0;

    for (size_t child; (child = 2 * i + 1) < s->heap_n; i = child) {
        if (child + 1 < s->heap_n && before(s->heap[child + 1], s->heap[child]))
            child++;
        if (!before(s->heap[child], last))
            break;
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = last;
    return top;
}

/* Three arrays of n in one block: ids, next, previous.  `end` ends the list on both sides. */
static apus_status long_word(const apus_tokenizer *t, apusi_scratch *s, const char *word, size_t n,
                             apus_tokens *out)
{
    if (n > s->nodes_room) {
        uint32_t *nodes = apus_realloc(s->nodes, n * 3 * sizeof(*nodes));

        if (!nodes)
            return APUS_ERR_MEMORY;
        s->nodes = nodes;
        s->nodes_room = n;
    }
    uint32_t *ids = s->nodes, *next = ids + s->nodes_room, *previous = next + s->nodes_room;
    const uint32_t count = (uint32_t)symbols(t, word, n, ids), end = UINT32_MAX;

    s->heap_n = 0;
    for (uint32_t i = 0; i < count; i++) {
        next[i] = i + 1 < count ? i + 1 : end;
        previous[i] = i > 0 ? i - 1 : end;
        if (i + 1 < count)
            APUS_FORWARD(push(s, rank_of(t, ids[i], ids[i + 1]), i));
    }
    while (s->heap_n) {
        const struct apusi_heap_entry top = pop(s);
        const uint32_t left = top.at;

        if (ids[left] == APUSI_NO_ID || next[left] == end)
            continue;
        const uint32_t right = next[left];
        const apusi_merge *m = apusi_merges_find(&t->merges, ids[left], ids[right]);
        if (!m || m->rank != top.rank)
            continue;
        ids[left] = m->id;
        ids[right] = APUSI_NO_ID;
        next[left] = next[right];
        if (next[left] != end) {
            previous[next[left]] = left;
            APUS_FORWARD(push(s, rank_of(t, ids[left], ids[next[left]]), left));
        }
        if (previous[left] != end)
            APUS_FORWARD(push(s, rank_of(t, ids[previous[left]], ids[left]), previous[left]));
    }
    for (uint32_t i = count ? 0 : end; i != end; i = next[i])
        APUS_FORWARD(apusi_tokens_add(out, ids[i]));
    return APUS_OK;
}

apus_status apusi_bpe(const apus_tokenizer *t, apusi_scratch *s, const char *word, size_t n,
                      apus_tokens *out)
{
    if (n == 1 && t->byte_ids[(uint8_t)word[0]] != APUSI_NO_ID)
        return apusi_tokens_add(out, t->byte_ids[(uint8_t)word[0]]);
    if (t->ignore_merges) {
        apus_str_clear(&s->spelled);
        apusi_byte_spell(&s->spelled, word, n);
        if (s->spelled.failed)
            return APUS_ERR_MEMORY;
        const uint32_t id = apusi_vocab_find(&t->vocab, s->spelled.data, s->spelled.len);
        if (id != APUSI_NO_ID && !(t->kinds[id] & APUSI_OWN))
            return apusi_tokens_add(out, id);
    }
    if (n <= SHORT_WORD)
        return short_word(t, word, n, out);
    return long_word(t, s, word, n, out);
}

void apusi_scratch_release(apusi_scratch *s)
{
    apus_free(s->nodes);
    apus_free(s->heap);
    apus_str_release(&s->spelled);
    *s = (apusi_scratch) { 0 };
}
