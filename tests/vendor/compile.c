/* compile.c - every kernel of everyday work, in its default choice, compiled by the driver of one
 * GPU.  What the compiler says of each is printed; registers that spill to memory are a failure of
 * the choice unless budgets.txt allows them.
 *
 * The model files have the shapes of real models and weights of zero, so that the test needs no
 * data; nothing has to run, so the GPU need not be there. */
#include <stdio.h>

#include "file.h"
#include "harness.h"
#include "plans.h"
#include "synthetic.h"

#define MOST_KERNELS 512

/* What drivers call the numbers that matter here. */
typedef enum number { REGISTERS, SPILLS, SCRATCH, CODE, N_NUMBERS } number;
static const char *const number_names[] = { "registers", "spills", "scratch", "code" };
static const struct {
    const char *name;
    number to;
} known[] = {
    /* RADV */
    { "VGPRs", REGISTERS },
    { "Spilled SGPRs", SPILLS },
    { "Spilled VGPRs", SPILLS },
    { "Scratch size", SCRATCH },
    { "Code size", CODE }, /* of all */
    /* NVK */
    { "Number of GPRs", REGISTERS },
    { "Spills to memory", SPILLS },
    { "SLM size", SCRATCH },
    /* ANV */
    { "Max live registers", REGISTERS },
    { "Spills", SPILLS },
    { "Scratch Memory Size", SCRATCH },
};

typedef struct kernel {
    char text[160]; /* "matmul_tile 256 1 5 64 64 16 4 4" */
    double numbers[N_NUMBERS];
    uint32_t seen; /* bit: the driver gives this number */
} kernel;

static struct {
    kernel kernels[MOST_KERNELS];
    uint32_t n;
    kernel *now;
    char driver[320], gpu[256];
} report;

static void describe(const apus_kernel_key *key, char *text, size_t room)
{
    size_t at = (size_t)snprintf(text, room, "%s", key->name);

    for (uint32_t i = 0; i < key->n_spec && at + 12 < room; i++)
        at += (size_t)snprintf(text + at, room - at, " %u", key->spec[i]);
}

static kernel *find(const char *text)
{
    for (uint32_t i = 0; i < report.n; i++)
        if (!strcmp(report.kernels[i].text, text))
            return &report.kernels[i];
    if (!CHECK(report.n < MOST_KERNELS))
        return &report.kernels[0];
    return &report.kernels[report.n++];
}

static void add(void *user, const apus_statistic *s)
{
    (void)user;
    if (s->index == 0) {
        char text[160];

        describe(s->kernel, text, sizeof(text));
        report.now = find(text);
        *report.now = (kernel) { 0 };
        memcpy(report.now->text, text, sizeof(text));
    }
    for (size_t i = 0; i < APUS_COUNT(known); i++)
        if (!strcmp(known[i].name, s->name)) {
            report.now->numbers[known[i].to] += s->value;
            report.now->seen |= 1u << known[i].to;
        }
}

static void collect(const char *path, const apus_model_params *params, unsigned which)
{
    apus_model *model = NULL;

    if (CHECK_OK(apus_model_open(&model, path, params)) && CHECK_OK(plans_make(model, which))) {
        const apus_caps *caps = apus_gpu_caps(model->gpu);
        memcpy(report.driver, caps->driver, sizeof(report.driver));
        memcpy(report.gpu, caps->name, sizeof(report.gpu));
        CHECK_OK(apus_gpu_kernel_statistics(model->gpu, add, NULL));
    }
    apus_model_close(&model);
}

/* Formats and types that people run: q4_1 and q8_0 in both arithmetics, bf16, all in f32. */
static void collect_all(void)
{
    const unsigned most = PLANS_INFER | PLANS_LORA;
    char path[512];

    if (CHECK_OK(synthetic_gguf(&synthetic_smollm2, harness_folder(), path))) {
        collect(path, &(apus_model_params) { .torch_dtype = "float32" }, most);
        collect(path, &(apus_model_params) { .torch_dtype = "float16" }, most);
    }
    if (CHECK_OK(synthetic_folder(&synthetic_smollm2, harness_folder(), path))) {
        collect(path, &(apus_model_params) { 0 }, most);
        collect(path, &(apus_model_params) { .torch_dtype = "float32", .train_all = true },
                PLANS_FULL);
    }
    if (CHECK_OK(synthetic_folder(&synthetic_qwen2, harness_folder(), path)))
        collect(path, &(apus_model_params) { 0 }, most);
}

/* ---- budgets ---- */

static bool starts(const char *line, const char *with, const char **rest)
{
    const size_t n = strlen(with);

    *rest = line + n;
    return strncmp(line, with, n) == 0;
}

/* How many spills budgets.txt allows the kernel; *judged is set when it knows the driver at all. */
static double allowed(char *text, const kernel *k, bool *judged)
{
    char *save = NULL, gpu[64], name[160];
    const char *rest;
    double most = 0, spills;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (starts(line, "driver ", &rest) && !strcmp(rest, report.driver))
            *judged = true;
        if (starts(line, "allow ", &rest) &&
            sscanf(rest, "%63[^|]| %159[^|]| %lf", gpu, name, &spills) == 3) {
            gpu[strcspn(gpu, " ")] = '\0';
            for (size_t n = strlen(name); n > 0 && name[n - 1] == ' '; n--)
                name[n - 1] = '\0';
            if (strstr(report.gpu, gpu) && !strcmp(name, k->text))
                most = spills;
        }
    }
    return most;
}

static void judge(const kernel *k)
{
    char *text = NULL;
    size_t bytes = 0;
    bool judged = false;

    if (!CHECK_OK(apus_file_read(&text, &bytes, VENDOR_BUDGETS, 1 << 20)))
        return;
    const double most = allowed(text, k, &judged);
    apus_free(text);
    const bool fits = k->numbers[SPILLS] <= most;
    const bool scratch = k->numbers[SCRATCH] > 0 && most == 0;
    if (judged)
        harness_check(fits && !scratch, __FILE__, __LINE__,
                      "%s spills on %s: %g spills (%g allowed), %g bytes of scratch", k->text,
                      report.gpu, k->numbers[SPILLS], most, k->numbers[SCRATCH]);
    else if (!fits || scratch)
        printf("not judged (budgets.txt does not know driver %s): %s spills\n", report.driver,
               k->text);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const kernel *)a)->text, ((const kernel *)b)->text);
}

TEST(default_choices_do_not_spill)
{
    setenv("APUS_STATISTICS", "1", 1);
    setenv("APUS_CACHE_DIR", harness_folder(), 0);
    collect_all();
    if (report.n == 0) {
        harness_skip("%s (%s) gives no statistics", report.gpu, report.driver);
        return;
    }
    qsort(report.kernels, report.n, sizeof(report.kernels[0]), by_text);
    printf("%s (%s): %u kernels\n", report.gpu, report.driver, report.n);
    for (uint32_t i = 0; i < report.n; i++) {
        const kernel *k = &report.kernels[i];
        printf("  %-52s", k->text);
        for (int n = 0; n < N_NUMBERS; n++)
            if (k->seen & 1u << n)
                printf(" %s %g", number_names[n], k->numbers[n]);
        printf("\n");
    }
    for (uint32_t i = 0; i < report.n; i++) {
        /* A test that sees no spills because the driver renamed them would see none ever. */
        CHECK(report.kernels[i].seen & 1u << SPILLS);
        judge(&report.kernels[i]);
    }
}
