/* choices.c - which algorithm is chosen for every node of everyday work on every recorded device.
 *
 * The plans of plans.c are built as the product builds them, on whatever device there is, but the
 * device is said to be the recorded one: this program is linked with apus_gpu_caps and
 * apus_plan_create wrapped (ld --wrap), and a plan is lowered and checked without being recorded.
 * What came out is compared with tests/fixtures/caps/choices.txt, a table to be reviewed;
 * VENDOR_ACCEPT=1 writes it anew. */
#include <stdio.h>
#include <stdlib.h>

#include "caps_json.h"
#include "file.h"
#include "harness.h"
#include "op.h"
#include "plans.h"
#include "str.h"
#include "synthetic.h"

#define MOST_ROWS 8192
#define MOST_DEVICES 64

const apus_caps *__real_apus_gpu_caps(const apus_gpu *gpu);
const apus_caps *__wrap_apus_gpu_caps(const apus_gpu *gpu);
apus_status __wrap_apus_plan_create(apus_plan **out, apus_exec *exec, apus_graph *g,
                                    const apus_plan_params *params);

static const apus_caps *pretended; /* NULL: the real device's */

/* One choice: for this problem, this device takes this. */
typedef struct choice {
    char problem[128], taken[160];
    uint32_t device;
} choice;

static struct {
    choice all[MOST_ROWS];
    uint32_t n, device;
    char names[MOST_DEVICES][32];
    uint32_t n_names;
} table;

static void note(const char *problem, const char *taken)
{
    choice c = { .device = table.device };

    snprintf(c.problem, sizeof(c.problem), "%s", problem);
    snprintf(c.taken, sizeof(c.taken), "%s", taken);
    for (uint32_t i = 0; i < table.n; i++)
        if (table.all[i].device == c.device && !strcmp(table.all[i].problem, c.problem) &&
            !strcmp(table.all[i].taken, c.taken))
            return;
    if (CHECK(table.n < MOST_ROWS))
        table.all[table.n++] = c;
}

/* Lines "problem: variant" of the operators that choose. */
static void note_choices(const char *choices, apus_narrow narrow)
{
    char line[200], problem[128];

    while (*choices) {
        const size_t n = strcspn(choices, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)n, choices);
        choices += n + (choices[n] == '\n');
        char *colon = strrchr(line, ':');
        if (!CHECK(colon != NULL))
            return;
        *colon = '\0';
        snprintf(problem, sizeof(problem), "%.110s%s", line,
                 narrow != APUS_NARROW_NOT ? ", 16 bits allowed" : "");
        note(problem, colon + 1 + (colon[1] == ' '));
    }
}

/* The kernels of the other operators, with their constants. */
static void note_kernels(const apus_list *list, const char *choices)
{
    for (uint32_t i = 0; i < list->n_items; i++) {
        const apus_item *item = &list->items[i];
        char op[64], taken[160];
        if (item->kind != APUS_ITEM_DISPATCH)
            continue;
        snprintf(op, sizeof(op), "%s ", item->node->op->name);
        if (strstr(choices, op))
            continue;
        int at = snprintf(taken, sizeof(taken), "%s", item->kernel.name);
        for (uint32_t k = 0; k < item->kernel.n_spec && at < 140; k++)
            at += snprintf(taken + at, sizeof(taken) - (size_t)at, " %u", item->kernel.spec[k]);
        note(item->node->op->name, taken);
    }
}

const apus_caps *__wrap_apus_gpu_caps(const apus_gpu *gpu)
{
    return pretended ? pretended : __real_apus_gpu_caps(gpu);
}

apus_status __wrap_apus_plan_create(apus_plan **out, apus_exec *exec, apus_graph *g,
                                    const apus_plan_params *params)
{
    apus_plan_info info;
    apus_list list = { 0 };

    (void)exec;
    *out = NULL;
    APUS_FORWARD(apus_plan_estimate(&info, &list, g, pretended, params));
    note_choices(info.choices, params->narrow);
    note_kernels(&list, info.choices);
    apus_list_release(&list);
    /* The update's plan is made with the training step, which goes on without it. */
    return strcmp(params->name, "update") ? APUS_ERR_CANCELLED : APUS_OK;
}

static const struct {
    const synthetic_shape *shape;
    bool gguf;
    apus_model_params params;
    unsigned which;
} work[] = {
    { &synthetic_smollm2, true, { .torch_dtype = "float32" }, PLANS_INFER | PLANS_LORA },
    { &synthetic_smollm2, true, { .torch_dtype = "float16" }, PLANS_INFER | PLANS_LORA },
    { &synthetic_smollm2, false, { .torch_dtype = NULL }, PLANS_INFER | PLANS_LORA },
    { &synthetic_smollm2, false, { .torch_dtype = "bfloat16" }, PLANS_INFER | PLANS_LORA },
    { &synthetic_smollm2, false, { .torch_dtype = "float32", .train_all = true }, PLANS_FULL },
    { &synthetic_smollm2, false, { .torch_dtype = "bfloat16", .train_all = true }, PLANS_FULL },
    { &synthetic_qwen2, false, { .torch_dtype = NULL }, PLANS_INFER | PLANS_LORA },
    { &synthetic_qwen3, false, { .torch_dtype = NULL }, PLANS_INFER | PLANS_LORA },
};

