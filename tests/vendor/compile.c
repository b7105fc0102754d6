/* compile.c - kernels compiled by the driver of one GPU: those of everyday work; or all shaders, in
 * the default choices for all shapes and in every algorithm that can be forced.  What the compiler
 * says of each is printed; registers that spill to memory are a failure of a default choice unless
 * budgets.txt allows them.
 *
 * The model files have the shapes of real models and weights of zero, so that the test needs no
 * data; nothing has to run, so the GPU need not be there. */
#include <stdio.h>

#include "file.h"
#include "harness.h"
#include "kernels.h"
#include "op.h"
#include "plans.h"
#include "shaders.h"
#include "synthetic.h"

#define MOST_KERNELS 8192

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
    bool forced;   /* no default choice */
} kernel;

static struct {
    kernel kernels[MOST_KERNELS];
    uint32_t n;
    kernel *now; /* NULL: known already */
    bool forced; /* what is added now is no default choice */
    apus_caps caps;
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
    return NULL;
}

static kernel *new_kernel(const char *text)
{
    if (!CHECK(report.n < MOST_KERNELS))
        return NULL;
    kernel *k = &report.kernels[report.n++];
    *k = (kernel) { .forced = report.forced };
    memcpy(k->text, text, sizeof(k->text));
    return k;
}

static void add(void *user, const apus_statistic *s)
{
    (void)user;
    if (s->index == 0) {
        char text[160] = "";

        describe(s->kernel, text, sizeof(text));
        report.now = find(text) ? NULL : new_kernel(text);
    }
    for (size_t i = 0; report.now && i < APUS_COUNT(known); i++)
        if (!strcmp(known[i].name, s->name)) {
            report.now->numbers[known[i].to] += s->value;
            report.now->seen |= 1u << known[i].to;
        }
}

static void add_all(apus_gpu *gpu)
{
    report.caps = *apus_gpu_caps(gpu);
    CHECK_OK(apus_gpu_kernel_statistics(gpu, add, NULL));
}

/* ---- what is compiled ---- */

static void collect(const char *path, const apus_model_params *params, unsigned which)
{
    apus_model *model = NULL;

    if (CHECK_OK(apus_model_open(&model, path, params)) && CHECK_OK(plans_make(model, which)))
        add_all(model->gpu);
    apus_model_close(&model);
}

/* Formats and types that people run: q4_1 and q8_0 in both arithmetics, bf16, all in f32. */
static void collect_everyday(void)
{
    const unsigned most = PLANS_INFER | PLANS_ADAPTED | PLANS_LORA;
    char path[512];

    if (CHECK_OK(synthetic_gguf(&synthetic_smollm2, harness_folder(), path))) {
        collect(path, &(apus_model_params) { .torch_dtype = "float32" }, most);
        collect(path, &(apus_model_params) { .torch_dtype = "float16" }, most);
    }
    if (CHECK_OK(synthetic_folder(&synthetic_smollm2, harness_folder(), path))) {
        collect(path, &(apus_model_params) { 0 }, most);
        collect(path, &(apus_model_params) { .torch_dtype = "float32", .train_all = true },
                PLANS_FULL);
        collect(path, &(apus_model_params) { .torch_dtype = "bfloat16", .train_all = true },
                PLANS_FULL);
    }
    if (CHECK_OK(synthetic_folder(&synthetic_qwen2, harness_folder(), path)))
        collect(path, &(apus_model_params) { 0 }, most);
}

/* A device with a list of commands that makes kernels by recording them and is never submitted. */
typedef struct workshop {
    apus_gpu *gpu;
    apus_commands *commands;
    uint32_t failed;
} workshop;

static void compile(void *user, const apus_kernel_key *key)
{
    static const uint8_t push[128];
    workshop *w = user;
    char text[160];

    if (apus_commands_dispatch(w->commands, key, push, sizeof(push), (uint32_t[]) { 1, 1, 1 }) ==
            APUS_OK ||
        w->failed++ > 8) /* enough is said */
        return;
    describe(key, text, sizeof(text));
    harness_check(false, __FILE__, __LINE__, "%s: %s", text, apus_error_text());
}

/* Call `fill` with an open workshop, and add the kernels that it makes. */
static void with_workshop(void fill(workshop *w))
{
    workshop w = { 0 };

    if (CHECK_OK(apus_gpu_create(&w.gpu, &(apus_gpu_params) { .statistics = true })) &&
        CHECK_OK(apus_commands_create(w.gpu, &w.commands)) &&
        CHECK_OK(apus_commands_begin(w.commands))) {
        fill(&w);
        CHECK_OK(apus_commands_end(w.commands));
        add_all(w.gpu);
    }
    apus_commands_destroy(&w.commands);
    apus_gpu_destroy(&w.gpu);
}

static void compile_shapes(workshop *w)
{
    for (apus_narrow narrow = APUS_NARROW_NOT; narrow <= APUS_NARROW_16; narrow++)
        CHECK_OK(kernels_each(apus_gpu_caps(w->gpu),
                              &(apus_plan_params) { .name = "shapes", .narrow = narrow }, compile,
                              w));
    /* What no plan holds: the self-test and the measuring of peaks. */
    compile(w, &(apus_kernel_key) { .name = "probe", .n_spec = 1, .spec = { 64 } });
    compile(w, &(apus_kernel_key) { .name = "peak", .n_spec = 1, .spec = { 64 } });
}

