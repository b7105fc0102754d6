/* sample.c - tests of apus_sample: draws against the definition, guards, hostile logits, the
 * record of what was seen.  Filtered distributions of the reference: sample_golden.c. */
#include "sample_run.h"

/* ---- kinds of logits ---- */

static void peaked(float *z, uint32_t vocab, uint64_t *state)
{
    for (uint32_t v = 0; v < vocab; v++) {
        double sum = 0;
        for (int i = 0; i < 4; i++)
            sum += optest_random(state);
        z[v] = (float)(sum * 2.5 + (v % 997 == 5 ? 6 : 0));
    }
}

static void flat(float *z, uint32_t vocab, uint64_t *state)
{
    for (uint32_t v = 0; v < vocab; v++)
        z[v] = (float)(optest_random(state) * 0.5);
}

static void tied(float *z, uint32_t vocab, uint64_t *state)
{
    for (uint32_t v = 0; v < vocab; v++)
        z[v] = (float)(floor(optest_random(state) * 6) * 0.75);
}

static void holed(float *z, uint32_t vocab, uint64_t *state)
{
    static const float holes[] = { -INFINITY, NAN, -1e30f, -10000, -0.0f, 0.0f };

    peaked(z, vocab, state);
    for (uint32_t v = 0; v < vocab; v++)
        if (v % 3)
            z[v] = holes[(v / 3 + v % 3) % 6];
}

/* Magnitudes from 1e-38 to 1e30: equal steps find no threshold here. */
static void wide(float *z, uint32_t vocab, uint64_t *state)
{
    for (uint32_t v = 0; v < vocab; v++)
        z[v] = (float)(pow(10, optest_random(state) * 34 - 4) * (v % 2 ? 1 : -1));
}

typedef struct kind {
    const char *name;
    void (*make)(float *z, uint32_t vocab, uint64_t *state);
} kind;

static const kind kinds[] = {
    { "peaked", peaked }, { "flat", flat }, { "tied", tied }, { "holed", holed }, { "wide", wide },
};

static const sample_setting settings_of_interest[] = {
    { .temperature = 1, .top_p = 1, .penalty = 1 },
    { .temperature = 0.8f, .top_k = 50, .top_p = 0.9f, .penalty = 1 },
    { .temperature = 0.7f, .top_k = 1, .top_p = 1, .penalty = 1 },
    { .temperature = 1.3f, .top_k = 2000, .top_p = 1, .penalty = 1 },
    { .temperature = 1, .top_p = 0.9f, .penalty = 1 },
    { .temperature = 1, .top_p = 0.3f, .penalty = 1 },
    { .temperature = 1.5f, .top_p = 0.999f, .penalty = 1 },
    { .temperature = 1, .top_p = 1, .min_p = 0.05f, .penalty = 1 },
    { .temperature = 0.9f, .top_p = 0.95f, .min_p = 0.02f, .penalty = 1.3f },
    { .temperature = 1.1f, .top_k = 40, .top_p = 0.8f, .min_p = 0.1f, .penalty = 1.2f },
    { .temperature = 1, .top_k = 7, .top_p = 1, .min_p = 0.2f, .penalty = 0.7f },
    { .temperature = 1, .top_k = 3000000000u, .top_p = 0.5f, .penalty = 1 },
};

