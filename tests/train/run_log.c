/* Logs replayed from recorded runs of the reference: the same values give the same bytes. */
#include "run_log.h"

#include <stdio.h>

#include "file.h"
#include "harness.h"
#include "json.h"

#define MOST_LINES 64

/* The lines of a text file, cut in place. */
typedef struct lines {
    char *text;
    char *at[MOST_LINES];
    size_t n;
} lines;

static bool read_lines(lines *l, const char *path)
{
    size_t bytes;

    *l = (lines) { 0 };
    if (!CHECK_OK(apus_file_read(&l->text, &bytes, path, 1 << 20)))
        return false;
    for (char *p = l->text; *p && l->n < MOST_LINES;) {
        char *end = strchr(p, '\n');
        l->at[l->n++] = p;
        if (!end)
            break;
        *end = 0;
        p = end + 1;
    }
    return true;
}

static void fixture(char path[512], const char *name, const char *kind)
{
    char part[100];

    snprintf(part, sizeof part, "train/%s.%s", name, kind);
    snprintf(path, 512, "%s", harness_fixture(part));
}

/* One entry of log_history as the trainer would hand it over; `line` is what the reference wrote.
 * */
static void replay_entry(apus_run_log *log, const cJSON *entry, const char *line,
                         const char *console, uint64_t start)
{
    apus_log_value values[32];
    apus_log_entry add = { .values = values };
    const cJSON *member;
    const char *shown = NULL;
    cJSON *written = NULL;

    REQUIRE_OK(apus_json_parse(&written, line, strlen(line), "line"));
    cJSON_ArrayForEach(member, entry)
    {
        if (strcmp(member->string, "step") == 0)
            add.step = (uint64_t)member->valuedouble;
        else if (strcmp(member->string, "epoch") == 0)
            add.epoch = member->valuedouble;
        else
            values[add.n_values++] = (apus_log_value) { member->string, member->valuedouble };
    }
    add.elapsed_s =
        apus_json_number(written, "train_speed(s/it)", 0.0) * (double)(add.step - start);
    cJSON_Delete(written);
    REQUIRE_OK(apus_run_log_add(log, &add, &shown));
    CHECK_EQ_STR(shown, console);
}

/* What a checkpoint at step `start` would hold: the entries up to there. */
static size_t resume(apus_run_log *log, const cJSON *history, uint64_t start)
{
    char path[512];
    cJSON *state = cJSON_CreateObject(), *old = cJSON_AddArrayToObject(state, "log_history");
    const cJSON *entry;
    apus_trainer_state read;
    size_t n = 0;

    cJSON_ArrayForEach(entry, history)
    {
        if (apus_json_number(entry, "step", 0.0) > (double)start)
            break;
        cJSON_AddItemToArray(old, cJSON_Duplicate(entry, true));
        n++;
    }
    cJSON_AddNumberToObject(state, "global_step", (double)start);
    cJSON_AddNumberToObject(state, "max_steps", 20);
    cJSON_AddNumberToObject(state, "num_train_epochs", 1);
    char *text = apus_json_text(state, 0);
    snprintf(path, sizeof path, "%s/state.json", harness_folder());
    CHECK_OK(apus_file_write(path, text, strlen(text)));
    CHECK_OK(apus_run_log_read_state(log, path, &read));
    CHECK_EQ_U64(read.step, start);
    CHECK(!read.has_best && !read.best_checkpoint);
    apus_free(text);
    cJSON_Delete(state);
    return n;
}

static apus_run_end end_of(const cJSON *last)
{
    return (apus_run_end) {
        .train_dataset = apus_json_string(last, "train_dataset", NULL),
        .val_dataset = apus_json_string(last, "val_dataset", NULL),
        .model_parameter_info = apus_json_string(last, "model_parameter_info", NULL),
        .last_checkpoint = apus_json_string(last, "last_model_checkpoint", NULL),
        .best_checkpoint = apus_json_string(last, "best_model_checkpoint", NULL),
        .has_best = apus_json_get(last, "best_metric") != NULL,
        .best_metric = apus_json_number(last, "best_metric", 0.0),
        .step = (uint64_t)apus_json_number(last, "global_step", 0.0),
    };
}

