/* sample_golden.c - the filtered distributions of the reference, recorded in
 * tests/golden/cases/sampling.  A draw shows an id only, so each id that the reference keeps is
 * drawn with random numbers just inside both ends of its share: all of [0, 1) being shared out,
 * probabilities and what is removed are right where every one of these draws gives that id. */
#include <stdio.h>

#include "file.h"
#include "json.h"
#include "sample_run.h"

#define ROWS 4
#define V 64
#define HISTORY 20
#define BATCH 64
#define NUMBERS (1u << 20)
#define EDGE 1e-6 /* nearer to an end single precision may decide otherwise */

typedef struct golden {
    char *text;
    size_t bytes;
    cJSON *header;
} golden;

static bool golden_open(golden *g)
{
    uint64_t length;

    *g = (golden) { 0 };
    if (!CHECK_OK(apus_file_read(&g->text, &g->bytes,
                                 harness_fixture("../golden/cases/sampling/ref.safetensors"),
                                 1 << 20)) ||
        !CHECK(g->bytes > 8))
        return false;
    memcpy(&length, g->text, 8);
    return CHECK(length < g->bytes - 8) &&
           CHECK_OK(apus_json_parse(&g->header, g->text + 8, length, "ref"));
}

/* The bytes of a tensor of `bytes` bytes, or NULL. */
static const void *golden_tensor(const golden *g, const char *name, size_t bytes)
{
    const cJSON *tensor = apus_json_get(g->header, name);
    const cJSON *offsets = tensor ? apus_json_get(tensor, "data_offsets") : NULL;
    uint64_t length;

    memcpy(&length, g->text, 8);
    if (!harness_check(offsets && cJSON_GetArraySize(offsets) == 2, __FILE__, __LINE__, "no %s",
                       name))
        return NULL;
    const uint64_t from = (uint64_t)cJSON_GetArrayItem(offsets, 0)->valuedouble;
    const uint64_t to = (uint64_t)cJSON_GetArrayItem(offsets, 1)->valuedouble;
    if (!CHECK(to - from == bytes && 8 + length + to <= g->bytes))
        return NULL;
    return g->text + 8 + length + from;
}

/* ---- counters by the random number that they give ---- */

typedef struct number {
    double u;
    uint32_t counter;
} number;

static int by_number(const void *a, const void *b)
{
    const double x = ((const number *)a)->u, y = ((const number *)b)->u;

    return x < y ? -1 : x > y;
}

static number *make_numbers(uint32_t seed)
{
    number *all = apus_alloc(NUMBERS * sizeof(*all));

    for (uint32_t i = 0; i < NUMBERS; i++)
        all[i] = (number) { sample_uniform(seed, i), i };
    qsort(all, NUMBERS, sizeof(*all), by_number);
    return all;
}

/* The first number that is at least u. */
static const number *number_from(const number *all, double u)
{
    uint32_t lo = 0, hi = NUMBERS;

    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (all[mid].u < u)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < NUMBERS ? &all[lo] : NULL;
}

/* ---- one processor on one row ---- */

typedef struct batch {
    sampler s;
    sample_setting settings[BATCH];
    uint32_t want[BATCH], n, drawn;
    const uint32_t *history;
} batch;

/* A slot for each row: what one draws must not be seen by another. */
static void remember(batch *b)
{
    uint32_t words[BATCH][V / 32] = { { 0 } };

    for (uint32_t r = 0; r < BATCH; r++)
        for (uint32_t i = 0; i < HISTORY; i++)
            words[r][b->history[i] / 32] |= 1u << b->history[i] % 32;
    CHECK_OK(apus_buffer_write(optest_gpu(), &b->s.seen, 0, words, sizeof(words)));
}

static void flush(batch *b, const char *name, uint32_t row)
{
    uint32_t ids[BATCH];

    if (b->n == 0)
        return;
    remember(b);
    if (sampler_draw(&b->s, b->settings, b->n, NULL, NULL, 0, ids))
        for (uint32_t i = 0; i < b->n; i++)
            harness_check(ids[i] == b->want[i], __FILE__, __LINE__, "%s, row %u: id %u for %u",
                          name, row, ids[i], b->want[i]);
    b->drawn += b->n;
    b->n = 0;
}

