/* batch_infer.c - `apus infer --val_dataset`: an answer to each row, as JSON lines in the order of
 * the rows.  Several rows are answered at once (--max_batch_size); an answer that is whole before
 * one of an earlier row waits for it. */
#include <inttypes.h>
#include <stdio.h>

#include "base.h"
#include "console.h"
#include "infer.h"
#include "os.h"
#include "progress.h"
#include "sizes.h"

/* A row that was asked. */
typedef struct asked {
    const apus_data_row *row;
    size_t n;          /* messages of the question */
    const char *label; /* the answer that the row has; NULL: none */
    apusi_answer answer;
    bool whole;
} asked;

typedef struct batch {
    apusi_infer *f;
    const apus_data *data;
    apus_data_part part;
    const char *path;
    size_t n, next;     /* rows; the one to be looked at next */
    size_t n_done;      /* answered, or left out */
    asked *asked;       /* (n), in the order of the rows */
    uint32_t n_asked;   /* by the number of the prompt */
    uint32_t n_written; /* all before are in the file, or lost */
    uint32_t n_kept;    /* answers in the file */
    bool unwritable;
    apus_encoded prompt; /* of the last row that was asked */
    apus_progress bar;
} batch;

/* The row without its last answer, which becomes the label. */
static size_t questions(const apus_data_row *row, const char **label)
{
    size_t n = row->n_messages;

    *label = NULL;
    if (n && !strcmp(row->messages[n - 1].role, "assistant"))
        *label = row->messages[--n].content;
    return n;
}

static const apus_data_row *row_of(const batch *b, size_t i)
{
    return apus_data_get(b->data, b->part, i);
}

static void count_row(batch *b)
{
    b->n_done++;
    if (!b->f->o.stream)
        apus_progress_set(&b->bar, b->n_done, NULL);
}

/* ---- answers into the file ---- */

static apus_status write_one(batch *b, asked *a)
{
    const apus_status st = apusi_result_add(b->path, &(apusi_result_row) {
                                                         .response = a->answer.text,
                                                         .label = a->label,
                                                         .dataset = a->row->dataset,
                                                         .logprobs = !b->f->o.stream,
                                                         .messages = a->row->messages,
                                                         .n = a->n,
                                                     });

    b->unwritable |= st != APUS_OK;
    b->n_kept += st == APUS_OK;
    return st;
}

/* Those that are whole, up to the first that is not; at the end also those behind it. */
static apus_status write_whole(batch *b, bool end)
{
    while (b->n_written < b->n_asked && !b->unwritable) {
        asked *a = &b->asked[b->n_written];

        if (!a->whole && !end)
            break;
        if (a->whole)
            APUS_FORWARD(write_one(b, a));
        apusi_answer_release(&a->answer);
        b->n_written++;
    }
    return APUS_OK;
}

/* ---- rows that are asked ---- */

static apus_status ask(batch *b, const apus_data_row *row, size_t n, const char *label)
{
    asked *a = &b->asked[b->n_asked];

    if (b->f->o.stream)
        printf("[QUERY] %s\n[LABELS] %s\n[RESPONSE] ", row->messages[n - 1].content,
               label ? label : "None");
    *a = (asked) { .row = row, .n = n, .label = label };
    b->n_asked++;
    apus_encoded_release(&b->prompt);
    APUS_FORWARD(apusi_answer_begin(&a->answer, b->f, b->f->o.stream));
    return apusi_infer_encode(&b->prompt, b->f, row->messages, n, b->f->o.system);
}

static apus_status next_row(void *user, const uint32_t **ids, size_t *n, bool *more)
{
    batch *b = user;

    while (b->next < b->n) {
        const apus_data_row *row = row_of(b, b->next++);
        const char *label;
        const size_t asks = questions(row, &label);

        if (asks) {
            APUS_FORWARD(ask(b, row, asks, label));
            *ids = b->prompt.ids;
            *n = b->prompt.n;
            return APUS_OK;
        }
        apus_log(APUS_LOG_WARN, "%s:%" PRIu64 ": it asks nothing; the row is left out",
                 row->dataset, (uint64_t)row->line);
        count_row(b);
    }
    *more = false;
    return APUS_OK;
}

static bool on_token(void *user, uint32_t prompt, uint32_t id)
{
    batch *b = user;

    return apusi_answer_add(&b->asked[prompt].answer, b->f, id);
}

static apus_status on_done(void *user, uint32_t prompt, const apus_generate_result *result)
{
    batch *b = user;
    asked *a = &b->asked[prompt];

    if (result->cancelled) /* a half answer is no result */
        return APUS_OK;
    APUS_FORWARD(apusi_answer_end(&a->answer, b->f, result));
    a->whole = true;
    if (b->f->o.stream)
        printf("\n--------------------------------------------------\n");
    count_row(b);
    return write_whole(b, false);
}

/* ---- how many at once ---- */

/* Tokens of the longest row, alone and with its answer.  One that is too long, or that cannot be
 * encoded, is told of in its turn. */
static apus_status find_longest(batch *b, apus_generator_params *p)
{
    const apusi_infer *f = b->f;
    apus_model_about about;
    size_t longest = 1;

    apus_model_describe(f->model, &about);
    for (size_t i = 0; i < b->n && longest < about.max_positions; i++) {
        const apus_data_row *row = row_of(b, i);
        apus_encoded prompt = { 0 };
        const char *label;
        const size_t n = questions(row, &label);
        const apus_status st =
            n ? apusi_infer_encode(&prompt, f, row->messages, n, f->o.system) : APUS_OK;

        longest = prompt.n > longest ? prompt.n : longest;
        apus_encoded_release(&prompt);
        if (st == APUS_ERR_MEMORY)
            return st;
    }
    const uint64_t all = longest + f->o.max_new_tokens;
    const bool fits = f->o.max_new_tokens && all < about.max_positions;

    p->longest_prompt = longest < about.max_positions ? (uint32_t)longest : about.max_positions;
    p->max_length = fits ? (uint32_t)all : about.max_positions;
    return APUS_OK;
}