/* Write the recorded run once more and compare logging.jsonl and the console byte for byte. */
static void replay(const char *name, uint64_t start)
{
    char path[512], folder[512];
    lines want, console, got;
    cJSON *last = NULL;
    apus_run_log *log = NULL;
    uint64_t max_steps = 0;
    size_t i = 0;

    fixture(path, name, "logging.jsonl");
    REQUIRE(read_lines(&want, path) && want.n > 2);
    fixture(path, name, "console.txt");
    REQUIRE(read_lines(&console, path) && console.n == want.n - 1);
    const char *line = want.at[want.n - 1];
    REQUIRE_OK(apus_json_parse(&last, line, strlen(line), "last"));
    sscanf(strstr(want.at[0], "max_steps\": \""), "max_steps\": \"%*u/%lu", &max_steps);
    snprintf(folder, sizeof folder, "%s/%s", harness_folder(), name);
    REQUIRE_OK(apus_run_log_open(&log, &(apus_run_log_params) {
                                           .folder = folder,
                                           .max_steps = max_steps,
                                           .start_step = start,
                                       }));
    const cJSON *history = apus_json_get(last, "log_history"), *entry = history->child;
    for (size_t skip = start ? resume(log, history, start) : 0; skip; skip--)
        entry = entry->next;
    for (; entry && i < console.n; entry = entry->next, i++)
        replay_entry(log, entry, want.at[i], console.at[i], start);
    CHECK(!entry);
    CHECK_EQ_U64(i, console.n);
    const apus_run_end end = end_of(last);
    CHECK_OK(apus_run_log_end(log, &end));
    snprintf(path, sizeof path, "%.400s/logging.jsonl", folder);
    REQUIRE(read_lines(&got, path));
    CHECK_EQ_U64(got.n, want.n);
    for (i = 0; i < got.n && i < want.n; i++)
        CHECK_EQ_STR(got.at[i], want.at[i]);
    apus_run_log_close(&log);
    CHECK(log == NULL);
    cJSON_Delete(last);
    apus_free(want.text);
    apus_free(console.text);
    apus_free(got.text);
}

TEST(a_supervised_run_is_logged_to_the_byte)
{
    replay("a_sft", 0);
}

TEST(a_resumed_run_is_logged_to_the_byte)
{
    replay("b_resume", 10);
}

TEST(a_preference_run_is_logged_to_the_byte)
{
    replay("e_dpo", 0);
}

TEST(a_run_of_two_epochs_is_logged_to_the_byte)
{
    replay("k_epochs", 0);
}

/* Read the recorded state, write it, compare the files. */
static void round_trip(const char *name, bool ended)
{
    char path[512], folder[512];
    apus_run_log *log = NULL;
    apus_trainer_state state;

    snprintf(folder, sizeof folder, "%s/state_%s", harness_folder(), name);
    REQUIRE_OK(apus_run_log_open(&log, &(apus_run_log_params) { .folder = folder }));
    fixture(path, name, "trainer_state.json");
    REQUIRE_OK(apus_run_log_read_state(log, path, &state));
    state.ended = ended;
    char *expected = NULL, *text = NULL;
    size_t bytes;
    REQUIRE_OK(apus_file_read(&expected, &bytes, path, 1 << 20));
    snprintf(path, sizeof path, "%.400s/trainer_state.json", folder);
    REQUIRE_OK(apus_run_log_write_state(log, path, &state));
    REQUIRE_OK(apus_file_read(&text, &bytes, path, 1 << 20));
    CHECK_EQ_STR(text, expected);
    apus_free(text);
    apus_free(expected);
    apus_run_log_close(&log);
}