/* Every kind of logits and settings at one vocabulary, 4 rows of at most 5 live. */
static void draws_at(uint32_t vocab)
{
    enum { ROWS = 4, TOKENS = 100 };
    float *z = apus_alloc(ROWS * (size_t)vocab * 4);
    double *weight = apus_alloc(vocab * sizeof(double));
    uint8_t *seen = apus_alloc(ROWS * (size_t)vocab);
    uint32_t ids[ROWS + 1], tokens[TOKENS], slots[TOKENS];
    sampler s;

    if (sampler_open(&s, ROWS + 1, vocab, ROWS))
        for (uint32_t k = 0; k < APUS_COUNT(kinds); k++) {
            uint64_t state = vocab * 16ull + k;
            for (uint32_t r = 0; r < ROWS; r++) {
                kinds[k].make(z + r * (size_t)vocab, vocab, &state);
                sampler_logits(&s, r, z + r * (size_t)vocab);
            }
            for (uint32_t c = 0; c < APUS_COUNT(settings_of_interest); c++) {
                sample_setting now[ROWS];
                memset(seen, 0, ROWS * (size_t)vocab);
                sampler_forget(&s);
                for (uint32_t t = 0; t < TOKENS; t++) {
                    tokens[t] = (uint32_t)((optest_random(&state) + 1) / 2 * vocab) % vocab;
                    slots[t] = t % ROWS;
                    seen[slots[t] * (size_t)vocab + tokens[t]] = 1;
                }
                for (uint32_t r = 0; r < ROWS; r++) {
                    now[r] = settings_of_interest[c];
                    now[r].seed = 17 + r;
                    now[r].counter = 1000 * c + k;
                    now[r].slot = (r + 1) % ROWS;
                }
                if (!sampler_draw(&s, now, ROWS, tokens, slots, TOKENS, ids))
                    break;
                CHECK_EQ_U64(ids[ROWS], 0xabababab); /* not live */
                for (uint32_t r = 0; r < ROWS; r++) {
                    harness_check(sample_is_defined(z + r * (size_t)vocab, vocab, &now[r],
                                                    seen + now[r].slot * (size_t)vocab, weight,
                                                    ids[r]),
                                  __FILE__, __LINE__, "%u ids, %s, setting %u, row %u: id %u",
                                  vocab, kinds[k].name, c, r, ids[r]);
                }
            }
        }
    sampler_close(&s);
    apus_free(z);
    apus_free(weight);
    apus_free(seen);
}

TEST(draws_are_the_definitions)
{
    static const uint32_t vocabs[] = { 1, 3, 64, 65, 100, 511, 4099, 8192 };

    for (size_t i = 0; i < APUS_COUNT(vocabs); i++)
        draws_at(vocabs[i]);
}

TEST(draws_from_a_models_vocabulary)
{
    draws_at(49152);
}

/* The largest vocabulary, which no loop of a kernel may be too short for. */
TEST(draws_from_the_largest_vocabulary)
{
    enum { V = 262144 };
    static const uint32_t chosen[] = { 0, 1, 4, 9 };
    float *z = apus_alloc(V * sizeof(float));
    double *weight = apus_alloc(V * sizeof(double));
    uint64_t state = 8;
    uint32_t id;
    sampler s;

    if (sampler_open(&s, 1, V, 0))
        for (uint32_t k = 0; k < 2; k++) {
            kinds[k].make(z, V, &state);
            sampler_logits(&s, 0, z);
            for (uint32_t c = 0; c < APUS_COUNT(chosen); c++) {
                sample_setting now = settings_of_interest[chosen[c]];
                now.counter = 77 + c;
                if (!sampler_draw(&s, &now, 1, NULL, NULL, 0, &id))
                    break;
                harness_check(sample_is_defined(z, V, &now, NULL, weight, id), __FILE__, __LINE__,
                              "%s, setting %u: id %u", kinds[k].name, chosen[c], id);
            }
        }
    sampler_close(&s);
    apus_free(z);
    apus_free(weight);
}

/* ---- greedy ---- */

