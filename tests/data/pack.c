/* Packs, against those that ms-swift and binpacking made of the same lengths. */
#include "apus/data.h"
#include "data_internal.h"
#include "harness.h"

/* The numbers of a list; caller frees. */
static uint32_t *numbers(const cJSON *list, size_t *n)
{
    const cJSON *x;
    uint32_t *out = apus_calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(*out));

    *n = 0;
    if (!CHECK(out != NULL))
        return NULL;
    cJSON_ArrayForEach(x, list) out[(*n)++] = (uint32_t)x->valuedouble;
    return out;
}

static const cJSON *get(const cJSON *c, const char *key)
{
    const cJSON *x = cJSON_GetObjectItemCaseSensitive(c, key);

    CHECK(x != NULL);
    return x;
}

/* Each row stands in one pack, and the sums are those of the rows. */
static void check_sums(const apus_packs *p, const uint32_t *lengths, size_t n, const char *name)
{
    uint8_t *seen = apus_calloc(n + 1, 1);
    uint32_t longest = 0, most = 0;

    REQUIRE(seen != NULL);
    CHECK_EQ_U64(p->first[0], 0);
    CHECK_EQ_U64(p->first[p->n], n);
    for (size_t i = 0; i < p->n; i++) {
        const uint32_t rows = p->first[i + 1] - p->first[i];
        uint32_t tokens = 0;

        for (uint32_t k = p->first[i]; k < p->first[i + 1]; k++) {
            harness_check(!seen[p->rows[k]]++, __FILE__, __LINE__, "%s: row %u twice", name,
                          p->rows[k]);
            tokens += lengths[p->rows[k]];
        }
        CHECK_EQ_U64(p->tokens[i], tokens);
        longest = tokens > longest ? tokens : longest;
        most = rows > most ? rows : most;
    }
    CHECK_EQ_U64(p->longest, longest);
    CHECK_EQ_U64(p->most_rows, most);
    apus_free(seen);
}

static void check_binpack(const cJSON *want, const apus_packs *p, const char *name)
{
    const cJSON *pack, *row;
    size_t i = 0;

    CHECK_EQ_U64(p->n, cJSON_GetArraySize(want));
    cJSON_ArrayForEach(pack, want)
    {
        uint32_t at = p->first[i], end = p->first[i + 1];

        if (!harness_check((int)(end - at) == cJSON_GetArraySize(pack), __FILE__, __LINE__,
                           "%s: pack %zu has %u rows, not %d", name, i, end - at,
                           cJSON_GetArraySize(pack)))
            return;
        cJSON_ArrayForEach(row, pack)
        {
            if (!harness_check(p->rows[at] == (uint32_t)row->valuedouble, __FILE__, __LINE__,
                               "%s: pack %zu has row %u, not %g", name, i, p->rows[at],
                               row->valuedouble))
                return;
            at++;
        }
        i++;
    }
}

static void check_sequential(const cJSON *want, const apus_packs *p, const char *name)
{
    const cJSON *rows;
    size_t i = 0;

    CHECK_EQ_U64(p->n, cJSON_GetArraySize(want));
    cJSON_ArrayForEach(rows, want)
    {
        harness_check(p->first[i + 1] - p->first[i] == (uint32_t)rows->valuedouble, __FILE__,
                      __LINE__, "%s: pack %zu has %u rows, not %g", name, i,
                      p->first[i + 1] - p->first[i], rows->valuedouble);
        i++;
    }
    for (uint32_t k = 0; k < p->first[p->n]; k++)
        if (!CHECK_EQ_U64(p->rows[k], k))
            return;
}

TEST(packs_are_those_of_swift)
{
    cJSON *json = NULL;
    const cJSON *c;
    int cases = 0;

    REQUIRE_OK(apus_json_read(&json, harness_fixture("data/packs.json")));
    cJSON_ArrayForEach(c, json)
    {
        const char *name = get(c, "name")->valuestring;
        size_t n;
        uint32_t *lengths = numbers(get(c, "lengths"), &n);
        apus_pack_params params = { .length = (uint32_t)get(c, "packing_length")->valuedouble,
                                    .sections = (uint32_t)get(c, "num_proc")->valuedouble };
        apus_packs packs = { 0 };

        REQUIRE(lengths != NULL);
        params.packing = APUS_PACKING_BINPACK;
        if (CHECK_OK(apus_packs_init(&packs, lengths, n, &params))) {
            check_sums(&packs, lengths, n, name);
            check_binpack(get(c, "binpack"), &packs, name);
        }
        apus_packs_release(&packs);
        params.packing = APUS_PACKING_SEQUENTIAL;
        if (CHECK_OK(apus_packs_init(&packs, lengths, n, &params))) {
            check_sums(&packs, lengths, n, name);
            check_sequential(get(c, "sequential"), &packs, name);
        }
        apus_packs_release(&packs);
        apus_free(lengths);
        cases++;
    }
    CHECK_EQ_U64(cases, 14);
    cJSON_Delete(json);
}

TEST(without_packing_each_row_is_a_pack)
{
    static const uint32_t lengths[] = { 5, 9, 2 };
    apus_packs p = { 0 };

    REQUIRE_OK(apus_packs_init(&p, lengths, 3, &(apus_pack_params) { .length = 64 }));
    CHECK_EQ_U64(p.n, 3);
    CHECK_EQ_U64(p.longest, 9);
    CHECK_EQ_U64(p.most_rows, 1);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ_U64(p.rows[i], i);
        CHECK_EQ_U64(p.first[i + 1], i + 1);
        CHECK_EQ_U64(p.tokens[i], lengths[i]);
    }
    apus_packs_release(&p);
    for (int packing = 0; packing < 3; packing++) {
        REQUIRE_OK(apus_packs_init(
            &p, lengths, 0,
            &(apus_pack_params) { .packing = (apus_packing)packing, .length = 64 }));
        CHECK_EQ_U64(p.n, 0);
        apus_packs_release(&p);
    }
}
