/* text_case.c - a tokenizer: ids, pieces and texts of every recorded row.  An error is a number of
 * rows. */
#include <stdio.h>

#include "apus/text.h"
#include "golden.h"
#include "str.h"

enum { IDS, AROUND, PIECES, DECODED, SKIPPED, N_CHECKS };
static const char *const names[N_CHECKS] = {
    "ids", "ids with special tokens", "pieces", "decoded", "decoded without special tokens",
};

typedef struct tally {
    uint32_t rows[N_CHECKS], wrong[N_CHECKS];
    char first[N_CHECKS][80]; /* the first wrong text */
} tally;

/* A member's text with its zero bytes (golden_json_text). */
static void text_of(apus_str *s, const cJSON *row, const char *key)
{
    const char *p = apus_json_string(row, key, "");

    apus_str_clear(s);
    apus_str_add(s, "");
    for (; *p; p += !strncmp(p, "\xef\xa3\xb7", 3) ? 3 : 1)
        apus_str_add_bytes(s, !strncmp(p, "\xef\xa3\xb7", 3) ? "" : p, 1);
}

static void count(tally *t, int check, bool right, const char *text)
{
    t->rows[check]++;
    if (!right && !t->wrong[check]++)
        snprintf(t->first[check], sizeof(t->first[check]), "first '%.60s'", text);
}

static bool same_ids(const apus_tokens *got, const cJSON *want)
{
    const cJSON *id;
    size_t i = 0;

    cJSON_ArrayForEach(id, want)
    {
        if (i >= got->n || (double)got->ids[i] != id->valuedouble)
            return false;
        i++;
    }
    return i == got->n;
}

static bool same_pieces(const apus_tokenizer *k, const apus_tokens *got, const cJSON *want)
{
    const cJSON *piece;
    size_t i = 0;

    cJSON_ArrayForEach(piece, want)
    {
        const char *mine = i < got->n ? apus_tokenizer_piece(k, got->ids[i]) : NULL;
        if (!mine || !cJSON_IsString(piece) || strcmp(mine, piece->valuestring))
            return false;
        i++;
    }
    return i == got->n;
}

static bool same_text(const apus_tokenizer *k, const apus_tokens *ids, bool skip, const cJSON *row)
{
    apus_text got = { 0 };
    apus_str want = { 0 };
    bool same = apus_tokenizer_decode(k, ids->ids, ids->n, skip, &got) == APUS_OK;

    text_of(&want, row, skip ? "decoded_skip_special" : "decoded");
    same = same && got.bytes == want.len && !memcmp(got.data, want.data, want.len);
    apus_str_release(&want);
    apus_text_release(&got);
    return same;
}

static void encode_row(const apus_tokenizer *k, const cJSON *row, tally *t)
{
    const cJSON *around = apus_json_get(row, "ids_with_special");
    const unsigned parse = APUS_ENCODE_PARSE_SPECIAL;
    apus_tokens plain = { 0 }, special = { 0 };
    apus_str s = { 0 };

    text_of(&s, row, "text");
    bool ok = apus_tokenizer_encode(k, s.data, s.len, parse, &plain) == APUS_OK;
    count(t, IDS, ok && same_ids(&plain, apus_json_get(row, "ids")), s.data);
    count(t, PIECES, ok && same_pieces(k, &plain, apus_json_get(row, "tokens")), s.data);
    count(t, DECODED, ok && same_text(k, &plain, false, row), s.data);
    count(t, SKIPPED, ok && same_text(k, &plain, true, row), s.data);
    ok = apus_tokenizer_encode(k, s.data, s.len, parse | APUS_ENCODE_ADD_SPECIAL, &special) ==
         APUS_OK;
    count(t, AROUND, ok && same_ids(&special, around ? around : apus_json_get(row, "ids")), s.data);
    apus_tokens_release(&plain);
    apus_tokens_release(&special);
    apus_str_release(&s);
}

static void decode_row(const apus_tokenizer *k, const cJSON *row, tally *t)
{
    const cJSON *list = apus_json_get(row, "ids"), *id;
    apus_tokens ids = { .ids = apus_calloc((size_t)cJSON_GetArraySize(list), sizeof(uint32_t)) };

    cJSON_ArrayForEach(id, list) ids.ids[ids.n++] = (uint32_t)id->valuedouble;
    count(t, DECODED, same_text(k, &ids, false, row), apus_json_string(row, "decoded", ""));
    count(t, SKIPPED, same_text(k, &ids, true, row), apus_json_string(row, "decoded", ""));
    apus_free(ids.ids);
}

void golden_tokenizer_case(golden_case *c)
{
    apus_tokenizer *k = NULL;
    cJSON *recorded = NULL;
    const cJSON *row;
    tally encode = { 0 }, decode = { 0 };

    if (!golden_ok(c, "tokenizer", apus_tokenizer_open(&k, c->folder)) ||
        !golden_ok(c, "recorded rows", golden_json_text(c, "golden.json", &recorded)))
        goto done;
    cJSON_ArrayForEach(row, apus_json_get(recorded, "encode")) encode_row(k, row, &encode);
    cJSON_ArrayForEach(row, apus_json_get(recorded, "decode_random_ids"))
        decode_row(k, row, &decode);
    for (int i = 0; i < N_CHECKS; i++) {
        char check[96];
        snprintf(check, sizeof(check), "%s (%u texts)", names[i], encode.rows[i]);
        if (encode.rows[i])
            golden_check(c, check, encode.wrong[i], 0, encode.first[i]);
        snprintf(check, sizeof(check), "random ids %s (%u rows)", names[i], decode.rows[i]);
        if (decode.rows[i])
            golden_check(c, check, decode.wrong[i], 0, decode.first[i]);
    }
    if (!encode.rows[IDS])
        golden_broken(c, "ids", "golden.json has no rows");
done:
    cJSON_Delete(recorded);
    apus_tokenizer_close(&k);
}
