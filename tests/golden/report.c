/* report.c - the lines of the golden runner, its counts and its JSON file. */
#include <math.h>
#include <stdio.h>

#include "file.h"
#include "golden.h"

static const char *const verdicts[] = { "pass", "FAIL", "unsupported" };
enum { PASS, FAILED, UNSUPPORTED };

static void row(golden_case *c, const char *check, int verdict, const double *numbers,
                const char *detail)
{
    golden *run = c->run;
    cJSON *json;

    run->passed += verdict == PASS;
    run->failed += verdict == FAILED || (verdict == UNSUPPORTED && run->strict);
    run->skipped += verdict == UNSUPPORTED && !run->strict;
    printf("%-30s %-52s ", c->name, check);
    if (numbers)
        printf("%10.3g %10.3g  %s", numbers[0], numbers[1], verdicts[verdict]);
    else
        printf("%10s %10s  %s", "", "", verdicts[verdict]);
    if (detail && (verdict != PASS || numbers))
        printf("%s %s", verdict == PASS ? "" : ":", detail);
    printf("\n");
    if (!run->rows)
        return;
    json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "case", c->name);
    cJSON_AddStringToObject(json, "check", check);
    cJSON_AddStringToObject(json, "verdict", verdicts[verdict]);
    if (numbers) {
        apus_json_add_float(json, "error", numbers[0]);
        apus_json_add_float(json, "tolerance", numbers[1]);
    }
    if (detail)
        cJSON_AddStringToObject(json, "detail", detail);
    cJSON_AddItemToArray(run->rows, json);
}

void golden_check(golden_case *c, const char *check, double error, double tolerance,
                  const char *detail)
{
    const double numbers[2] = { error, tolerance };

    row(c, check, error <= tolerance ? PASS : FAILED, numbers, detail);
}

void golden_unsupported(golden_case *c, const char *check, const char *reason)
{
    row(c, check, UNSUPPORTED, NULL, reason);
}

void golden_broken(golden_case *c, const char *check, const char *reason)
{
    row(c, check, FAILED, NULL, reason);
}

bool golden_ok(golden_case *c, const char *check, apus_status st)
{
    if (st == APUS_OK)
        return true;
    row(c, check, st == APUS_ERR_SUPPORT ? UNSUPPORTED : FAILED, NULL, apus_error_text());
    return false;
}

apus_status golden_write_json(const golden *run, const char *path)
{
    cJSON *all = cJSON_CreateObject();
    char *text = NULL;
    apus_status st = APUS_ERR_MEMORY;

    cJSON_AddNumberToObject(all, "passed", run->passed);
    cJSON_AddNumberToObject(all, "failed", run->failed);
    cJSON_AddNumberToObject(all, "skipped", run->skipped);
    cJSON_AddStringToObject(all, "force", run->force ? run->force : "");
    cJSON_AddItemReferenceToObject(all, "checks", run->rows);
    text = apus_json_text(all, 1);
    if (text)
        st = apus_file_write(path, text, strlen(text));
    apus_free(text);
    cJSON_Delete(all);
    return st;
}
