/* chat.c - `apus infer` in the terminal: questions from stdin, answers as they come.  The words
 * that change the talk are ms-swift's. */
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "base.h"
#include "infer.h"
#include "line.h"
#include "os_interrupt.h"
#include "str.h"

typedef struct talk {
    apusi_infer *f;
    apusi_answer answer;
    apusi_line_reader *reader;
    apus_message *messages;
    size_t n, room;
    char *system; /* typed after reset-system */
    bool has_system;
    bool multi_line;
    bool ask_system;     /* the next input is the system prompt */
    unsigned interrupts; /* at the empty prompt, one behind the other */
} talk;

static apus_status add(talk *t, const char *role, const char *content)
{
    char *copy;

    APUS_FORWARD(apus_grow(&t->messages, t->n, 1, &t->room, sizeof(*t->messages)));
    copy = apus_strdup(content);
    if (!copy)
        return APUS_ERR_MEMORY;
    t->messages[t->n++] = (apus_message) { .role = role, .content = copy };
    return APUS_OK;
}

static void drop_last(talk *t)
{
    apus_free((char *)(uintptr_t)t->messages[--t->n].content);
}

static void clear(talk *t)
{
    while (t->n)
        drop_last(t);
}

/* One line, or in multi-line mode lines up to one that ends in '#'. */
static apusi_line read_query(talk *t, apus_str *out)
{
    char prompt[16];
    apusi_line got;

    apus_str_clear(out);
    snprintf(prompt, sizeof(prompt), "<<<%s%s%s%s ", t->multi_line || t->ask_system ? "[" : "",
             t->multi_line ? "M" : "", t->ask_system ? "S" : "",
             t->multi_line || t->ask_system ? "]" : "");
    for (;;) {
        got = apusi_line_read(t->reader, prompt, out, &t->f->cancel);
        if (got == APUSI_LINE_END && out->len)
            return APUSI_LINE_READ;
        if (got == APUSI_LINE_INTERRUPTED && out->len)
            return APUSI_LINE_DROPPED; /* lines before this one */
        if (got != APUSI_LINE_READ || !t->multi_line)
            return got;
        if (out->len && out->data[out->len - 1] == '#') {
            out->data[--out->len] = '\0';
            return got;
        }
        apus_str_add(out, "\n");
        prompt[0] = '\0'; /* further lines have none */
    }
}

/* "  Exit " is `exit`, and so is "/exit". */
static bool is_word(const char *query, const char *word)
{
    const size_t n = strlen(word);

    query += strspn(query, " \t\r\n");
    query += *query == '/';
    return !strncasecmp(query, word, n) && query[n + strspn(query + n, " \t\r\n")] == '\0';
}

static apus_status set_system(talk *t, const char *query)
{
    const bool back = is_word(query, "default-system");

    apus_free(t->system);
    t->system = back ? NULL : apus_strdup(query);
    t->has_system = !back;
    t->ask_system = false;
    clear(t);
    if (!back && !t->system)
        return APUS_ERR_MEMORY;
    apus_log(APUS_LOG_INFO, back       ? "the system prompt is the default one again"
                            : query[0] ? "the system prompt is set"
                                       : "there is no system prompt");
    return APUS_OK;
}

static void tell_words(void)
{
    apus_log(APUS_LOG_INFO, "Input `exit` or `quit` to exit the conversation.");
    apus_log(APUS_LOG_INFO, "Input `multi-line` to switch to multi-line input mode.");
    apus_log(APUS_LOG_INFO, "Input `reset-system` to reset the system and clear the history.");
    apus_log(APUS_LOG_INFO, "Input `clear` to clear the history.");
}

/* "/word" and nothing else: meant as a command, known or not. */
static bool is_slash_word(const char *query)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_?";
    size_t n;

    query += strspn(query, " \t\r\n");
    n = strspn(query + (*query == '/'), letters);
    return *query == '/' && query[1 + n + strspn(query + 1 + n, " \t\r\n")] == '\0';
}

/* Whether the words changed the talk and are no question. */
static bool is_command(talk *t, const char *query)
{
    if (is_word(query, "clear")) {
        clear(t);
        apus_log(APUS_LOG_INFO, "the history is clear");
    } else if (is_word(query, "multi-line")) {
        t->multi_line = true;
        apus_log(APUS_LOG_INFO, "End multi-line input with `#`.");
        apus_log(APUS_LOG_INFO, "Input `single-line` to switch to single-line input mode.");
    } else if (is_word(query, "single-line")) {
        t->multi_line = false;
    } else if (is_word(query, "reset-system")) {
        t->ask_system = true;
        apus_log(APUS_LOG_INFO, "Input the system prompt: `default-system` for the default one, an "
                                "empty line for none.");
    } else if (is_slash_word(query)) {
        if (!is_word(query, "help") && !is_word(query, "?"))
            apus_log(APUS_LOG_WARN, "no command %s", query + strspn(query, " \t\r\n"));
        tell_words();
    } else {
        return false;
    }
    return true;
}

