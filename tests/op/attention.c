/* attention.c - tests of apus_attention: values, log-sum-exp and gradients, keys of the step and
 * keys of a paged cache, also divided into parts. */
#include "attention_cases.h"

#define RUNS DEFINED, .force = { "attention:lane", "attention:split" }
#define CASE(text, ...)                                                                            \
    {                                                                                              \
        .name = text, RUNS, .in = { { "q" } }, .params = SHAPE(__VA_ARGS__)                        \
    }
#define CACHED(text, type, ...)                                                                    \
    {                                                                                              \
        .name = text, RUNS, .in = { { "q" }, { "k", type } },                                      \
        .params = SHAPE(__VA_ARGS__, .cached = true)                                               \
    }

#define DIVIDED(text, type, ...)                                                                   \
    {                                                                                              \
        .name = text, DEFINED, .force = { "attention:parts" }, .in = { { "q" }, { "k", type } },   \
        .params = SHAPE(__VA_ARGS__, .cached = true, .page_tokens = 64)                            \
    }

#define STORED 4 /* cases that run with 16-bit activations too: some drivers compile slowly */

TEST(keys_of_the_step)
{
    optest cases[] = {
        CASE("one token", 1, 1, 16, .n = 1, .rows = { 1 }),
        CASE("packed, odd lengths, spare rows", 2, 1, 16, .n = 4, .rows = { 1, 9, 23, 6 },
             .spare = 5),
        CASE("small heads", 4, 2, 12, .n = 2, .rows = { 17, 5 }),
        CASE("a model's heads", 9, 3, 64, .n = 2, .rows = { 33, 8 }, .spare = 1),
        CASE("no groups", 3, 3, 16, .n = 1, .rows = { 19 }),
        CASE("groups of eight", 8, 1, 16, .n = 2, .rows = { 7, 10 }),
        CASE("window", 3, 1, 16, .p.window = 5, .n = 2, .rows = { 29, 12 }),
        CASE("window of one", 2, 2, 16, .p.window = 1, .n = 1, .rows = { 11 }),
        CASE("bidirectional", 3, 1, 16, .p.bidirectional = true, .n = 3, .rows = { 13, 1, 20 },
             .spare = 3),
        CASE("bidirectional window", 2, 1, 12, .p.bidirectional = true, .p.window = 4, .n = 2,
             .rows = { 21, 6 }),
        CASE("scale", 2, 1, 16, .p.scale = 0.5f, .n = 1, .rows = { 10 }),
        CASE("head size 32", 2, 1, 32, .n = 2, .rows = { 11, 2 }),
        CASE("head size 80", 2, 1, 80, .n = 2, .rows = { 9, 3 }),
        CASE("head size 96", 2, 2, 96, .n = 1, .rows = { 7 }),
        CASE("head size 128", 3, 1, 128, .n = 1, .rows = { 18 }),
        CASE("head size 192", 2, 1, 192, .n = 1, .rows = { 5 }),
        CASE("head size 256", 2, 2, 256, .n = 1, .rows = { 6 }),
    };

    if (!optest_gpu())
        return;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, STORED, 1u << IN_Q | 1u << IN_K | 1u << IN_V);
}

TEST(caps_and_sinks)
{
    optest cases[] = {
        CASE("capped, packed, spare rows", 3, 1, 16, .p.softcap = 2, .n = 2, .rows = { 13, 7 },
             .spare = 3),
        CASE("sinks, packed, spare rows", 4, 2, 16, .sinks = true, .n = 3, .rows = { 1, 19, 6 },
             .spare = 4),
        CASE("capped and sinks, window", 3, 3, 12, .p.softcap = 1.5f, .p.window = 4, .sinks = true,
             .n = 2, .rows = { 11, 5 }),
        CASE("a cap that hardly bends", 3, 1, 16, .p.softcap = 50, .n = 1, .rows = { 9 }),
        CASE("a cap that all reach", 3, 1, 16, .p.softcap = 0.125f, .n = 1, .rows = { 9 }),
        CASE("both ways, wider heads", 4, 2, 32, .p.softcap = 3, .p.bidirectional = true,
             .sinks = true, .n = 2, .rows = { 10, 3 }),
    };

    if (!optest_gpu())
        return;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, 2, 1u << IN_Q | 1u << IN_K | 1u << IN_V);
}

