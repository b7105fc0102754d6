/* loops.c - the inner loop of the f16 product on matrix cores, as the compiler of one GPU made it:
 * the matrix instructions that the tile needs, no more and no fewer, and how many instructions
 * there are in all, against the fewest that it could be and against budgets.txt. */
#include <stdio.h>

#include "exec.h"
#include "file.h"
#include "harness.h"
#include "matmul.h"
#include "op.h"

#define N 4096u /* of a square product */
#define MOST_BLOCKS 4096
#define MOST_NEXT 8

/* How a driver's listing is read, and what its GPUs need for a tile. */
typedef struct dialect {
    const char *listing;       /* its name */
    const char *matrix;        /* the word of a matrix instruction */
    const char *hints;         /* words of lines that are no work: for the scheduler */
    uint32_t matrices;         /* instructions of the product of two fragments */
    uint32_t a_loads, b_loads; /* of a fragment from shared memory, 16 bytes a lane or a block */
} dialect;

static const dialect dialects[] = {
    { "Assembly", "v_wmma", "s_delay_alu s_clause s_nop", 1, 2, 2 }, /* 32 bytes a lane */
    { "NAK assembly", "hmma", "nop", 2, 1, 1 },                      /* halves of 16 x 8 */
    { "GEN Assembly", "dpas", "sync.nop", 1, 1, 2 }, /* blocks of at most 256 bytes */
};

/* A straight piece of a listing. */
typedef struct block {
    int id;
    uint32_t lines, matrices;
    int next[MOST_NEXT]; /* ids */
    uint32_t n_next;
    bool ends; /* does not run into the one behind it */
} block;

static struct {
    const dialect *d;
    block blocks[MOST_BLOCKS];
    uint32_t n;
} code;

static block *last(void)
{
    return &code.blocks[code.n - 1];
}

static void begin_block(int id)
{
    if (CHECK(code.n < MOST_BLOCKS))
        code.blocks[code.n++] = (block) { .id = id };
}

static void goes_to(int id)
{
    if (last()->n_next < MOST_NEXT)
        last()->next[last()->n_next++] = id;
}

static bool is_hint(const char *line)
{
    char words[64], *save = NULL;

    snprintf(words, sizeof(words), "%s", code.d->hints);
    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
        if (strstr(line, w))
            return true;
    return false;
}

static void add_line(const char *line)
{
    last()->lines += !is_hint(line);
    last()->matrices += strstr(line, code.d->matrix) != NULL;
}

/* "BB7:", "\ts_cbranch_scc0 BB7 ; bytes" */
static void read_radv(const char *line)
{
    const char *to = strstr(line, "branch");
    int id;

    if (sscanf(line, "BB%d:", &id) == 1) {
        begin_block(id);
        return;
    }
    if (line[0] != '\t')
        return;
    add_line(line);
    if (to && (to = strstr(to, "BB")) != NULL && sscanf(to, "BB%d", &id) == 1) {
        goes_to(id);
        last()->ends |= strstr(line, "s_branch") != NULL;
    }
}

/* "block.u 7 L10 [6] -> {", lines, "} -> [8, 9]" */
static void read_nak(const char *line)
{
    int id, used;

    if (!strncmp(line, "block", 5)) {
        if (sscanf(line + strcspn(line, " "), " %d", &id) == 1)
            begin_block(id);
        last()->ends = true;
        return;
    }
    if (strncmp(line, "} -> [", 6) != 0) {
        if (line[0] == ' ' || line[0] == '@')
            add_line(line);
        return;
    }
    for (const char *at = line + 6; sscanf(at, "%d%n", &id, &used) == 1; at += used) {
        goes_to(id);
        used += at[used] == ',';
    }
}