TEST(greedy_takes_the_lowest_of_the_largest)
{
    static const uint32_t vocabs[] = { 1, 5, 63, 130, 1000, 50257 };
    const sample_setting greedy[3] = {
        { .top_p = 1, .penalty = 1 },
        { .top_p = 0.5f, .top_k = 3, .min_p = 0.5f, .penalty = 1, .seed = 5, .counter = 9 },
        { .temperature = -1, .top_p = 1, .penalty = 1 },
    };

    for (size_t i = 0; i < APUS_COUNT(vocabs); i++) {
        const uint32_t vocab = vocabs[i];
        float *z = apus_alloc((size_t)vocab * 4);
        uint64_t state = vocab;
        sampler s;
        if (sampler_open(&s, 3, vocab, 0))
            for (uint32_t round = 0; round < 6; round++) {
                uint32_t ids[3], want[3];
                for (uint32_t r = 0; r < 3; r++) {
                    (round % 2 ? tied : holed)(z, vocab, &state);
                    z[0] = z[0] != z[0] ? 0 : z[0];
                    want[r] = 0;
                    for (uint32_t v = 1; v < vocab; v++)
                        if (z[v] > z[want[r]])
                            want[r] = v;
                    sampler_logits(&s, r, z);
                }
                if (!sampler_draw(&s, greedy, 3, NULL, NULL, 0, ids))
                    break;
                for (uint32_t r = 0; r < 3; r++)
                    CHECK_EQ_U64(ids[r], want[r]);
            }
        sampler_close(&s);
        apus_free(z);
    }
}

/* ---- hostile logits and settings ---- */

static void all_of(float *z, uint32_t vocab, float value)
{
    for (uint32_t v = 0; v < vocab; v++)
        z[v] = value;
}

TEST(hostile_logits_give_an_id)
{
    enum { V = 333, ROWS = 6 };
    static const sample_setting settings[] = {
        { .top_p = 1, .penalty = 1 },
        { .temperature = 1, .top_p = 1, .penalty = 1 },
        { .temperature = 1, .top_k = 10, .top_p = 0.5f, .min_p = 0.1f, .penalty = 1 },
        { .temperature = 1e-38f, .top_p = 1, .penalty = 1 },
        { .temperature = 3e38f, .top_p = 0.9f, .penalty = 1 },
        { .temperature = INFINITY, .top_p = NAN, .min_p = NAN, .penalty = NAN },
        { .temperature = NAN, .top_p = -1, .min_p = 5, .penalty = -INFINITY },
        { .temperature = 1, .top_p = 0, .min_p = 5, .penalty = 1 },
    };
    float z[V];
    sampler s;

    if (sampler_open(&s, ROWS, V, 1))
        for (uint32_t c = 0; c < APUS_COUNT(settings); c++) {
            sample_setting now[ROWS];
            uint32_t ids[ROWS];
            for (uint32_t r = 0; r < ROWS; r++)
                now[r] = settings[c];
            all_of(z, V, -INFINITY);
            sampler_logits(&s, 0, z);
            all_of(z, V, NAN);
            sampler_logits(&s, 1, z);
            z[200] = -3;
            sampler_logits(&s, 2, z);
            z[77] = INFINITY;
            sampler_logits(&s, 3, z);
            all_of(z, V, INFINITY);
            z[3] = -INFINITY;
            sampler_logits(&s, 4, z);
            all_of(z, V, -3.4028234e38f);
            z[332] = -3.4028232e38f;
            sampler_logits(&s, 5, z);
            if (!sampler_draw(&s, now, ROWS, NULL, NULL, 0, ids))
                break;
            CHECK_EQ_U64(ids[0], 0);
            CHECK_EQ_U64(ids[1], 0);
            CHECK_EQ_U64(ids[2], 200);
            CHECK_EQ_U64(ids[3], 77);
            CHECK(ids[4] < V && ids[4] != 3);
            CHECK_EQ_U64(ids[5], 332);
        }
    sampler_close(&s);
}

/* ---- what was seen ---- */

