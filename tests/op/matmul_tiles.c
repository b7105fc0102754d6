/* matmul_tiles.c - tests of apus_matmul: large tiles, and what a tune file may ask for. */
#include <stdio.h>

#include "choice.h"
#include "matmul_cases.h"
#include "matmul_problem.h"

#define LARGE                                                                                      \
    {                                                                                              \
        "matmul:tile_wide", "matmul:tile_large"                                                    \
    }

/* The same kernels with the numbers for large results; few cases: they compile slowly. */
TEST(large_tiles)
{
    optest cases[] = {
        NARROW("more than a block", 0, LARGE, APUS_NT, 130, 141, 21, APUS_F32, .alpha = 0.37f),
        NARROW("nn, odd edges", 0, LARGE, APUS_NN, 129, 160, 36, APUS_Q4_1, 0),
        NARROW("tn", 0, LARGE, APUS_TN, 67, 131, 19, APUS_F32, 0),
        NARROW("whole chunks", 0, LARGE, APUS_NT, 130, 136, 32, APUS_F16, 0),
        NARROW("matrix cores", 11, { "matmul:coop_large" }, APUS_NN, 130, 132, 36, APUS_F16, 0),
    };
    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        cases[i].in[1].trained = false; /* values only: gradients are the other two kinds */
        cases[i].in[0].fixed = cases[i].in[1].fixed = true;
    }
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(&cases[1], 1, 1); /* the odd ones have no rows of whole fours */
    optest_run_stored(&cases[3], 2, 1);
}

typedef struct tiles {
    const char *algorithm;
    char force[APUS_MOST_TILES][APUS_CHOICE_ROOM + 8];
    uint32_t n;
} tiles;

static void keep_tile(void *user, const apus_choice *c)
{
    tiles *t = user;
    char text[APUS_CHOICE_ROOM];

    if (c->at == 0 || strcmp(c->variant->name, t->algorithm) != 0)
        return;
    apus_choice_text(text, c);
    snprintf(t->force[t->n++], sizeof(t->force[0]), "matmul:%s", text);
}

/* Every tile but the default that an algorithm lists for the problem of a case. */
static void run_tiles(optest *t, const char *algorithm)
{
    const struct params *p = t->params;
    const uint32_t *a = t->in[0].dims, *b = t->in[1].dims;
    const bool tn = p->kind == APUS_TN;
    const uint32_t m = tn ? a[1] : a[0], n = p->kind == APUS_NT ? b[0] : b[1];
    const apus_matmul_problem problem = { .kind = p->kind,
                                          .m = m,
                                          .n = n,
                                          .whole_m = m,
                                          .whole_n = n,
                                          .k = tn ? a[0] : a[1],
                                          .b = t->in[1].dtype,
                                          .a = APUS_F32,
                                          .y = APUS_F32 };
    const apus_choosing from = {
        apus_gpu_caps(optest_gpu()),     "matmul", apusi_matmul_choices.variants,
        apusi_matmul_choices.n_variants, &problem, false
    };
    tiles all = { .algorithm = algorithm };

    apus_choice_each(&from, keep_tile, &all);
    CHECK(all.n > 0);
    t->in[0].fixed = t->in[1].fixed = true; /* values only: gradients are the other kinds */
    t->in[1].trained = false;
    for (uint32_t i = 0; i < all.n; i += APUS_COUNT(t->force)) {
        optest part = *t;

        memset(part.force, 0, sizeof(part.force));
        for (uint32_t k = 0; k < APUS_COUNT(part.force) && i + k < all.n; k++) {
            const apus_choice c = apus_choice_find(&from, all.force[i + k], NULL);
            char text[APUS_CHOICE_ROOM];

            apus_choice_text(text, &c);
            CHECK_EQ_STR(text, all.force[i + k] + strlen("matmul:"));
            part.force[k] = all.force[i + k];
        }
        optest_run(&part, 1);
        if (t->in[1].dims[0] % 4 == 0 && p->kind == APUS_NT)
            optest_run_stored(&part, 1, 1);
    }
}

TEST(every_tile)
{
    static const char *const algorithms[] = { "cpu",     "cpu",     "cpu",  "row_cpu", "row_cpu",
                                              "cpu",     "vec",     "vec",  "vec_cpu", "vec_cpu",
                                              "dot_cpu", "dot_cpu", "tile", "tile",    "tile" };
    optest cases[] = {
        CASE("a register tile", APUS_NT, 21, 20, 64, APUS_Q8_0, 0),
        CASE("a register tile, few rows", APUS_NT, 3, 23, 32, APUS_F32, 0),
        CASE("a register tile, nn", APUS_NN, 9, 64, 24, APUS_Q4_0, 0),
        CASE("a register tile, rows of b", APUS_NN, 9, 64, 24, APUS_Q5_1, 0),
        CASE("a register tile, rows of b, tn", APUS_TN, 36, 64, 37, APUS_F32, 0),
        CASE("a register tile, tn", APUS_TN, 36, 20, 37, APUS_F32, 0),
        CASE("one row", APUS_NT, 1, 42, 1088, APUS_Q4_0, 0),
        CASE("three rows", APUS_NT, 3, 22, 64, APUS_F16, 0),
        CASE("rows of b, one row", APUS_NT, 1, 41, 96, APUS_Q5_1, 0),
        CASE("rows of b, eight rows", APUS_NT, 8, 20, 64, APUS_BF16, 0),
        CASE("long turns", APUS_NT, 1, 41, 1024, APUS_Q4_1, 0),
        CASE("long turns of f32", APUS_NT, 1, 20, 256, APUS_F32, 0),
        CASE("blocks", APUS_NT, 70, 41, 36, APUS_F32, 0),
        CASE("blocks, nn", APUS_NN, 65, 96, 20, APUS_Q4_1, 0),
        CASE("blocks, tn", APUS_TN, 33, 67, 19, APUS_F32, 0),
    };

    if (!optest_gpu())
        return;
    for (size_t i = 0; i < APUS_COUNT(cases); i++)
        run_tiles(&cases[i], algorithms[i]);
}
