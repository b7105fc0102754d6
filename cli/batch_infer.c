/* batch_infer.c - `apus infer --val_dataset`: an answer to each row, as JSON lines. */
#include <inttypes.h>
#include <stdio.h>

#include "base.h"
#include "console.h"
#include "infer.h"
#include "os.h"
#include "progress.h"

/* The row without its last answer, which becomes the label. */
static size_t questions(const apus_data_row *row, const char **label)
{
    size_t n = row->n_messages;

    *label = NULL;
    if (n && !strcmp(row->messages[n - 1].role, "assistant"))
        *label = row->messages[--n].content;
    return n;
}

static apus_status answer_row(apusi_infer *f, const apus_data_row *row, const char *path)
{
    const char *label;
    const size_t n = questions(row, &label);

    if (f->o.stream)
        printf("[QUERY] %s\n[LABELS] %s\n[RESPONSE] ", n ? row->messages[n - 1].content : "",
               label ? label : "None");
    f->show = f->o.stream;
    APUS_FORWARD(apusi_infer_answer(f, row->messages, n, f->o.system));
    if (f->cancel.requested && f->answers > 1) /* a half answer is no result */
        return apus_fail(APUS_ERR_CANCELLED, "stopped; the answers so far are in %s", path);
    if (f->cancel.requested)
        return apus_fail(APUS_ERR_CANCELLED, "stopped before the first answer was whole");
    if (f->o.stream)
        printf("\n--------------------------------------------------\n");
    return apusi_result_add(path, &(apusi_result_row) {
                                      .response = f->text,
                                      .label = label,
                                      .dataset = row->dataset,
                                      .logprobs = !f->o.stream,
                                      .messages = row->messages,
                                      .n = n,
                                  });
}

static void tell_end(const apusi_infer *f, size_t rows, double seconds)
{
    apus_console_print("{'num_prompt_tokens': %" PRIu64 ", 'num_generated_tokens': %" PRIu64
                       ", 'num_samples': %zu, 'runtime': %.16g, 'samples/s': %.16g, "
                       "'tokens/s': %.16g}",
                       f->prompt_tokens, f->new_tokens, rows, seconds, (double)rows / seconds,
                       (double)f->new_tokens / seconds);
}

apus_status apusi_infer_batch(apusi_infer *f, const apus_data_params *params, apus_data_part part,
                              const char *path)
{
    apus_status st;
    apus_data *data = NULL;
    apus_progress bar = { 0 };
    uint64_t start;
    size_t n;

    APUS_TRY(apus_data_open(&data, params));
    n = apus_data_count(data, part);
    if (!n)
        APUS_TRY(apus_fail(APUS_ERR_ARG, "there are no rows to answer"));
    apus_log(APUS_LOG_INFO, "val_dataset: %zu rows", n);
    start = apus_now_ns();
    if (!f->o.stream)
        apus_progress_begin(&bar, "Infer", 0, n);
    for (size_t i = 0; i < n; i++) {
        const apus_data_row *row = apus_data_get(data, part, i);
        const char *label;

        if (questions(row, &label)) {
            st = answer_row(f, row, path);
            if (st == APUS_ERR_ARG) /* the row does not fit */
                st = apus_fail(st, "%s:%" PRIu64 ": %s", row->dataset, (uint64_t)row->line,
                               apus_error_text());
            APUS_TRY(st);
        } else {
            apus_log(APUS_LOG_WARN, "%s:%" PRIu64 ": it asks nothing; the row is left out",
                     row->dataset, (uint64_t)row->line);
        }
        if (!f->o.stream)
            apus_progress_set(&bar, i + 1, NULL);
    }
    apus_progress_end(&bar);
    tell_end(f, n, (double)(apus_now_ns() - start + 1) * 1e-9);
    apus_log(APUS_LOG_INFO, "The inference results have been saved to result_path: `%s`.", path);
fail:
    apus_progress_end(&bar);
    apus_data_close(&data);
    return st;
}