TEST(seen_ids_are_penalized_and_drawn_ones_marked)
{
    enum { V = 100 };
    const sample_setting greedy[2] = { { .top_p = 1, .penalty = 1.5f, .slot = 2 },
                                       { .top_p = 1, .penalty = 2, .slot = 0 } };
    const uint32_t tokens[] = { 40, V, 0xffffffffu, 8, 41 }, slots[] = { 2, 2, 2, 3, 0xffffffffu };
    uint32_t ids[2], words[3][4] = { { 0 } };
    float z[V], negative[V];
    sampler s;

    all_of(z, V, -8);
    z[40] = 3; /* seen: 2 */
    z[99] = 2.5f;
    z[64] = 2.25f;
    all_of(negative, V, -8);
    negative[33] = -1; /* drawn first, then -2 */
    negative[34] = -1.5f;
    if (sampler_open(&s, 2, V, 3)) {
        sampler_logits(&s, 0, z);
        sampler_logits(&s, 1, negative);
        /* Slots and ids outside are left alone: the guards show it. */
        sampler_draw(&s, greedy, 2, tokens, slots, APUS_COUNT(tokens), ids);
        CHECK_EQ_U64(ids[0], 99);
        CHECK_EQ_U64(ids[1], 33);
        CHECK_OK(apus_buffer_read(optest_gpu(), &s.seen, 0, words, sizeof(words)));
        CHECK_EQ_U64(words[2][0], 0);
        CHECK_EQ_U64(words[2][1], 1u << 8);
        CHECK_EQ_U64(words[2][3], 1u << 3);
        CHECK_EQ_U64(words[0][1], 1u << 1);
        CHECK_EQ_U64(
            words[1][0] | words[1][1] | words[1][2] | words[1][3] | words[0][0] | words[0][2], 0);
        sampler_draw(&s, greedy, 2, NULL, NULL, 0, ids);
        CHECK_EQ_U64(ids[0], 64); /* 99 became 1.67 */
        CHECK_EQ_U64(ids[1], 34);
    }
    sampler_close(&s);
}

TEST(a_penalty_needs_a_slot)
{
    enum { V = 40 };
    const sample_setting greedy[2] = { { .top_p = 1, .penalty = 9, .slot = 1 },
                                       { .top_p = 1, .penalty = 9, .slot = 0xffffffffu } };
    const uint32_t tokens[] = { 5 }, slots[] = { 0 };
    uint32_t ids[2];
    float z[V];
    sampler s;

    all_of(z, V, 1);
    z[5] = 2;
    if (sampler_open(&s, 2, V, 1)) {
        sampler_logits(&s, 0, z);
        sampler_logits(&s, 1, z);
        sampler_draw(&s, greedy, 2, tokens, slots, 1, ids);
        CHECK_EQ_U64(ids[0], 5);
        CHECK_EQ_U64(ids[1], 5);
    }
    sampler_close(&s);
}

/* ---- the draws as a whole ---- */

/* Chi-square of 10,000 draws in bins of at least 20 expected ones. */
static void check_spread(uint32_t vocab, const sample_setting *setting, const char *name)
{
    enum { ROWS = 64, DRAWS = 10048 };
    float *z = apus_alloc((size_t)vocab * 4);
    double *weight = apus_alloc(vocab * sizeof(double)), total = 0;
    uint32_t *hits = apus_calloc(vocab, 4), ids[ROWS], outside = 0;
    uint64_t state = 99;
    sampler s;

    peaked(z, vocab, &state);
    sample_define(z, vocab, setting, NULL, weight);
    for (uint32_t v = 0; v < vocab; v++)
        total += weight[v];
    if (sampler_open(&s, ROWS, vocab, 0)) {
        for (uint32_t r = 0; r < ROWS; r++)
            sampler_logits(&s, r, z);
        for (uint32_t at = 0; at < DRAWS; at += ROWS) {
            sample_setting now[ROWS];
            for (uint32_t r = 0; r < ROWS; r++) {
                now[r] = *setting;
                now[r].counter = at + r;
            }
            if (!sampler_draw(&s, now, ROWS, NULL, NULL, 0, ids))
                break;
            for (uint32_t r = 0; r < ROWS; r++) {
                if (CHECK(ids[r] < vocab))
                    hits[ids[r]]++;
            }
        }
        double chi = 0, expected = 0, got = 0;
        int bins = 0;
        for (uint32_t v = 0; v < vocab; v++) {
            outside += weight[v] > 0 ? 0 : hits[v];
            expected += weight[v] / total * DRAWS;
            got += hits[v];
            if (expected >= 20 || (v + 1 == vocab && expected > 0)) {
                chi += (got - expected) * (got - expected) / expected;
                bins++;
                expected = got = 0;
            }
        }
        CHECK_EQ_U64(outside, 0);
        /* Five standard deviations above the mean of chi-square with bins - 1 degrees of
         * freedom. */
        harness_check(bins > 5 && chi < bins - 1 + 5 * sqrt(2.0 * (bins - 1)), __FILE__, __LINE__,
                      "%s: chi-square %.1f of %d bins", name, chi, bins);
    }
    sampler_close(&s);
    apus_free(z);
    apus_free(weight);
    apus_free(hits);
}

