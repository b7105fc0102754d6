/* chat.c - `apus infer` in the terminal: questions from stdin, answers as they come. */
#include <stdio.h>

#include "base.h"
#include "infer.h"
#include "str.h"

typedef struct talk {
    apus_message *messages;
    size_t n, room;
    char *system; /* set by reset-system; NULL: that of the command line */
    bool multi_line;
} talk;

static apus_status add(talk *t, const char *role, const char *content)
{
    if (t->n == t->room) {
        apus_message *bigger = apus_realloc(t->messages, (t->room * 2 + 8) * sizeof(*bigger));
        if (!bigger)
            return APUS_ERR_MEMORY;
        t->messages = bigger;
        t->room = t->room * 2 + 8;
    }
    char *copy = apus_strdup(content);
    if (!copy)
        return APUS_ERR_MEMORY;
    t->messages[t->n++] = (apus_message) { .role = role, .content = copy };
    return APUS_OK;
}

static void clear(talk *t)
{
    while (t->n)
        apus_free((char *)(uintptr_t)t->messages[--t->n].content);
}

/* One line, or in multi-line mode lines up to one that ends in '#'.  False at the end of input. */
static bool read_query(talk *t, apus_str *out)
{
    char line[4096];

    apus_str_clear(out);
    fputs(t->multi_line ? "<<<[M] " : "<<< ", stdout);
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        const size_t n = strcspn(line, "\n");
        const bool whole = line[n] == '\n';
        apus_str_add_bytes(out, line, n);
        if (!whole)
            continue;
        if (!t->multi_line)
            return true;
        if (out->len && out->data[out->len - 1] == '#') {
            out->data[--out->len] = 0;
            return true;
        }
        apus_str_add(out, "\n");
    }
    return out->len > 0;
}

typedef enum command { NONE, DONE, AGAIN } command;

static command try_command(talk *t, const char *query)
{
    char line[4096];

    if (!strcmp(query, "exit") || !strcmp(query, "quit"))
        return DONE;
    if (!strcmp(query, "clear")) {
        clear(t);
        return AGAIN;
    }
    if (!strcmp(query, "multi-line") || !strcmp(query, "single-line")) {
        t->multi_line = query[0] == 'm';
        if (t->multi_line)
            puts("End multi-line input with `#`.");
        return AGAIN;
    }
    if (!strcmp(query, "reset-system")) {
        fputs("<<<[S] ", stdout);
        fflush(stdout);
        apus_free(t->system);
        t->system =
            fgets(line, sizeof(line), stdin) ? apus_strndup(line, strcspn(line, "\n")) : NULL;
        clear(t);
        return AGAIN;
    }
    return NONE;
}

static apus_status answer(apusi_infer *f, talk *t, const char *query)
{
    APUS_FORWARD(add(t, "user", query));
    f->cancel.requested = 0;
    f->show = f->o.stream;
    if (t->system)
        f->o.system = t->system;
    const apus_status st = apusi_infer_answer(f, t->messages, t->n);
    if (st != APUS_OK)
        return st;
    if (!f->show)
        fputs(f->text, stdout);
    printf("\n--------------------------------------------------\n");
    apus_log(APUS_LOG_INFO,
             "%u + %u tokens (%u reused), prefill %.1f tokens/s, decode %.1f tokens/s",
             f->last.prompt_tokens, f->last.new_tokens, f->last.reused,
             (f->last.prompt_tokens - f->last.reused) / (f->last.prefill_s + 1e-9),
             f->last.new_tokens / (f->last.decode_s + 1e-9));
    return add(t, "assistant", f->text);
}

apus_status apusi_infer_chat(apusi_infer *f)
{
    talk t = { 0 };
    apus_str query = { 0 };
    apus_status st = APUS_OK;

    puts("Input `exit` or `quit` to exit the conversation.\n"
         "Input `multi-line` to switch to multi-line input mode.\n"
         "Input `reset-system` to reset the system and clear the history.\n"
         "Input `clear` to clear the history.");
    while (read_query(&t, &query) && !query.failed) {
        const command c = query.data ? try_command(&t, query.data) : AGAIN;
        if (c == DONE)
            break;
        if (c == NONE && query.len)
            APUS_TRY(answer(f, &t, query.data));
    }
fail:
    clear(&t);
    apus_free(t.messages);
    apus_free(t.system);
    apus_str_release(&query);
    return st;
}