/* "L3:", "while (16) L3"; blocks run into each other otherwise, as far as loops go. */
static void read_gen(const char *line)
{
    const char *to = strstr(line, "while");
    int id;

    if (sscanf(line, "L%d:", &id) == 1) {
        begin_block(id);
        return;
    }
    if (!strchr(line, '('))
        return;
    add_line(line);
    if (to && (to = strchr(to, 'L')) != NULL && sscanf(to, "L%d", &id) == 1) {
        goes_to(id);
        begin_block(-(int)code.n);
    }
}

static void read_listing(void *user, const apus_listing *x)
{
    static void (*const read[])(const char *) = { read_radv, read_nak, read_gen };
    const char *line = x->text;

    (void)user;
    for (size_t i = 0; i < APUS_COUNT(dialects); i++) {
        if (strcmp(x->name, dialects[i].listing) != 0)
            continue;
        code.d = &dialects[i];
        code.n = 0;
        begin_block(-1);
        while (*line) {
            const size_t n = strcspn(line, "\n");
            char text[512];

            snprintf(text, sizeof(text), "%.*s", (int)n, line);
            read[i](text);
            line += n + (line[n] == '\n');
        }
    }
}

/* ---- the loop ---- */

static void spread(bool *seen, uint32_t from, bool back)
{
    bool more = true;

    memset(seen, 0, MOST_BLOCKS * sizeof(*seen));
    seen[from] = true;
    while (more) {
        more = false;
        for (uint32_t i = 0; i < code.n; i++)
            for (uint32_t k = 0; k <= code.blocks[i].n_next; k++) {
                const block *b = &code.blocks[i];
                uint32_t to = i + 1; /* the one behind */
                if (k == b->n_next && (b->ends || to == code.n))
                    continue;
                if (k < b->n_next)
                    for (to = 0; to < code.n && code.blocks[to].id != b->next[k]; to++)
                        ;
                if (to == code.n || (back ? !seen[to] || seen[i] : !seen[i] || seen[to]))
                    continue;
                seen[back ? i : to] = more = true;
            }
    }
}

/* Of all blocks that the one with most matrix instructions leads to and that lead to it. */
static block whole_loop(void)
{
    static bool ahead[MOST_BLOCKS], behind[MOST_BLOCKS];
    uint32_t most = 0;
    block all = { 0 };

    for (uint32_t i = 0; i < code.n; i++)
        if (code.blocks[i].matrices > code.blocks[most].matrices)
            most = i;
    spread(ahead, most, false);
    spread(behind, most, true);
    for (uint32_t i = 0; i < code.n; i++)
        if (ahead[i] && behind[i]) {
            all.lines += code.blocks[i].lines;
            all.matrices += code.blocks[i].matrices;
        }
    return all;
}

/* ---- what it should be ---- */

/* Constants of matmul_coop.glsl. */
enum { LOCAL, KIND, B_TYPE, BM, BN, BK, SUB_M, SUB_N, FM, FN, FK };

/* Matrix instructions of a subgroup's share of a chunk. */
static uint32_t matrices_of(const uint32_t *s)
{
    return s[BM] / s[SUB_M] / s[FM] * (s[BN] / s[SUB_N] / s[FN]) * (s[BK] / s[FK]) *
           code.d->matrices;
}

/* The fewest instructions of a turn: the products; fragments from shared memory, each once; the
 * next chunk from memory, 16 bytes a lane, each with an address of two words to advance; the same
 * into shared memory; two barriers; a counter that is advanced, bounded, compared, branched on. */
static uint32_t fewest(const uint32_t *s)
{
    const uint32_t steps = s[BK] / s[FK];
    const uint32_t a = s[BM] / s[SUB_M] / s[FM] * steps * code.d->a_loads;
    const uint32_t b = s[BN] / s[SUB_N] / s[FN] * steps * code.d->b_loads;
    const uint32_t units = (s[BM] + s[BN]) * s[BK] / 8 / s[LOCAL];

    return matrices_of(s) + a + b + units * (1 + 2 + 1) + 2 + 4;
}

