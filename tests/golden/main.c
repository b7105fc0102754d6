/* main.c - apus-golden FOLDER: runs recorded cases of a reference implementation through the
 * engine.
 *
 * FOLDER is a case, or a folder of cases: those that its index.json lists, else every folder below
 * it that has a manifest.json.  Exit code: 0 no check failed, 1 one did, 2 the arguments are wrong,
 * 77 nothing could be run. */
#include <stdio.h>

#include "file.h"
#include "golden.h"
#include "gpu.h"

#define DEPTH 4

static const char usage[] =
    "usage: apus-golden FOLDER [--strict] [--only NAME] [--json FILE] [--force OP:VARIANT[,...]]\n"
    "                   [--torch_dtype float32|float16|bfloat16] [--as CAPS.json] [--narrow]\n"
    "                   [--algorithms]\n"
    "  --strict       what is not supported counts as failed\n"
    "  --only NAME    the case NAME, or the cases in the folder NAME (\"tokenizers\")\n"
    "  --json FILE    every check, as JSON\n"
    "  --force ...    algorithms to force, of the list that --algorithms prints\n"
    "  --torch_dtype  format of the computation; float32 if not given\n"
    "  --as FILE      algorithms as the GPU whose recorded caps FILE holds would take them\n"
    "  --narrow       algorithms that round their inputs may be chosen, all else in torch_dtype\n";

typedef struct algorithm {
    const char *name;
    golden_kind kind;
} algorithm;

static const algorithm algorithms[] = {
#define ALGORITHM(op, variant, kind) { #op ":" #variant, GOLDEN_##kind },
#include "algorithms.def"
#undef ALGORITHM
};

static const struct {
    const char *type;
    void (*run)(golden_case *c);
    bool device;
} kinds[] = {
    { "text", golden_model_case, true },
    { "optimizer", golden_optim_case, true },
    { "sampling", golden_sampling_case, true },
    { "tokenizer", golden_tokenizer_case, false },
};

/* A kind that is not there yet; where it has a model, in the words of the engine. */
static void not_yet(golden_case *c)
{
    apus_model *model = NULL;
    char reason[128], *path = golden_path(c, "model");
    const bool has_model = path && apus_path_exists(path);
    apus_status st = APUS_OK;

    if (has_model)
        st = apus_model_open(&model, path, &(apus_model_params) { .no_device = true });
    snprintf(reason, sizeof(reason), "cases of kind \"%s\" are not supported yet", c->type);
    golden_unsupported(c, "all", st == APUS_ERR_SUPPORT ? apus_error_text() : reason);
    apus_model_close(&model);
    apus_free(path);
}

/* Whether `only` is the case's name or a folder that it lies in. */
static bool asked_for(const char *only, const char *name)
{
    const size_t n = strlen(only);

    return !strncmp(name, only, n) && (!name[n] || name[n] == '/');
}

static void run_case(golden *run, const char *name, const char *folder)
{
    golden_case c = { .run = run, .name = name, .folder = folder, .type = "" };

    if (run->only && !asked_for(run->only, name))
        return;
    run->cases++;
    if (!golden_ok(&c, "manifest", golden_json(&c, "manifest.json", &c.manifest)))
        return;
    c.type = apus_json_string(c.manifest, "kind", "");
    for (size_t i = 0; i < APUS_COUNT(kinds); i++) {
        if (strcmp(kinds[i].type, c.type))
            continue;
        if (kinds[i].device && run->no_device)
            golden_unsupported(&c, "all", run->no_device);
        else
            kinds[i].run(&c);
        cJSON_Delete(c.manifest);
        return;
    }
    not_yet(&c);
    cJSON_Delete(c.manifest);
}

static bool has(const char *folder, const char *name)
{
    char *path = apus_path_join(folder, name);
    const bool yes = path && apus_path_exists(path);

    apus_free(path);
    return yes;
}

static apus_status walk(golden *run, const char *folder, const char *name, int depth)
{
    char **names = NULL;
    size_t n = 0;
    apus_status st;

    if (has(folder, "manifest.json")) {
        run_case(run, name[0] ? name : apus_path_base(folder), folder);
        return APUS_OK;
    }
    if (depth == 0)
        return APUS_OK;
    st = apus_dir_list(&names, &n, folder);
    for (size_t i = 0; i < n; i++) {
        char *path = apus_path_join(folder, names[i]);
        char *below = apus_format("%s%s%s", name, name[0] ? "/" : "", names[i]);
        if (st == APUS_OK && path && below && apus_path_is_dir(path))
            st = walk(run, path, below, depth - 1);
        apus_free(path);
        apus_free(below);
        apus_free(names[i]);
    }
    apus_free(names);
    return st;
}

