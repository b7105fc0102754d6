/* matmul.c - how fast the matmul algorithms are at the shapes of a small model (576 wide).
 *
 *     bench_matmul [-r ROUNDS] [-k WORD] [ALGORITHM...]
 *
 * A row is a problem, a column an algorithm by its name ("tile", "tile/32x64"; default: the one
 * that is chosen):
 * GF/s, GF/s of a core by the process's CPU time (CPU drivers: does not depend on what else runs),
 * GB/s of operands; medians over rounds in which the algorithms take turns.  -k runs the rows whose
 * text contains WORD ("nt 512", "q4_1", "nt 1x"). */
#include <stdio.h>
#include <stdlib.h>

#include "exec.h"
#include "layout.h"
#include "matmul.h"
#include "op.h"
#include "os.h"
#include "tuning_internal.h"

#define MOST_ALGORITHMS 6
#define MOST_ROUNDS 31

typedef struct problem {
    apus_matmul_kind kind;
    uint32_t m, n, k;
    uint32_t formats; /* bit i: format i */
} problem;

#define FORMAT(f) (1u << (f))
#define FIVE_BITS (FORMAT(APUS_Q5_0) | FORMAT(APUS_Q5_1))
#define TWO_LEVELS (FORMAT(APUS_Q4_K) | FORMAT(APUS_Q6_K)) /* rows of whole 256 */
#define ALL_FORMATS (FORMAT(APUS_F32) | FORMAT(APUS_F16) | FORMAT(APUS_Q8_0) | FORMAT(APUS_Q4_1))

static const problem problems[] = {
    { APUS_NT, 512, 576, 576, ALL_FORMATS },
    { APUS_NT, 512, 1536, 576, ALL_FORMATS },
    { APUS_NT, 512, 576, 1536, ALL_FORMATS },
    { APUS_NT, 512, 192, 576, ALL_FORMATS },
    { APUS_NT, 64, 49152, 576, ALL_FORMATS },
    { APUS_NT, 1, 576, 576, ALL_FORMATS },
    { APUS_NT, 1, 1536, 576, ALL_FORMATS },
    { APUS_NT, 1, 576, 1536, ALL_FORMATS },
    { APUS_NT, 1, 49152, 576, ALL_FORMATS },
    { APUS_NT, 2, 1536, 576, ALL_FORMATS },
    { APUS_NT, 4, 1536, 576, ALL_FORMATS },
    { APUS_NT, 8, 1536, 576, ALL_FORMATS },
    { APUS_NT, 16, 1536, 576, ALL_FORMATS },
    { APUS_NN, 512, 576, 576, ALL_FORMATS },
    { APUS_NN, 512, 576, 1536, ALL_FORMATS },
    { APUS_NN, 512, 1536, 576, ALL_FORMATS },
    { APUS_NN, 512, 576, 192, ALL_FORMATS },
    { APUS_NN, 64, 576, 49152, ALL_FORMATS },
    { APUS_TN, 576, 576, 512, FORMAT(APUS_F32) },
    { APUS_TN, 1536, 576, 512, FORMAT(APUS_F32) },
    { APUS_TN, 576, 1536, 512, FORMAT(APUS_F32) },
    { APUS_TN, 192, 576, 512, FORMAT(APUS_F32) },
    { APUS_NT, 1, 896, 4864, FIVE_BITS | TWO_LEVELS },
    { APUS_NT, 512, 896, 4864, FIVE_BITS | TWO_LEVELS },
    { APUS_NN, 512, 4864, 896, FIVE_BITS | TWO_LEVELS },
    /* adapters of rank 8 and 32: down, up, their gradients */
    { APUS_NT, 512, 8, 576, FORMAT(APUS_F32) },
    { APUS_NT, 512, 576, 8, FORMAT(APUS_F32) },
    { APUS_NN, 512, 8, 576, FORMAT(APUS_F32) },
    { APUS_NN, 512, 576, 8, FORMAT(APUS_F32) },
    { APUS_TN, 8, 576, 512, FORMAT(APUS_F32) },
    { APUS_TN, 576, 8, 512, FORMAT(APUS_F32) },
    { APUS_TN, 32, 576, 512, FORMAT(APUS_F32) },
    { APUS_TN, 576, 32, 512, FORMAT(APUS_F32) },
};

static const char *const kind_names[] = { "nt", "nn", "tn" };