/* "loop GPU | N" of budgets.txt, GPU a word of the device's name; UINT32_MAX: it does not know the
 * driver; 0: nor the GPU. */
static uint32_t budget_of(const apus_caps *caps)
{
    char *text = NULL, *save = NULL, word[64];
    size_t bytes = 0;
    uint32_t most = 0, n;
    bool judged = false;

    if (!CHECK_OK(apus_file_read(&text, &bytes, VENDOR_BUDGETS, 1 << 20)))
        return 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        judged |= !strncmp(line, "driver ", 7) && !strcmp(line + 7, caps->driver);
        if (sscanf(line, "loop %63[^| ] | %u", word, &n) == 2 && strstr(caps->name, word))
            most = n;
    }
    apus_free(text);
    return judged ? most : UINT32_MAX;
}

/* The kernel that the device takes for a square product of f16. */
static bool product_kernel(const apus_caps *caps, apus_kernel_key *out)
{
    apus_graph g;
    apus_plan_info info;
    apus_list list = { 0 };
    const uint32_t dims[] = { N, N };

    if (!CHECK_OK(apus_graph_init(&g)))
        return false;
    apus_matmul(&g, apus_graph_bound(&g, "a", APUS_F16, 2, dims, 1u << 28),
                apus_graph_bound(&g, "b", APUS_F16, 2, dims, 2u << 28),
                &(apus_matmul_params) { .kind = APUS_NT, .out = APUS_F16 });
    const bool ok = CHECK_OK(apus_plan_estimate(
                        &info, &list, &g, caps,
                        &(apus_plan_params) { .name = "f16", .narrow = APUS_NARROW_16 })) &&
                    CHECK_EQ_U64(list.n_items, 1);
    if (ok)
        *out = list.items[0].kernel;
    apus_list_release(&list);
    apus_graph_release(&g);
    return ok && CHECK_EQ_STR(out->name, "matmul_coop");
}

TEST(the_loop_of_a_product)
{
    static const uint8_t push[128];
    apus_gpu *gpu = NULL;
    apus_commands *c = NULL;
    apus_kernel_key key;

    setenv("APUS_CACHE_DIR", harness_folder(), 0);
    const apus_gpu_params params = { .statistics = true, .listings = true };
    if (!CHECK_OK(apus_gpu_create(&gpu, &params)))
        return;
    const char *name = apus_gpu_name(gpu);
    if (!apus_kernel_exists("matmul_coop"))
        harness_skip("this build has no kernels for matrix cores: its glslc is too old");
    else if (product_kernel(apus_gpu_caps(gpu), &key) && CHECK_OK(apus_commands_create(gpu, &c)) &&
             CHECK_OK(apus_commands_begin(c)) &&
             CHECK_OK(
                 apus_commands_dispatch(c, &key, push, sizeof(push), (uint32_t[]) { 1, 1, 1 })) &&
             CHECK_OK(apus_commands_end(c)) &&
             CHECK_OK(apus_gpu_kernel_listings(gpu, read_listing, NULL)) && CHECK(code.d != NULL)) {
        const block loop = whole_loop();
        const uint32_t most = budget_of(apus_gpu_caps(gpu)), least = fewest(key.spec);

        printf("    %s: %u instructions, %u of them of matrices; the fewest: %u (%.2f)%s\n", name,
               loop.lines, loop.matrices, least, loop.lines / (double)least,
               most == UINT32_MAX ? ", not judged: budgets.txt does not know the driver" : "");
        CHECK_EQ_U64(loop.matrices, matrices_of(key.spec));
        harness_check(loop.lines <= most, __FILE__, __LINE__,
                      "%s: %u instructions in the loop, %u by budgets.txt", name, loop.lines, most);
        CHECK(loop.lines >= least); /* else the formula or the reading is wrong */
    }
    apus_commands_destroy(&c);
    apus_gpu_destroy(&gpu);
}