TEST(draws_spread_as_the_probabilities)
{
    check_spread(5000, &(sample_setting) { .temperature = 1, .top_p = 1, .penalty = 1, .seed = 3 },
                 "all");
    check_spread(5000,
                 &(sample_setting) {
                     .temperature = 1.5f, .top_k = 40, .top_p = 0.95f, .penalty = 1, .seed = 4 },
                 "top-k, top-p");
}

TEST(same_draw_twice_and_in_any_row)
{
    enum { V = 3001, ROWS = 8 };
    float *z = apus_alloc(V * sizeof(float));
    sample_setting now[ROWS];
    uint32_t first[ROWS], again[ROWS];
    uint64_t state = 5;
    sampler s;

    flat(z, V, &state);
    if (sampler_open(&s, ROWS, V, 0)) {
        for (uint32_t r = 0; r < ROWS; r++) {
            sampler_logits(&s, r, z);
            now[r] = settings_of_interest[r % 4 + 4];
            now[r].seed = 1 + r / 4; /* rows 4..7: another seed */
            now[r].counter = 12;
        }
        sampler_draw(&s, now, ROWS, NULL, NULL, 0, first);
        sampler_draw(&s, now, ROWS, NULL, NULL, 0, again);
        for (uint32_t r = 0; r < ROWS; r++)
            CHECK_EQ_U64(first[r], again[r]);
        CHECK(first[0] != first[4] && first[2] != first[6]);
        for (uint32_t r = 0; r < ROWS; r++) {
            const sample_setting other = now[ROWS - 1 - r];
            sampler_draw(&s, &other, 1, NULL, NULL, 0, again);
            CHECK_EQ_U64(again[0], first[ROWS - 1 - r]);
        }
    }
    sampler_close(&s);
    apus_free(z);
}

TEST(shapes_that_do_not_fit_are_refused)
{
    const uint32_t dims[2] = { 2, 40 }, large[2] = { 1, 262145 }, seen_dims[2] = { 1, 1 }, rows = 2;
    apus_graph g;

    for (int which = 0; which < 3; which++) {
        REQUIRE_OK(apus_graph_init(&g));
        apus_tensor *z = apus_graph_bound(&g, "z", APUS_F32, 2, which == 0 ? large : dims, 4096);
        apus_tensor *ids = apus_graph_step(&g, "ids", APUS_U32, 4, APUS_ROWS_ALL);
        apus_sample(
            &g, z,
            &(apus_sample_params) {
                .settings = apus_graph_step(
                    &g, "settings", APUS_U32,
                    (which == 0 ? 1 : rows) * APUS_SAMPLE_WORDS - (which == 1), APUS_ROWS_ALL),
                .seen =
                    which == 2 ? apus_graph_bound(&g, "seen", APUS_U32, 2, seen_dims, 8192) : NULL,
                .tokens = which == 2 ? ids : NULL,
                .token_slot = which == 2 ? ids : NULL,
                .out = apus_graph_bound(&g, "drawn", APUS_U32, 1, &rows, 16384) });
        CHECK_FAILS(apus_graph_status(&g), APUS_ERR_SHAPE, "sample: z");
        apus_graph_release(&g);
    }
}
