/* line.c - lines that a person types, by libedit where stdin and stdout are a terminal. */
#include "line.h"

#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <wchar.h>

#include "os_terminal.h"

struct apusi_line_reader {
    EditLine *edit; /* NULL: plain lines */
    History *history;
    const char *prompt;
    const apus_cancel *cancel;
};

static char *prompt_of(EditLine *edit)
{
    apusi_line_reader *r = NULL;

    el_get(edit, EL_CLIENTDATA, &r);
    return (char *)(uintptr_t)(r && r->prompt ? r->prompt : ""); /* libedit does not write to it */
}

/* A character for libedit, whose own reader waits on after a signal. */
static int read_character(EditLine *edit, wchar_t *out)
{
    apusi_line_reader *r = NULL;
    mbstate_t state = { 0 };
    char byte;

    el_get(edit, EL_CLIENTDATA, &r);
    for (;;) {
        const int n = apusi_terminal_read(&byte, r->cancel);
        size_t used;

        if (n != 1)
            return n;
        used = mbrtowc(out, &byte, 1, &state);
        if (used == (size_t)-1)
            *out = L'?'; /* no character of the user's encoding */
        if (used != (size_t)-2)
            return 1;
    }
}

static apus_status open_edit(apusi_line_reader *r)
{
    HistEvent event;

    setlocale(LC_CTYPE, ""); /* libedit reads characters by the user's encoding */
    r->edit = el_init("apus", stdin, stdout, stderr);
    r->history = history_init();
    if (!r->edit || !r->history)
        return apus_fail(APUS_ERR_MEMORY, "the line editor: out of memory");
    history(r->history, &event, H_SETSIZE, 500);
    history(r->history, &event, H_SETUNIQUE, 1);
    el_set(r->edit, EL_CLIENTDATA, r);
    el_set(r->edit, EL_PROMPT, prompt_of);
    el_set(r->edit, EL_GETCFN, read_character);
    el_set(r->edit, EL_EDITOR, "emacs");
    el_set(r->edit, EL_HIST, history, r->history);
    el_source(r->edit, NULL); /* the user's ~/.editrc */
    return APUS_OK;
}

apus_status apusi_line_open(apusi_line_reader **out)
{
    apusi_line_reader *r = apus_alloc(sizeof(*r));
    apus_status st = r ? APUS_OK : APUS_ERR_MEMORY;

    if (r && apusi_is_terminal(stdin) && apusi_is_terminal(stdout))
        st = open_edit(r);
    if (st != APUS_OK)
        apusi_line_close(&r);
    *out = r;
    return st;
}

void apusi_line_close(apusi_line_reader **reader)
{
    apusi_line_reader *r = *reader;

    if (!r)
        return;
    if (r->edit)
        el_end(r->edit);
    if (r->history)
        history_end(r->history);
    apus_free(r);
    *reader = NULL;
}

bool apusi_line_edits(const apusi_line_reader *reader)
{
    return reader->edit != NULL;
}

static apusi_line read_edited(apusi_line_reader *r, apus_str *out, const apus_cancel *cancel)
{
    HistEvent event;
    int n = 0;
    const char *line;

    /* Before the prompt is shown: Ctrl-D typed at once would end a line, not the talk. */
    el_set(r->edit, EL_PREP_TERM, 1);
    line = el_gets(r->edit, &n);

    if (!line || n <= 0) {
        const LineInfoW *typed = el_wline(r->edit);
        const bool empty = typed->lastchar == typed->buffer;

        if (!cancel->requested)
            return APUSI_LINE_END;
        el_reset(r->edit);
        return empty ? APUSI_LINE_INTERRUPTED : APUSI_LINE_DROPPED;
    }
    if (line[0] != '\n')
        history(r->history, &event, H_ENTER, line);
    apus_str_add_bytes(out, line, strcspn(line, "\n"));
    return APUSI_LINE_READ;
}

static apusi_line read_plain(const char *prompt, apus_str *out, const apus_cancel *cancel)
{
    int c = EOF, n = 0;

    fputs(prompt, stdout);
    fflush(stdout);
    while ((c = getc(stdin)) != EOF && c != '\n') {
        const char byte = (char)c;

        if (byte) /* a NUL would cut the text short */
            apus_str_add_bytes(out, &byte, 1);
        n++;
    }
    if (cancel->requested)
        return APUSI_LINE_INTERRUPTED;
    return c == EOF && !n ? APUSI_LINE_END : APUSI_LINE_READ;
}

apusi_line apusi_line_read(apusi_line_reader *reader, const char *prompt, apus_str *out,
                           const apus_cancel *cancel)
{
    apus_str_add(out, ""); /* an empty line is a text too */
    reader->prompt = prompt;
    reader->cancel = cancel;
    return reader->edit ? read_edited(reader, out, cancel) : read_plain(prompt, out, cancel);
}