static apus_status run_index(golden *run, const char *folder)
{
    cJSON *index = NULL;
    const cJSON *row;
    char *path = apus_path_join(folder, "index.json");
    apus_status st = path ? apus_json_read(&index, path) : APUS_ERR_MEMORY;

    cJSON_ArrayForEach(row, apus_json_get(index, "cases"))
    {
        const char *name = apus_json_string(row, "path", "");
        char *at = apus_path_join(folder, name);
        if (at)
            run_case(run, name, at);
        apus_free(at);
    }
    cJSON_Delete(index);
    apus_free(path);
    return st;
}

/* Every part of --force must be in the table: it decides which tolerances hold. */
static bool read_force(golden *run)
{
    for (const char *p = run->force; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        const size_t n = strcspn(p, ",");
        size_t i = 0;
        while (i < APUS_COUNT(algorithms) &&
               (strlen(algorithms[i].name) != n || strncmp(algorithms[i].name, p, n)))
            i++;
        if (i == APUS_COUNT(algorithms)) {
            fprintf(stderr, "apus-golden: %.*s is not in algorithms.def\n", (int)n, p);
            return false;
        }
        if (algorithms[i].kind > run->kind)
            run->kind = algorithms[i].kind;
    }
    if ((run->narrow || !strcmp(run->torch_dtype, "float16")) && run->kind < GOLDEN_F16)
        run->kind = GOLDEN_F16;
    if (!strcmp(run->torch_dtype, "bfloat16"))
        run->kind = GOLDEN_BF16;
    return true;
}

static bool read_arguments(golden *run, int argc, char **argv, const char **folder,
                           const char **json)
{
    const struct {
        const char *name, **to;
    } options[] = {
        { "--only", &run->only },
        { "--force", &run->force },
        { "--torch_dtype", &run->torch_dtype },
        { "--json", json },
        { "--as", &run->as },
    };

    for (int i = 1; i < argc; i++) {
        size_t k = 0;
        while (k < APUS_COUNT(options) && strcmp(argv[i], options[k].name))
            k++;
        if (k < APUS_COUNT(options) && i + 1 < argc)
            *options[k].to = argv[++i];
        else if (!strcmp(argv[i], "--strict"))
            run->strict = true;
        else if (!strcmp(argv[i], "--narrow"))
            run->narrow = true;
        else if (argv[i][0] != '-' && !*folder)
            *folder = argv[i];
        else
            return false;
    }
    return *folder && read_force(run);
}

static void print_log(void *user, apus_log_level level, const char *line)
{
    (void)user;
    fprintf(stderr, "  %s: %s\n", level == APUS_LOG_ERROR ? "error" : "warn", line);
}

/* Is there a device?  Cases that need one are skipped where there is none. */
static void look_for_device(golden *run)
{
    apus_gpu *gpu = NULL;
    const apus_status st = apus_gpu_create(&gpu, &(apus_gpu_params) { 0 });

    if (st == APUS_ERR_MISSING)
        run->no_device = apus_strdup(apus_error_text());
    else if (st == APUS_OK)
        printf("device: %s\n", apus_gpu_name(gpu));
    apus_gpu_destroy(&gpu);
}

int main(int argc, char **argv)
{
    golden run = { .torch_dtype = "float32" };
    const char *folder = NULL, *json = NULL;
    cJSON *caps = NULL;
    apus_status st = APUS_OK;

    if (argc == 2 && !strcmp(argv[1], "--algorithms")) {
        for (size_t i = 0; i < APUS_COUNT(algorithms); i++)
            printf("%s\n", algorithms[i].name);
        return 0;
    }
    if (!read_arguments(&run, argc, argv, &folder, &json)) {
        fputs(usage, stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    apus_log_set(print_log, NULL, APUS_LOG_WARN);
    run.rows = json ? cJSON_CreateArray() : NULL;
    look_for_device(&run);
    if (run.as)
        st = apus_json_read(&caps, run.as);
    if (st == APUS_OK)
        st = golden_as(caps);
    if (st == APUS_OK)
        st = has(folder, "index.json") ? run_index(&run, folder) : walk(&run, folder, "", DEPTH);
    if (st == APUS_OK && run.only && run.cases == 0)
        st = apus_fail(APUS_ERR_MISSING, "%s: no case is called '%s'", folder, run.only);
    if (st == APUS_OK && json)
        st = golden_write_json(&run, json);
    if (st != APUS_OK)
        fprintf(stderr, "apus-golden: %s\n", apus_error_text());
    if (run.temporary[0])
        apus_path_remove(run.temporary);
    cJSON_Delete(run.rows);
    golden_as(NULL);
    cJSON_Delete(caps);
    printf("%u passed, %u failed, %u skipped\n", run.passed, run.failed, run.skipped);
    if (st != APUS_OK || run.failed)
        return 1;
    return run.passed ? 0 : 77;
}