/* As many as were asked for, or where that is left open as many as fit. */
static apus_status fit(batch *b, apus_generator_params *p)
{
    apus_generator_fit got;
    apus_model_about about;
    char cache[32], device[32], heap[32], host[32];

    APUS_FORWARD(apus_generator_plan(&got, b->f->model, p));
    if (got.batch == 0)
        return apus_fail(APUS_ERR_MEMORY,
                         "not even one row of up to %u tokens fits: %s; use a smaller "
                         "--max_length or --max_new_tokens",
                         p->max_length, got.why);
    if (got.batch < p->batch && b->f->o.max_batch_size)
        return apus_fail(APUS_ERR_MEMORY,
                         "--max_batch_size: %u rows at once, of up to %u tokens each, do not "
                         "fit: %s; %u would, and more with a smaller --max_length or "
                         "--max_new_tokens",
                         p->batch, p->max_length, got.why, got.batch);
    p->batch = got.batch;
    apus_model_describe(b->f->model, &about);
    apusi_bytes_text(cache, sizeof(cache), got.cache);
    apusi_bytes_text(device, sizeof(device), got.device);
    apusi_bytes_text(heap, sizeof(heap), got.heap);
    apusi_bytes_text(host, sizeof(host), got.host);
    apus_log(APUS_LOG_INFO, "max_batch_size: %u rows at once, of up to %u tokens each", p->batch,
             p->max_length);
    apus_log(APUS_LOG_INFO,
             "memory: planned peak %s of %s on the device (%s), %s of it the cache, %s on the host",
             device, heap, about.device, cache, host);
    return APUS_OK;
}

static apus_status make_generator(batch *b)
{
    const uint32_t wish = b->f->o.max_batch_size ? b->f->o.max_batch_size : APUS_GENERATE_MOST;
    const uint32_t at_once = b->n < wish ? (uint32_t)b->n : wish;
    apus_generator_params p = apusi_infer_generator(b->f);

    p.batch = at_once;
    if (at_once > 1) {
        APUS_FORWARD(find_longest(b, &p));
        APUS_FORWARD(fit(b, &p));
    }
    return apus_generator_create(&b->f->generator, b->f->model, &p);
}

/* ---- all ---- */

static void tell_end(const apusi_infer *f, size_t rows, double seconds)
{
    apus_console_print("{'num_prompt_tokens': %" PRIu64 ", 'num_generated_tokens': %" PRIu64
                       ", 'num_samples': %zu, 'runtime': %.16g, 'samples/s': %.16g, "
                       "'tokens/s': %.16g}",
                       f->prompt_tokens, f->new_tokens, rows, seconds, (double)rows / seconds,
                       (double)f->new_tokens / seconds);
}

static apus_status answer_rows(batch *b)
{
    const apus_prompts prompts = { next_row, on_done, b };
    const apus_generate_params params = apusi_infer_params(b->f, on_token, b);
    apus_status st = apus_generate_each(b->f->generator, &prompts, &params), kept;

    if (st == APUS_ERR_ARG && b->next) { /* the row does not fit */
        const apus_data_row *row = row_of(b, b->next - 1);

        st = apus_fail(st, "%s:%" PRIu64 ": %s", row->dataset, (uint64_t)row->line,
                       apus_error_text());
    }
    kept = write_whole(b, true);
    st = kept == APUS_OK ? st : kept;
    if (st != APUS_OK || !b->f->cancel.requested || b->n_done == b->n)
        return st;
    return b->n_kept
               ? apus_fail(APUS_ERR_CANCELLED, "stopped; the answers so far are in %s", b->path)
               : apus_fail(APUS_ERR_CANCELLED, "stopped before the first answer was whole");
}

apus_status apusi_infer_batch(apusi_infer *f, const apus_data_params *params, apus_data_part part,
                              const char *path)
{
    apus_status st;
    apus_data *data = NULL;
    batch b = { .f = f, .part = part, .path = path };
    uint64_t start;

    APUS_TRY(apus_data_open(&data, params));
    b.data = data;
    b.n = apus_data_count(data, part);
    if (!b.n)
        APUS_TRY(apus_fail(APUS_ERR_ARG, "there are no rows to answer"));
    apus_log(APUS_LOG_INFO, "val_dataset: %zu rows", b.n);
    b.asked = apus_calloc(b.n, sizeof(*b.asked));
    if (!b.asked)
        APUS_TRY(APUS_ERR_MEMORY);
    APUS_TRY(make_generator(&b));
    start = apus_now_ns();
    if (!f->o.stream)
        apus_progress_begin(&b.bar, "Infer", 0, b.n);
    APUS_TRY(answer_rows(&b));
    apus_progress_end(&b.bar);
    tell_end(f, b.n, (double)(apus_now_ns() - start + 1) * 1e-9);
    apus_log(APUS_LOG_INFO, "The inference results have been saved to result_path: `%s`.", path);
fail:
    apus_progress_end(&b.bar);
    for (uint32_t i = b.n_written; i < b.n_asked; i++)
        apusi_answer_release(&b.asked[i].answer);
    apus_free(b.asked);
    apus_encoded_release(&b.prompt);
    apus_data_close(&data);
    return st;
}