static void check_row(batch *b, const number *numbers, const char *name, uint32_t row,
                      const sample_setting *setting, const float *probs)
{
    double total = 0, at = 0;

    for (uint32_t v = 0; v < V; v++)
        total += (double)probs[v];
    for (uint32_t v = 0; v < V; v++) {
        const double share = (double)probs[v] / total,
                     inset = share * 0.02 > EDGE ? share * 0.02 : EDGE;
        for (int end = 0; end < 2; end++) {
            const number *x = number_from(numbers, end ? at + share - 2 * inset : at + inset);
            if (!x || x->u < at + EDGE || x->u > at + share - EDGE)
                continue;
            b->settings[b->n] = *setting;
            b->settings[b->n].counter = x->counter;
            b->settings[b->n].slot = b->n;
            b->want[b->n] = v;
            if (++b->n == BATCH)
                flush(b, name, row);
        }
        at += share;
    }
    flush(b, name, row);
}

typedef struct processor {
    const char *name;
    sample_setting setting;
} processor;

static const processor processors[] = {
    { "temperature_0.7", { .temperature = 0.7f, .top_p = 1, .penalty = 1 } },
    { "temperature_1.3", { .temperature = 1.3f, .top_p = 1, .penalty = 1 } },
    { "top_k_1", { .temperature = 1, .top_k = 1, .top_p = 1, .penalty = 1 } },
    { "top_k_5", { .temperature = 1, .top_k = 5, .top_p = 1, .penalty = 1 } },
    { "top_k_40", { .temperature = 1, .top_k = 40, .top_p = 1, .penalty = 1 } },
    { "top_p_0.1", { .temperature = 1, .top_p = 0.1f, .penalty = 1 } },
    { "top_p_0.7", { .temperature = 1, .top_p = 0.7f, .penalty = 1 } },
    { "top_p_0.95", { .temperature = 1, .top_p = 0.95f, .penalty = 1 } },
    { "min_p_0.05", { .temperature = 1, .top_p = 1, .min_p = 0.05f, .penalty = 1 } },
    { "min_p_0.3", { .temperature = 1, .top_p = 1, .min_p = 0.3f, .penalty = 1 } },
    { "repetition_penalty_1.3", { .temperature = 1, .top_p = 1, .penalty = 1.3f } },
    { "chain",
      { .temperature = 0.7f, .top_k = 30, .top_p = 0.9f, .min_p = 0.05f, .penalty = 1.2f } },
};

TEST(filtered_distributions_are_the_references)
{
    golden g = { 0 };
    batch *b = apus_calloc(1, sizeof(*b));
    const float *logits;
    const uint32_t *history;

    if (golden_open(&g) && (logits = golden_tensor(&g, "logits", ROWS * V * 4)) &&
        (history = golden_tensor(&g, "history", ROWS * HISTORY * 4)) &&
        sampler_open(&b->s, BATCH, V, BATCH)) {
        number *numbers = make_numbers(0);
        for (uint32_t row = 0; row < ROWS; row++) {
            float z[V];
            uint32_t ids[HISTORY];
            memcpy(z, logits + row * V, sizeof(z)); /* the file's tensors are not aligned */
            memcpy(ids, history + row * HISTORY, sizeof(ids));
            b->history = ids;
            for (uint32_t r = 0; r < BATCH; r++)
                sampler_logits(&b->s, r, z);
            for (size_t i = 0; i < APUS_COUNT(processors); i++) {
                char name[64];
                float probs[V];
                snprintf(name, sizeof(name), "%s.probs", processors[i].name);
                const float *want = golden_tensor(&g, name, ROWS * V * 4);
                if (!want)
                    continue;
                memcpy(probs, want + row * V, sizeof(probs));
                check_row(b, numbers, processors[i].name, row, &processors[i].setting, probs);
            }
        }
        CHECK(b->drawn > 2000); /* two of nearly every kept id */
        apus_free(numbers);
    }
    if (optest_exec())
        sampler_close(&b->s);
    cJSON_Delete(g.header);
    apus_free(g.text);
    apus_free(b);
}