static void force_one(void *user, const apus_algorithm *a)
{
    workshop *w = user;
    char force[160];

    snprintf(force, sizeof(force), "%s:%s", a->op, a->variant);
    if (a->fits && a->built)
        CHECK_OK(kernels_each(
            apus_gpu_caps(w->gpu),
            &(apus_plan_params) { .name = force, .narrow = APUS_NARROW_16, .force = force },
            compile, w));
}

static void compile_forced(workshop *w)
{
    apus_algorithms_each(apus_gpu_caps(w->gpu), "", force_one, w);
}

/* Why the device cannot run a shader; NULL: it can. */
static const char *refusal(const apus_caps *caps, const char *name)
{
    if (strstr(name, "_coop_bf16"))
        return apus_caps_coop(caps, APUS_BF16) ? NULL : "the device has no matrices of bf16";
    if (strstr(name, "_coop"))
        return apus_caps_coop(caps, APUS_F16) ? NULL : "the device has no matrices of f16";
    if (!strcmp(name, "matmul_int8") && !caps->int8_dot)
        return "the device has no products of bytes";
    if (!strcmp(name, "matmul_dot_cpu") || !strcmp(name, "matmul_row_cpu"))
        return caps->subgroup > 16 ? "the device's subgroups have more than 16 lanes"
               : !caps->small_ints ? "the device has no integers of 8 and 16 bits"
                                   : NULL;
    return NULL;
}

/* Every module of the build was compiled, but for what the device cannot run. */
static void check_modules(void)
{
    for (size_t i = 0; i < apus_n_shaders; i++) {
        const char *name = apus_shaders[i].name, *why = refusal(&report.caps, name);
        const size_t n = strlen(name);
        bool found = false;

        for (uint32_t k = 0; k < report.n && !found; k++)
            found = !strncmp(report.kernels[k].text, name, n) && report.kernels[k].text[n] == ' ';
        if (why)
            printf("refused: %s: %s\n", name, why);
        harness_check(found == !why, __FILE__, __LINE__, "the shader %s was %scompiled", name,
                      found ? "" : "not ");
    }
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
        if (starts(line, "driver ", &rest) && !strcmp(rest, report.caps.driver))
            *judged = true;
        if (starts(line, "allow ", &rest) &&
            sscanf(rest, "%63[^|]| %159[^|]| %lf", gpu, name, &spills) == 3) {
            gpu[strcspn(gpu, " ")] = '\0';
            for (size_t n = strlen(name); n > 0 && name[n - 1] == ' '; n--)
                name[n - 1] = '\0';
            if (strstr(report.caps.name, gpu) && !strcmp(name, k->text))
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
                      report.caps.name, k->numbers[SPILLS], most, k->numbers[SCRATCH]);
    else if (!fits || scratch)
        printf("not judged (budgets.txt does not know driver %s): %s spills\n", report.caps.driver,
               k->text);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const kernel *)a)->text, ((const kernel *)b)->text);
}

static void print_report(void)
{
    qsort(report.kernels, report.n, sizeof(report.kernels[0]), by_text);
    printf("%s (%s): %u kernels\n", report.caps.name, report.caps.driver, report.n);
    for (uint32_t i = 0; i < report.n; i++) {
        const kernel *k = &report.kernels[i];
        printf("  %-52s", k->text);
        for (int n = 0; n < N_NUMBERS; n++)
            if (k->seen & 1u << n)
                printf(" %s %g", number_names[n], k->numbers[n]);
        printf("%s\n", k->forced ? " (only where it is forced)" : "");
    }
}

static void judge_all(void)
{
    if (report.n == 0) {
        harness_skip("%s (%s) gives no statistics", report.caps.name, report.caps.driver);
        return;
    }
    print_report();
    for (uint32_t i = 0; i < report.n; i++) {
        /* A test that sees no spills because the driver renamed them would see none ever. */
        CHECK(report.kernels[i].seen & 1u << SPILLS);
        if (!report.kernels[i].forced)
            judge(&report.kernels[i]);
    }
}

static void begin(void)
{
    report.n = 0;
    report.forced = false;
    setenv("APUS_STATISTICS", "1", 1);
    setenv("APUS_CACHE_DIR", harness_folder(), 0);
    collect_everyday();
}

TEST(everyday_choices_do_not_spill)
{
    begin();
    judge_all();
}

TEST(every_shader_compiles_and_no_default_spills)
{
    char path[512];

    begin();
    if (CHECK_OK(synthetic_folder(&synthetic_qwen3, harness_folder(), path)))
        collect(path, &(apus_model_params) { 0 }, PLANS_INFER | PLANS_LORA);
    with_workshop(compile_shapes);
    report.forced = true;
    with_workshop(compile_forced);
    if (report.n > 0)
        check_modules();
    judge_all();
}