static apus_status fill(apus_gpu *gpu, const apus_buffer *b, apus_dtype type, uint64_t scales_at)
{
    uint32_t *words = apus_alloc(b->bytes);

    apusi_shapes_fill(words, b->bytes, type, scales_at);
    const apus_status st = apus_buffer_write(gpu, b, 0, words, b->bytes);
    apus_free(words);
    return st;
}

typedef struct bench {
    apus_gpu *gpu;
    apus_exec *exec;
    apus_buffer a, b;
    uint32_t repeat;                   /* products in a plan */
    double bytes;                      /* operands of one */
    uint32_t n;                        /* algorithms */
    const char *name[MOST_ALGORITHMS]; /* "": the one that is chosen */
    char *force[MOST_ALGORITHMS];      /* "matmul:tile", or "" */
    apus_graph g[MOST_ALGORITHMS];
    apus_plan *plan[MOST_ALGORITHMS];
    double ns[MOST_ALGORITHMS][MOST_ROUNDS], cpu_ns[MOST_ALGORITHMS][MOST_ROUNDS];
} bench;

static apus_status bound(bench *w, apus_buffer *buffer, apus_dtype type, uint32_t rows,
                         uint32_t cols)
{
    const uint32_t dims[2] = { rows, cols };
    uint64_t bytes;

    if (!apus_tensor_bytes(type, 2, dims, &bytes))
        return apus_fail(APUS_ERR_SHAPE, "%u x %u", rows, cols);
    w->bytes += (double)bytes;
    APUS_FORWARD(
        apus_buffer_create(w->gpu, buffer, apus_round_up(bytes, 4), APUS_MEMORY_DEVICE, "operand"));
    return fill(w->gpu, buffer, type,
                apus_dtype_is_quant(type) ? apus_layout_scales_at(type, rows, cols) : 0);
}

static apus_status plan_of(bench *w, uint32_t at, const problem *p, apus_dtype type)
{
    const uint32_t a_dims[2] = { p->kind == APUS_TN ? p->k : p->m,
                                 p->kind == APUS_TN ? p->m : p->k };
    const uint32_t b_dims[2] = { p->kind == APUS_NT ? p->n : p->k,
                                 p->kind == APUS_NT ? p->k : p->n };
    apus_graph *g = &w->g[at];

    APUS_FORWARD(apus_graph_init(g));
    apus_tensor *a = apus_graph_bound(g, "a", APUS_F32, 2, a_dims, w->a.address);
    apus_tensor *b = apus_graph_bound(g, "b", type, 2, b_dims, w->b.address);
    for (uint32_t i = 0; i < w->repeat; i++)
        apus_matmul(g, a, b, &(apus_matmul_params) { .kind = p->kind });
    APUS_FORWARD(apus_graph_status(g));
    return apus_plan_create(
        &w->plan[at], w->exec, g,
        &(apus_plan_params) { .name = "bench", .force = w->force[at], .narrow = APUS_NARROW_NOT });
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, uint32_t n)
{
    qsort(values, n, sizeof(double), by_value);
    return values[n / 2];
}

static void clear(bench *w)
{
    for (uint32_t i = 0; i < MOST_ALGORITHMS; i++) {
        apus_plan_destroy(&w->plan[i]);
        apus_graph_release(&w->g[i]);
        w->g[i] = (apus_graph) { 0 };
    }
    apus_buffer_destroy(w->gpu, &w->a);
    apus_buffer_destroy(w->gpu, &w->b);
    w->bytes = 0;
}

/* The algorithm that the plan took: the end of its only line of choices. */
static const char *taken(const apus_plan *plan, char *room, size_t bytes)
{
    const char *choices = apus_plan_about(plan)->choices, *colon = strrchr(choices, ':');

    snprintf(room, bytes, "%s", colon ? colon + 2 : choices);
    room[strcspn(room, "\n")] = 0;
    return room;
}

/* The plans of a problem, compiled; there is none of an algorithm that does not fit. */
static apus_status make_plans(bench *w, const problem *p, apus_dtype type)
{
    char name[40];

    for (uint32_t i = 0; i < w->n; i++) {
        APUS_FORWARD(plan_of(w, i, p, type));
        if (w->name[i][0] && strcmp(taken(w->plan[i], name, sizeof(name)), w->name[i]) != 0)
            apus_plan_destroy(&w->plan[i]);
        else
            APUS_FORWARD(apus_plan_run(w->plan[i], NULL));
    }
    return APUS_OK;
}