/* Run one kind of work as if on each recorded device. */
static bool run_work(size_t i, const apus_caps *caps, uint32_t n)
{
    char path[512];
    apus_model *model = NULL;
    const apus_status st = work[i].gguf ? synthetic_gguf(work[i].shape, harness_folder(), path)
                                        : synthetic_folder(work[i].shape, harness_folder(), path);

    if (!CHECK_OK(st))
        return false;
    apus_model_params params = work[i].params;
    params.count_only = true; /* nothing is loaded */
    const apus_status opened = apus_model_open(&model, path, &params);
    if (opened == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return false;
    }
    if (!CHECK_OK(opened))
        return false;
    bool ok = true;
    for (table.device = 0; ok && table.device < n; table.device++) {
        pretended = &caps[table.device];
        ok = harness_check(plans_make(model, work[i].which) == APUS_OK, __FILE__, __LINE__,
                           "%s: %s", table.names[table.device], apus_error_text());
    }
    pretended = NULL;
    apus_model_close(&model);
    return ok;
}

static int by_problem(const void *a, const void *b)
{
    const choice *x = a, *y = b;
    int order = strcmp(x->problem, y->problem);

    order = order ? order : strcmp(x->taken, y->taken);
    return order ? order : x->device < y->device ? -1 : x->device > y->device;
}

/* A line a problem, below it one for each choice with the devices that make it. */
static void print_table(apus_str *out)
{
    apus_str_add(out, "The algorithm that each device takes for each problem (choices.c).\n");
    for (uint32_t i = 0; i < table.n; i++) {
        const choice *c = &table.all[i], *before = i ? c - 1 : NULL;
        const bool same = before && !strcmp(before->problem, c->problem);

        if (!same)
            apus_str_addf(out, "\n\n%s", c->problem);
        if (!same || strcmp(before->taken, c->taken))
            apus_str_addf(out, "\n    %s:", c->taken);
        apus_str_addf(out, " %s", table.names[c->device]);
    }
    apus_str_add(out, "\n");
}

static void compare(const apus_str *got)
{
    const char *path = harness_fixture("caps/choices.txt"), *accept = getenv("VENDOR_ACCEPT");
    char *want = NULL;
    size_t bytes = 0;

    if (accept && accept[0] == '1') {
        CHECK_OK(apus_file_write(path, got->data, got->len));
        return;
    }
    CHECK_OK(apus_file_write(VENDOR_OUT "/choices.txt", got->data, got->len));
    if (!CHECK_OK(apus_file_read(&want, &bytes, path, 1 << 24)))
        return;
    harness_check(!strcmp(want, got->data), __FILE__, __LINE__,
                  "the choices are others than recorded: look at the differences (diff %s %s), and "
                  "take them over with VENDOR_ACCEPT=1 if they are wanted",
                  path, VENDOR_OUT "/choices.txt");
    apus_free(want);
}

static bool caps_of(apus_caps *caps, const char *path)
{
    cJSON *json = NULL;
    const bool ok =
        CHECK_OK(apus_json_read(&json, path)) && CHECK_OK(apus_caps_from_json(caps, json, path));

    cJSON_Delete(json);
    return ok;
}

TEST(choices_are_the_reviewed_ones)
{
    static apus_caps caps[MOST_DEVICES];
    char **names = NULL, path[600];
    size_t n_names = 0;
    apus_str got = { 0 };
    bool ok = CHECK_OK(apus_dir_list(&names, &n_names, VENDOR_CLASSES));

    if (!apus_kernel_exists("matmul_coop") || !apus_kernel_exists("matmul_coop_bf16")) {
        harness_skip("this build lacks the cooperative-matrix shaders (its glslc is too old)");
        ok = false;
    }
    setenv("APUS_CACHE_DIR", harness_folder(), 0);
    for (size_t i = 0; i < n_names; i++) {
        const size_t n = strlen(names[i]);
        if (ok && n > 5 && !strcmp(names[i] + n - 5, ".json") && table.n_names < MOST_DEVICES) {
            snprintf(table.names[table.n_names], sizeof(table.names[0]), "%.*s", (int)(n - 5),
                     names[i]);
            snprintf(path, sizeof(path), "%s/%s", VENDOR_CLASSES, names[i]);
            ok = caps_of(&caps[table.n_names++], path);
        }
        apus_free(names[i]);
    }
    apus_free(names);
    ok = ok && CHECK(table.n_names >= 16);
    for (size_t i = 0; ok && i < APUS_COUNT(work); i++)
        ok = run_work(i, caps, table.n_names);
    if (!ok)
        return;
    qsort(table.all, table.n, sizeof(table.all[0]), by_problem);
    print_table(&got);
    if (CHECK(!got.failed))
        compare(&got);
    apus_str_release(&got);
}