TEST(trainer_state_is_written_to_the_byte)
{
    round_trip("a_sft", true);
    round_trip("b_resume", true);
    round_trip("e_dpo", true);
    round_trip("k_epochs", true);
}

TEST(a_state_is_read_and_bad_ones_are_refused)
{
    char path[512];
    apus_run_log *log = NULL;
    apus_trainer_state state;
    const char *bad[] = { "{}",
                          "[1]",
                          "{\"log_history\": [1], \"global_step\": 1, \"max_steps\": "
                          "1, \"num_train_epochs\": 1}",
                          "{\"log_history\": [], \"global_step\": -1}",
                          "{\"log_history\": [], \"global_step\": \"x\"}",
                          "{" };

    snprintf(path, sizeof path, "%s/bad", harness_folder());
    REQUIRE_OK(apus_run_log_open(&log, &(apus_run_log_params) { .folder = path }));
    fixture(path, "a_sft", "trainer_state.json");
    REQUIRE_OK(apus_run_log_read_state(log, path, &state));
    CHECK_EQ_U64(state.step, 20);
    CHECK_EQ_U64(state.save_steps, 10);
    CHECK(state.epoch == 0.42105263157894735);
    CHECK(state.has_best && state.best_metric == 1.25907362);
    CHECK_EQ_U64(state.best_step, 20);
    CHECK_EQ_STR(state.best_checkpoint, "out/a_sft_f32/v0-20261124-142556/checkpoint-20");
    for (size_t i = 0; i < APUS_COUNT(bad); i++) {
        snprintf(path, sizeof path, "%s/bad.json", harness_folder());
        REQUIRE_OK(apus_file_write(path, bad[i], strlen(bad[i])));
        CHECK_FAILS(apus_run_log_read_state(log, path, &state), APUS_ERR_FORMAT, "");
    }
    CHECK_FAILS(apus_run_log_read_state(log, "/no/such/file", &state), APUS_ERR_MISSING, "");
    apus_run_log_close(&log);
}

TEST(memory_shows_its_highest_on_line_and_at_the_end)
{
    char folder[512], path[600];
    apus_run_log *log = NULL;
    lines got;
    const char *console = NULL;
    const apus_log_value loss = { "loss", 0.5 };
    apus_log_entry entry = { .step = 1,
                             .epoch = 0.5,
                             .values = &loss,
                             .n_values = 1,
                             .elapsed_s = 2.0,
                             .memory_gib = 3.14159 };

    snprintf(folder, sizeof folder, "%s/memory", harness_folder());
    REQUIRE_OK(apus_run_log_open(&log, &(apus_run_log_params) { folder, .max_steps = 2 }));
    REQUIRE_OK(apus_run_log_add(log, &entry, &console));
    CHECK_EQ_STR(console, "{'loss': '0.5', 'epoch': '0.5', 'global_step/max_steps': '1/2', "
                          "'elapsed_time': '2s', 'remaining_time': '2s', 'memory(GiB)': '3.14', "
                          "'train_speed(s/it)': '2'}");
    entry.step = 2;
    entry.memory_gib = 1.0;
    REQUIRE_OK(apus_run_log_add(log, &entry, NULL));
    REQUIRE_OK(apus_run_log_end(log, &(apus_run_end) { .step = 2 }));
    snprintf(path, sizeof path, "%s/logging.jsonl", folder);
    REQUIRE(read_lines(&got, path) && got.n == 3);
    CHECK_EQ_STR(got.at[1],
                 "{\"loss\": 0.5, \"epoch\": 0.5, \"global_step/max_steps\": \"2/2\", "
                 "\"elapsed_time\": \"2s\", \"remaining_time\": \"0s\", \"memory(GiB)\": 3.14, "
                 "\"train_speed(s/it)\": 1.0}");
    CHECK_EQ_STR(got.at[2],
                 "{\"model_parameter_info\": null, \"last_model_checkpoint\": null, "
                 "\"best_model_checkpoint\": null, \"best_metric\": null, \"global_step\": 2, "
                 "\"log_history\": [{\"loss\": 0.5, \"epoch\": 0.5, \"step\": 1}, {\"loss\": 0.5, "
                 "\"epoch\": 0.5, \"step\": 2}], \"memory\": 3.14}");
    apus_free(got.text);
    apus_run_log_close(&log);
}