static apus_status answer(talk *t, const char *query)
{
    apusi_infer *f = t->f;
    apus_status st;

    APUS_FORWARD(add(t, "user", query));
    st = apusi_infer_answer(f, &t->answer, t->messages, t->n,
                            t->has_system ? t->system : f->o.system);
    if (st == APUS_ERR_ARG) { /* a text that does not fit: the talk goes on */
        apus_log(APUS_LOG_WARN, "%s; `clear` forgets what was said so far", apus_error_text());
        drop_last(t);
        return APUS_OK;
    }
    APUS_FORWARD(st);
    if (!t->answer.show)
        fputs(t->answer.text, stdout);
    printf("\n--------------------------------------------------\n");
    if (fflush(stdout) != 0)
        return apus_fail(APUS_ERR_IO, "infer: the answer could not be written");
    f->cancel.requested = 0; /* Ctrl-C stopped this answer only */
    if (f->o.result_path)
        APUS_FORWARD(apusi_result_add(f->o.result_path, &(apusi_result_row) {
                                                            .response = t->answer.text,
                                                            .messages = t->messages,
                                                            .n = t->n,
                                                        }));
    return add(t, "assistant", t->answer.text);
}

static void tell_end(const apusi_infer *f)
{
    const uint64_t read = f->prompt_tokens - f->reused_tokens;

    apus_log(APUS_LOG_INFO,
             "%" PRIu64 " answers: %" PRIu64 " tokens read (%.1f tokens/s), %" PRIu64
             " tokens reused, %" PRIu64 " tokens written (%.1f tokens/s)",
             f->answers, read, f->prefill_s > 0 ? (double)read / f->prefill_s : 0.0,
             f->reused_tokens, f->new_tokens,
             f->decode_s > 0 ? (double)f->new_tokens / f->decode_s : 0.0);
}

/* Ctrl-C at the prompt.  At a terminal it drops what was typed; where nothing was, it may have been
 * meant for an answer that has just ended, so that only a second one ends the talk. */
static apus_status interrupted(talk *t, bool dropped)
{
    const bool ask = apusi_line_edits(t->reader);

    if (ask)
        putchar('\n');
    t->interrupts = dropped ? 0 : t->interrupts + 1;
    if (!ask || t->interrupts > 1 || apusi_interrupt_is_final())
        return apus_fail(APUS_ERR_CANCELLED, "the conversation was interrupted");
    t->f->cancel.requested = 0;
    if (!dropped)
        apus_log(APUS_LOG_INFO, "Ctrl-C once more, or `exit`, ends the conversation.");
    return APUS_OK;
}

/* Until `exit`, the end of input, or Ctrl-C at the empty prompt. */
static apus_status converse(talk *t, apus_str *query)
{
    for (;;) {
        const apusi_line got = read_query(t, query);

        if (got == APUSI_LINE_INTERRUPTED || got == APUSI_LINE_DROPPED) {
            APUS_FORWARD(interrupted(t, got == APUSI_LINE_DROPPED));
            continue;
        }
        t->interrupts = 0;
        if (query->failed)
            return APUS_ERR_MEMORY;
        if (got == APUSI_LINE_END) {
            putchar('\n');
            return APUS_OK;
        }
        if (t->ask_system)
            APUS_FORWARD(set_system(t, query->data));
        else if (is_word(query->data, "exit") || is_word(query->data, "quit"))
            return APUS_OK;
        else if (query->data[strspn(query->data, " \t\r\n")] && !is_command(t, query->data))
            APUS_FORWARD(answer(t, query->data));
    }
}

apus_status apusi_infer_chat(apusi_infer *f)
{
    talk t = { .f = f };
    apus_str query = { 0 };
    apus_status st;

    const apus_generator_params p = apusi_infer_generator(f);

    APUS_TRY(apus_generator_create(&f->generator, f->model, &p));
    APUS_TRY(apusi_line_open(&t.reader));
    tell_words();
    st = converse(&t, &query);
    if (f->answers)
        tell_end(f);
fail:
    clear(&t);
    apus_free(t.messages);
    apus_free(t.system);
    apusi_line_close(&t.reader);
    apusi_answer_release(&t.answer);
    apus_str_release(&query);
    return st;
}
