/* tune.c - `apus tune` as a user runs it: a file is written, other runs choose by it, a file that
 * is named and cannot be used is said. */
#include "json.h"
#include "place.h"

#define TUNE "tune -m m -p 0 --train 0 "

/* Operators apart: of a fused product not every algorithm can do the work. */
#define APART "APUS_FUSE=0"

/* The hash of the choices of `apus bench`, freed by the caller. */
static char *choices(const char *folder, const char *env)
{
    child c;
    cJSON *rows = NULL;
    char *hash = NULL;

    if (!run_with(&c, "bench -m m -p 0 -n 1 -r 1 -o json",
                  &(child_params) { .folder = folder, .env = { APART, env } }))
        return NULL;
    if (CHECK_EQ_U64(c.code, 0) && CHECK_OK(apus_json_parse(&rows, c.out, strlen(c.out), "bench")))
        hash = apus_strdup(apus_json_string(cJSON_GetArrayItem(rows, 0), "choices", ""));
    cJSON_Delete(rows);
    child_release(&c);
    return hash;
}

/* Every row of a file gets an algorithm that nobody would choose, and the file its hash from what
 * is said of it. */
static bool prefer_others(const char *folder)
{
    char *path = apus_path_join(folder, "r.json");
    cJSON *json = NULL, *row;
    child c;

    bool ok = CHECK_OK(apus_json_read(&json, path));
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(json, "rows"))
    {
        const bool product = !strncmp(apus_json_string(row, "problem", ""), "matmul", 6);

        cJSON_ReplaceItemInObjectCaseSensitive(row, "choice",
                                               cJSON_CreateString(product ? "plain" : "split"));
    }
    apus_json_begin();
    ok = ok && CHECK_OK(apus_json_write(json, folder, "r.json"));
    cJSON_Delete(json);
    apus_free(path);
    if (!ok || !run_with(&c, "bench -m m -p 0 -n 1 -r 1",
                         &(child_params) { .folder = folder, .env = { "APUS_TUNE=r.json" } }))
        return false;
    /* "… the hash of its rows is 0123456789abcdef, not what it says …" */
    const char *at = strstr(c.err, "the hash of its rows is ");
    CHECK_EQ_U64(c.code, 1);
    if (CHECK(at != NULL)) {
        char hash[17];

        snprintf(hash, sizeof(hash), "%.16s", at + 24);
        path = apus_path_join(folder, "r.json");
        CHECK_OK(apus_json_read(&json, path));
        cJSON_ReplaceItemInObjectCaseSensitive(json, "hash", cJSON_CreateString(hash));
        apus_json_begin();
        CHECK_OK(apus_json_write(json, folder, "r.json"));
        cJSON_Delete(json);
        apus_free(path);
    }
    child_release(&c);
    return at != NULL;
}

TEST(a_file_is_written_and_runs_choose_by_it)
{
    const char *folder = new_folder();
    child c;

    if (!has_device())
        return;
    put_model(folder, 0);
    if (!run_with(&c, TUNE "--seconds 0.01 --result_path r.json",
                  &(child_params) { .folder = folder, .env = { APART } }))
        return;
    CHECK_EQ_U64(c.code, 0);
    CHECK(strstr(c.out, "problem ") && strstr(c.out, "not measured") && strstr(c.out, "\n1 of ") &&
          strstr(c.out, "\nr.json: 1 problems ("));
    if (c.code)
        fprintf(stderr, "%s\n", c.err);
    child_release(&c);
    char *before = choices(folder, "APUS_TUNE=off");
    if (prefer_others(folder)) {
        char *after = choices(folder, "APUS_TUNE=r.json"),
             *again = choices(folder, "APUS_TUNE=r.json");

        if (before && after && again) {
            CHECK(strlen(after) == 16 && strcmp(before, after) != 0);
            CHECK_EQ_STR(after, again);
        }
        apus_free(after);
        apus_free(again);
    }
    apus_free(before);
    if (run_with(&c, "devices",
                 &(child_params) { .folder = folder, .env = { "APUS_TUNE=r.json" } })) {
        CHECK(c.code == 0 && strstr(c.out, "tuned     tune file r.json: 1 problems ("));
        child_release(&c);
    }
    /* Measured again, into the same file. */
    if (run_with(&c, TUNE "--seconds 0.01 --result_path r.json",
                 &(child_params) { .folder = folder })) {
        CHECK(c.code == 0 && strstr(c.out, "\nr.json: "));
        child_release(&c);
    }
}

TEST(what_cannot_be_measured_or_used_is_said)
{
    const char *folder = new_folder();
    child c;

    if (!has_device())
        return;
    put_model(folder, 0);
    fails(folder, TUNE "-p 600", 2, "--n_prompt", "[0, 512]");
    fails(folder, "tune", 2, "--model is missing", NULL);
    fails(folder, TUNE "--shapes nt~1x2x3~f32", 2, "--model and --shapes", NULL);
    fails(folder, "tune --shapes nt~1x2x3", 2, "--shapes \"nt 1x2x3\": expected a product", NULL);
    fails(folder, "tune --shapes tt~1x2x3~f32", 2, "expected a product such as", NULL);
    fails(folder, "tune --shapes nt~1x-2x3~f32", 2, "expected a product such as", NULL);
    fails(folder, "tune --shapes nt~1x2x99999999~f32", 2, "expected a product such as", NULL);
    fails(folder, "tune --shapes nt~1x2x3~f33", 2, "expected a product such as", NULL);
    fails(folder, "tune --shapes nt~1x2x3~u32", 2, "expected a product such as", NULL);
    fails(folder, "tune --shapes nt~1x2x33~q4_0", 2, "q4_0 has no rows of that length", NULL);
    fails(folder, "tune --torch_dtype float16 --shapes nt~1x2x32~q4_0", 2, "no rows of that", NULL);
    if (run_with(&c, TUNE "--seconds 0",
                 &(child_params) { .folder = folder, .env = { "APUS_KERNEL=matmul:plain" } })) {
        CHECK_EQ_U64(c.code, 2);
        says(&c, "APUS_KERNEL is set: there is nothing to measure");
        child_release(&c);
    }
    if (run_with(&c, "devices",
                 &(child_params) { .folder = folder, .env = { "APUS_TUNE=none.json" } })) {
        CHECK_EQ_U64(c.code, 1);
        says(&c, "error: APUS_TUNE: ");
        says(&c, "none.json");
        child_release(&c);
    }
}

TEST(an_interrupted_measurement_keeps_what_it_has)
{
    const char *folder = new_folder();
    child c;

    if (!has_device())
        return;
    put_model(folder, 0);
    if (!run_with(&c, TUNE "--seconds 1000 --result_path r.json",
                  &(child_params) { .folder = folder, .interrupt_at = "choices to measure" }))
        return;
    CHECK_EQ_U64(c.code, 130);
    says(&c, "the measurement was interrupted");
    char *path = apus_path_join(folder, "r.json");
    CHECK(apus_path_exists(path) == (strstr(c.out, " problems measured, ") != NULL));
    apus_free(path);
    child_release(&c);
}