TEST(texts_of_the_last_line)
{
    static const uint32_t lengths[4] = { 20, 48, 30, 40 };
    char text[160];
    apus_log_value speed[3];

    /* mean 34.5, population variance 443 / 4 */
    apus_log_lengths(text, sizeof text, lengths, 4);
    CHECK_EQ_STR(text, "34.500000\u00b110.523783, min=20.000000, max=48.000000, size=4");
    apus_log_parameters(text, sizeof text, "PeftModelForCausalLM", 136957248, 2442240, 96);
    CHECK_EQ_STR(text, "PeftModelForCausalLM: 136.9572M Params (2.4422M Trainable [1.7832%]), "
                       "0.0001M Buffers.");
    apus_log_speed(speed, "train", 73.23271, 80, 20);
    CHECK_EQ_STR(speed[1].key, "train_samples_per_second");
    CHECK(speed[0].number == 73.2327 && speed[1].number == 1.092 && speed[2].number == 0.273);
    apus_log_duration(text, sizeof text, 93784.6);
    CHECK_EQ_STR(text, "1d 2h 3m 5s");
    apus_log_duration(text, sizeof text, 3600.0);
    CHECK_EQ_STR(text, "1h 0m 0s");
    apus_log_duration(text, sizeof text, -1.0);
    CHECK_EQ_STR(text, "0s");
}

TEST(timing_keys_are_told_apart)
{
    CHECK(apus_log_is_timing("eval_runtime") && apus_log_is_timing("train_steps_per_second") &&
          apus_log_is_timing("memory(GiB)") && apus_log_is_timing("elapsed_time"));
    CHECK(!apus_log_is_timing("loss") && !apus_log_is_timing("epoch") &&
          !apus_log_is_timing("train_loss") && !apus_log_is_timing("total_flos"));
}

TEST(curves_come_out_of_the_history)
{
    char path[512];
    apus_run_log *log = NULL;
    apus_trainer_state state;
    apus_curve *curves = NULL;
    size_t n = 0, found = 0;

    snprintf(path, sizeof path, "%s/curves", harness_folder());
    REQUIRE_OK(apus_run_log_open(&log, &(apus_run_log_params) { .folder = path }));
    fixture(path, "a_sft", "trainer_state.json");
    REQUIRE_OK(apus_run_log_read_state(log, path, &state));
    REQUIRE_OK(apus_run_log_curves(log, &curves, &n));
    for (size_t i = 0; i < n; i++) {
        if (strcmp(curves[i].tag, "train/loss") == 0) {
            found++;
            CHECK_EQ_U64(curves[i].n, 20);
            CHECK(curves[i].values[1] == 2.1049067974090576 && curves[i].steps[19] == 20.0);
        } else if (strcmp(curves[i].tag, "eval/token_acc") == 0) {
            found++;
            CHECK_EQ_U64(curves[i].n, 2);
            CHECK(curves[i].steps[0] == 10.0);
        }
    }
    CHECK_EQ_U64(found, 2);
    apus_curves_release(curves, n);
    apus_run_log_close(&log);
}

TEST(a_folder_that_cannot_be_made_is_a_status)
{
    apus_run_log *log = NULL;

    CHECK(apus_run_log_open(&log, &(apus_run_log_params) { .folder = "/dev/null/x" }) != APUS_OK);
    CHECK(log == NULL);
}