TEST(keys_of_a_cache)
{
    optest cases[] = {
        CACHED("decode of one", APUS_F32, 3, 1, 16, .n = 1, .before = { 20 }, .rows = { 1 },
               .block_tokens = 1),
        CACHED("decode of four, f16", APUS_F16, 9, 3, 64, .n = 4, .before = { 0, 7, 8, 40 },
               .rows = { 1, 1, 1, 1 }, .block_tokens = 1),
        CACHED("decode, bf16", APUS_BF16, 8, 1, 128, .n = 2, .before = { 31, 32 }, .rows = { 1, 1 },
               .block_tokens = 1),
        CACHED("decode, window", APUS_F16, 2, 1, 16, .p.window = 9, .n = 2, .before = { 50, 3 },
               .rows = { 1, 1 }, .block_tokens = 1),
        CACHED("long pages, many keys", APUS_F16, 2, 1, 12, .n = 1, .before = { 150 },
               .rows = { 1 }, .page_tokens = 64, .block_tokens = 1),
        CACHED("a prompt from nothing", APUS_F16, 9, 3, 64, .n = 1, .rows = { 37 }, .spare = 2),
        CACHED("prompts behind others, bf16", APUS_BF16, 4, 2, 16, .n = 3, .before = { 5, 0, 16 },
               .rows = { 11, 1, 24 }),
        CACHED("prompt, window", APUS_F32, 2, 2, 16, .p.window = 6, .n = 2, .before = { 13, 2 },
               .rows = { 15, 9 }),
        CACHED("blocks of three tokens", APUS_F32, 3, 1, 16, .n = 2, .before = { 4, 0 },
               .rows = { 8, 5 }, .block_tokens = 3),
        CACHED("odd pages", APUS_F32, 2, 1, 16, .n = 2, .before = { 9, 0 }, .rows = { 8, 12 },
               .page_tokens = 5),
    };

    if (!optest_gpu())
        return;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, STORED, 1u << IN_Q);
}

/* That parts are what is recorded then: tests/exec/algorithms.c. */
TEST(keys_in_parts)
{
    optest cases[] = {
        DIVIDED("parts of 128", APUS_F16, 3, 1, 64, .n = 1, .before = { 511 }, .rows = { 1 },
                .block_tokens = 1),
        DIVIDED("capped and sinks, all lengths", APUS_F16, 4, 2, 16, .p.softcap = 2, .sinks = true,
                .n = 4, .before = { 0, 127, 128, 500 }, .rows = { 1, 1, 1, 1 }, .block_tokens = 1),
        DIVIDED("the last part is short", APUS_F32, 2, 1, 16, .n = 1, .before = { 540 },
                .rows = { 1 }, .block_tokens = 1),
        DIVIDED("few parts, each longer", APUS_F32, 16, 16, 4, .n = 2, .before = { 401, 300 },
                .rows = { 4, 4 }, .block_tokens = 1),
        DIVIDED("blocks of three, spare rows", APUS_F32, 3, 1, 16, .n = 2, .before = { 300, 126 },
                .rows = { 4, 3 }, .block_tokens = 3, .spare = 1),
        DIVIDED("whole rows a lane", APUS_F32, 2, 1, 12, .sinks = true, .n = 1, .before = { 260 },
                .rows = { 1 }, .block_tokens = 1),
        DIVIDED("window", APUS_F32, 2, 2, 16, .p.window = 301, .n = 2, .before = { 500, 40 },
                .rows = { 1, 1 }, .block_tokens = 1),
        DIVIDED("both ways, capped", APUS_BF16, 2, 1, 32, .p.bidirectional = true, .p.softcap = 1,
                .n = 1, .before = { 270 }, .rows = { 3 }, .block_tokens = 2),
        DIVIDED("head size 256", APUS_F16, 2, 1, 256, .n = 1, .before = { 299 }, .rows = { 1 },
                .block_tokens = 1),
    };

    if (!optest_gpu())
        return;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, 2, 1u << IN_Q);
}

/* A graph with attention over three rows of two heads; its failure. */
static void refused(apus_attention_params p, uint32_t sinks, apus_status status, const char *text)
{
    apus_graph g;

    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *q = apus_graph_bound(&g, "q", APUS_F32, 2, (uint32_t[]) { 3, 16 }, 256);
    apus_tensor *u = apus_graph_step(&g, "u", APUS_U32, 6, APUS_ROWS_ALL);
    const apus_sequences s = { u, u, u, u, u, u, 8, 1, 1, 3 };
    p.heads = p.kv_heads = 2;
    p.head_dim = 8;
    if (sinks)
        p.sinks = apus_graph_bound(&g, "sinks", APUS_F32, 1, &sinks, 4096);
    CHECK(apus_attention(&g, q, q, q, &s, &p, NULL) == NULL);
    CHECK_FAILS(apus_graph_status(&g), status, text);
    apus_graph_release(&g);
}

TEST(what_makes_no_sense_is_refused)
{
    refused((apus_attention_params) { .softcap = -1 }, 0, APUS_ERR_ARG, "capped at -1");
    refused((apus_attention_params) { .softcap = NAN }, 0, APUS_ERR_ARG, "finite");
    refused((apus_attention_params) { .softcap = INFINITY }, 2, APUS_ERR_ARG, "capped at inf");
    refused((apus_attention_params) { .softcap = 1 }, 3, APUS_ERR_SHAPE, "sinks has to be 2");
}