static apus_status run_once(bench *w, uint32_t i, uint32_t round)
{
    const uint64_t start = apus_now_ns(), cpu_start = apus_cpu_ns();

    APUS_FORWARD(apus_plan_run(w->plan[i], NULL));
    w->ns[i][round] = (double)(apus_now_ns() - start) / w->repeat;
    w->cpu_ns[i][round] = (double)(apus_cpu_ns() - cpu_start) / w->repeat;
    return APUS_OK;
}

static void print_column(bench *w, uint32_t i, uint32_t rounds, double flops)
{
    char name[40];

    if (!w->plan[i]) {
        printf("  %-9s %-28s", w->name[i], "does not fit");
        return;
    }
    const double ns = median(w->ns[i], rounds), cpu = median(w->cpu_ns[i], rounds);
    printf("  %-9s %6.1f %5.1f/core %5.2f GB/s", taken(w->plan[i], name, sizeof(name)), flops / ns,
           flops / cpu, w->bytes / ns);
}

static apus_status measure(bench *w, const problem *p, apus_dtype type, uint32_t rounds,
                           const char *text)
{
    const double flops = 2.0 * p->m * p->n * p->k;
    apus_status st;

    w->repeat = (uint32_t)(4e8 / flops) + 1; /* well above the cost of a submission */
    APUS_TRY(bound(w, &w->a, APUS_F32, p->kind == APUS_TN ? p->k : p->m,
                   p->kind == APUS_TN ? p->m : p->k));
    APUS_TRY(
        bound(w, &w->b, type, p->kind == APUS_NT ? p->n : p->k, p->kind == APUS_NT ? p->k : p->n));
    APUS_TRY(make_plans(w, p, type));
    for (uint32_t r = 0; r < rounds; r++)
        for (uint32_t i = 0; i < w->n; i++)
            if (w->plan[i])
                APUS_TRY(run_once(w, i, r));
    printf("%-26s", text);
    for (uint32_t i = 0; i < w->n; i++)
        print_column(w, i, rounds, flops);
    printf("\n");
    fflush(stdout);

fail:
    clear(w);
    return st;
}

static apus_status add_algorithm(bench *w, const char *name)
{
    if (w->n == MOST_ALGORITHMS)
        return apus_fail(APUS_ERR_ARG, "at most %d algorithms at a time", MOST_ALGORITHMS);
    w->name[w->n] = name;
    w->force[w->n] = apus_format(name[0] ? "matmul:%s" : "%s", name);
    if (!w->force[w->n])
        return APUS_ERR_MEMORY;
    return apus_algorithms_check(w->force[w->n++]);
}

static apus_status measure_all(bench *w, uint32_t rounds, const char *word)
{
    for (size_t i = 0; i < APUS_COUNT(problems); i++)
        for (apus_dtype type = APUS_F32; type < APUS_DTYPE_COUNT; type++) {
            const problem *p = &problems[i];
            char text[64];

            if (!(p->formats >> type & 1))
                continue;
            snprintf(text, sizeof(text), "%s %ux%ux%u %s", kind_names[p->kind], p->m, p->n, p->k,
                     apus_dtype_of(type)->name);
            if (strstr(text, word))
                APUS_FORWARD(measure(w, p, type, rounds, text));
        }
    return APUS_OK;
}

int main(int argc, char **argv)
{
    bench w = { 0 };
    const char *word = "";
    uint32_t rounds = 5;
    apus_status st;

    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "-r") && i + 1 < argc)
            rounds = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "-k") && i + 1 < argc)
            word = argv[++i];
        else
            APUS_TRY(add_algorithm(&w, argv[i]));
    if (!w.n)
        APUS_TRY(add_algorithm(&w, ""));
    rounds = rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
    APUS_TRY(apus_gpu_create(&w.gpu, &(apus_gpu_params) { 0 }));
    APUS_TRY(apus_exec_create(&w.exec, w.gpu));
    printf("%s, %u lanes\n", apus_gpu_caps(w.gpu)->name, apus_gpu_caps(w.gpu)->subgroup);
    APUS_TRY(measure_all(&w, rounds, word));

fail:
    if (st != APUS_OK)
        fprintf(stderr, "%s\n", apus_error_text());
    for (uint32_t i = 0; i < w.n; i++)
        apus_free(w.force[i]);
    apus_exec_destroy(&w.exec);
    apus_gpu_destroy(&w.gpu);
    return st == APUS_OK ? 0 : 1;
}
