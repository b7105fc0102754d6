/* added.c - added tokens: texts that are tokens before the text is cut into words.  At each place
 * the longest wins, the leftmost place first, as in Hugging Face's tokenizers (AddedVocabulary).
 * Those marked `normalized` are looked for in the normalized text, in a second trie. */
#include "text_internal.h"

static apus_status new_node(apusi_trie *trie, uint8_t byte, uint32_t *node)
{
    APUS_FORWARD(apus_grow(&trie->nodes, trie->n, 1, &trie->room, sizeof(*trie->nodes)));
    trie->nodes[trie->n] = (apusi_trie_node) { .byte = byte };
    *node = (uint32_t)trie->n++;
    return APUS_OK;
}

static uint32_t child_of(const apusi_trie *trie, uint32_t node, uint8_t byte)
{
    if (node == 0)
        return trie->first[byte];
    uint32_t child = trie->nodes[node].child;
    while (child && trie->nodes[child].byte != byte)
        child = trie->nodes[child].sibling;
    return child;
}

static apus_status insert(apusi_trie *trie, const char *text, size_t n, uint32_t added)
{
    uint32_t node = 0;

    if (!trie->n)
        APUS_FORWARD(new_node(trie, 0, &node));
    for (size_t i = 0; i < n; i++) {
        const uint8_t byte = (uint8_t)text[i];
        uint32_t child = child_of(trie, node, byte);

        if (!child) {
            if (trie->n >= UINT32_MAX)
                return apus_fail(APUS_ERR_FORMAT, "the added tokens have more than 4 GiB of text");
            APUS_FORWARD(new_node(trie, byte, &child));
            if (node == 0) {
                trie->first[byte] = child;
            } else {
                trie->nodes[child].sibling = trie->nodes[node].child;
                trie->nodes[node].child = child;
            }
        }
        node = child;
    }
    trie->nodes[node].added = added + 1;
    return APUS_OK;
}

/* Whether this very text is in the trie. */
static bool holds(const apusi_trie *trie, const char *text, size_t n)
{
    uint32_t node = 0;

    for (size_t i = 0; trie->n && i < n; i++) {
        node = child_of(trie, node, (uint8_t)text[i]);
        if (!node)
            return false;
    }
    return node && trie->nodes[node].added;
}

apus_status apusi_add_token(apus_tokenizer *t, const apusi_added *a, const char *text, size_t n)
{
    apusi_added row = *a;
    const uint32_t known = apusi_vocab_find(&t->vocab, text, n);

    if (n == 0)
        return apus_fail(APUS_ERR_FORMAT, "%s: the added token %u has no text", t->where, a->id);
    if (holds(&t->tries[0], text, n) || holds(&t->tries[1], text, n))
        return APUS_OK; /* added before: the first row counts */
    if (known != APUSI_NO_ID) {
        row.id = known;
    } else {
        APUS_FORWARD(apusi_vocab_set(&t->vocab, a->id, text, n));
        row.own = true;
    }
    APUS_FORWARD(apus_grow(&t->added, t->n_added, 1, &t->room_added, sizeof(*t->added)));
    APUS_FORWARD(insert(&t->tries[row.normalized], text, n, (uint32_t)t->n_added));
    t->added[t->n_added++] = row;
    return APUS_OK;
}

void apusi_trie_release(apusi_trie *trie)
{
    apus_free(trie->nodes);
    *trie = (apusi_trie) { 0 };
}

/* The longest added token that begins at `at`: its index + 1, and where it ends. */
static uint32_t longest(const apusi_trie *trie, const char *text, size_t n, size_t at, size_t *end)
{
    uint32_t node = trie->first[(uint8_t)text[at]], found = 0;

    for (size_t i = at + 1; node; i++) {
        if (trie->nodes[node].added) {
            found = trie->nodes[node].added;
            *end = i;
        }
        if (i == n)
            break;
        node = child_of(trie, node, (uint8_t)text[i]);
    }
    return found;
}

/* The character that ends before `at`; there is one. */
static size_t step_back(const char *text, size_t at, uint32_t *cp)
{
    size_t begin = at - 1;

    while (begin > 0 && ((uint8_t)text[begin] & 0xc0) == 0x80)
        begin--;
    if (apusi_utf8_step(text + begin, at - begin, cp) <= 0)
        *cp = 0xfffd;
    return begin;
}

static bool stands_alone(const char *text, size_t n, size_t begin, size_t end)
{
    uint32_t cp;

    if (begin > 0) {
        step_back(text, begin, &cp);
        if (apusi_is_word(cp))
            return false;
    }
    return end == n || apusi_utf8_step(text + end, n - end, &cp) <= 0 || !apusi_is_word(cp);
}

static void strip(const apusi_added *a, const char *text, size_t n, size_t from, apusi_hit *hit)
{
    uint32_t cp;

    while (a->lstrip && hit->begin > from) {
        const size_t begin = step_back(text, hit->begin, &cp);
        if (!apusi_is_space(cp))
            break;
        hit->begin = begin;
    }
    if (a->rstrip)
        hit->end += apusi_blank_start(text + hit->end, n - hit->end);
}

bool apusi_next_added(const apus_tokenizer *t, bool normalized, bool parse_special,
                      const char *text, size_t n, size_t *scan, size_t from, apusi_hit *hit)
{
    const apusi_trie *trie = &t->tries[normalized];

    if (!trie->n)
        return false;
    for (size_t at = *scan; at < n; at++) {
        size_t end = at;
        const uint32_t found = longest(trie, text, n, at, &end);

        if (!found)
            continue;
        const apusi_added *a = &t->added[found - 1];
        if ((a->special && !parse_special) || (a->single_word && !stands_alone(text, n, at, end))) {
            at = end - 1;
            continue;
        }
        *hit = (apusi_hit) { a, at, end };
        strip(a, text, n, from, hit);
        *scan = hit->end > end ? hit->end : end;
        return true;
    }
    *scan = n;
    return false;
}
