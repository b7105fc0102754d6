/* raise.c - a device that was lost early in a run: half the work in a submission, and all of it
 * again after 100 steps, 200 after a second loss; the run ends as one that nothing happened to. */
#include "env.h"
#include "tiny_run.h"

#define ALL_STEPS 320u

typedef struct trouble {
    uint64_t after[2]; /* steps */
    size_t n;
    char said[8192];
} trouble;

static void hear(void *user, apus_log_level level, const char *line)
{
    trouble *t = user;
    const size_t n = strlen(t->said);

    (void)level;
    if (strstr(line, "in a submission"))
        snprintf(t->said + n, sizeof(t->said) - n, "%s\n", line);
}

static void cause(void *user, const apus_train_progress *progress)
{
    trouble *t = user;

    if (t->n && progress->step == t->after[0]) {
        apus_fault_set(APUS_FAULT_GPU_LOST, 2);
        t->n--;
        t->after[0] = t->after[1];
    }
}

static bool run(const char *name, trouble *t, apus_train_result *result)
{
    char out[1100];

    snprintf(out, sizeof(out), "%s/%s", harness_folder(), name);
    apus_train_params p = base(out);
    p.max_steps = ALL_STEPS;
    p.epochs = 100;
    p.batch = p.accumulation = 1;
    p.save_steps = 5;
    p.save_total_limit = 2;
    p.eval_strategy = 0;
    apus_log_set(hear, t, APUS_LOG_INFO);
    const apus_status st =
        apus_train(&p, &(apus_train_callbacks) { .user = t, .step = cause }, result);
    apus_log_set(NULL, NULL, APUS_LOG_INFO);
    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    return st != APUS_ERR_MISSING && CHECK_OK(st) && CHECK(!t->n) &&
           CHECK(!apus_fault_pending(APUS_FAULT_GPU_LOST));
}

static void same_end(const char *a, const char *b, const char *name)
{
    char path[2][1400], *text[2] = { NULL, NULL };
    size_t bytes[2] = { 0, 1 };

    snprintf(path[0], sizeof(path[0]), "%s/checkpoint-%u/%s", a, ALL_STEPS, name);
    snprintf(path[1], sizeof(path[1]), "%s/checkpoint-%u/%s", b, ALL_STEPS, name);
    for (int i = 0; i < 2; i++)
        CHECK_OK(apus_file_read(&text[i], &bytes[i], path[i], 1 << 24));
    CHECK(bytes[0] == bytes[1] && text[0] && text[1] && !memcmp(text[0], text[1], bytes[0]));
    apus_free(text[0]);
    apus_free(text[1]);
}

/* Steps 6 and 111 are lost, each right after a checkpoint; after that 100 and 200 are good. */
TEST(the_work_in_a_submission_is_raised_again)
{
    trouble none = { .n = 0 }, twice = { .after = { 5, 110 }, .n = 2 };
    apus_train_result plain, result;

    if (!run("plain", &none, &plain) || !run("lost", &twice, &result))
        return;
    CHECK_EQ_STR(none.said, "");
    same_end(plain.folder, result.folder, "adapter_model.safetensors");
    same_end(plain.folder, result.folder, "optimizer.safetensors");
    const char *first = strstr(twice.said, "with 1/2 of the work in a submission (try 1 of 3)\n");
    const char *raised = strstr(twice.said, "step 105: the device was not lost for 100 steps; all "
                                            "of the work in a submission again\n");
    const char *second = first ? strstr(first + 1, "with 1/2 of the work in a submission") : NULL;
    const char *again = strstr(twice.said, "step 310: the device was not lost for 200 steps; all "
                                           "of the work in a submission again\n");
    if (!CHECK(first && raised && second && again && first < raised && raised < second &&
               second < again))
        fprintf(stderr, "%s", twice.said);
}
