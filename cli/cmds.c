/* cmds.c - the table of commands and the way from a command line to an exit code. */
#include "cmds.h"

#include <stdio.h>

#include "args.h"
#include "base.h"
#include "cli_internal.h"
#include "console.h"
#include "str.h"
#include "trace.h"

#define RUN_BUILT(name) apus_cmd_##name
#define RUN_REFUSED(name) NULL
static const apus_cmd_row rows[APUS_CMD_COUNT] = {
#define X(name, state, positional, help) { #name, RUN_##state(name), positional, help },
#include "cmds.def"
#undef X
};

/* The names as typed: C's have '_' where ours have '-'. */
static const apus_cmd_row dashed[] = {
    [APUS_CMD_web_ui] = { "web-ui" },
    [APUS_CMD_merge_lora] = { "merge-lora" },
};

const apus_cmd_row *apus_cmd_of(apus_cmd cmd)
{
    return &rows[cmd];
}

const char *apusi_cmd_name(apus_cmd cmd)
{
    if ((size_t)cmd < APUS_COUNT(dashed) && dashed[cmd].name)
        return dashed[cmd].name;
    return rows[cmd].name;
}

bool apus_cmd_find(const char *name, apus_cmd *cmd)
{
    for (int i = 0; i < APUS_CMD_COUNT; i++) {
        if (apusi_same_name(name, rows[i].name)) {
            *cmd = (apus_cmd)i;
            return true;
        }
    }
    return false;
}

/* A word as a shell would need it, so that the echoed line can be pasted. */
static void add_quoted(apus_str *s, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "%+,-./:=@_#";

    if (word[0] && strspn(word, plain) == strlen(word)) {
        apus_str_add(s, word);
        return;
    }
    apus_str_add(s, "'");
    for (; *word; word++) {
        if (*word == '\'')
            apus_str_add(s, "'\\''");
        else
            apus_str_add_bytes(s, word, 1);
    }
    apus_str_add(s, "'");
}

/* swift's first line.  What only Apus has prints its result for programs too, so there the line
 * goes to stderr; the two commands that print a page have none. */
static void echo(apus_cmd cmd, int argc, char **argv)
{
    apus_str s = { 0 };
    const bool of_swift = cmd == APUS_CMD_sft || cmd == APUS_CMD_infer || cmd == APUS_CMD_export;
    FILE *to = of_swift ? stdout : stderr;

    if (cmd == APUS_CMD_help || cmd == APUS_CMD_env)
        return;
    apus_str_addf(&s, "run sh: `apus %s", apusi_cmd_name(cmd));
    for (int i = 0; i < argc; i++) {
        apus_str_add(&s, " ");
        add_quoted(&s, argv[i]);
    }
    apus_str_add(&s, "`\n");
    if (!s.failed)
        fputs(s.data, to);
    fflush(to);
    apus_str_release(&s);
}

static int usage_error(const char *prefix)
{
    fprintf(stderr, "%s: %s\n", prefix, apus_error_text());
    return 2;
}

/* The command between opening and closing the trace, which a command that failed has too. */
static apus_status run_traced(apus_cmd cmd, apus_args *args)
{
    apus_status st;

    if (cmd == APUS_CMD_help || cmd == APUS_CMD_env)
        return rows[cmd].run(args);
    APUS_FORWARD(apus_trace_open(NULL));
    st = rows[cmd].run(args);
    char *text = st != APUS_OK ? apus_strdup(apus_error_text()) : NULL;
    const apus_status closed = apus_trace_close();
    if (st == APUS_OK)
        return closed;
    if (closed != APUS_OK)
        apus_log(APUS_LOG_WARN, "%s", apus_error_text());
    if (text)
        apus_fail(st, "%s", text);
    apus_free(text);
    return st;
}

static int run(apus_cmd cmd, int argc, char **argv)
{
    apus_args *args = NULL;
    char prefix[64];
    apus_status st;

    snprintf(prefix, sizeof(prefix), "apus %s: error", apusi_cmd_name(cmd));
    st = apus_args_parse(&args, cmd, argc, argv);
    if (st == APUS_OK && apus_args_wants_help(args)) {
        apus_args_destroy(&args);
        return apusi_help_command(stdout, cmd, false) == APUS_OK ? 0 : 1;
    }
    echo(cmd, argc, argv);
    if (st != APUS_OK)
        return usage_error(prefix);
    apus_args_log_hints(args);
    st = run_traced(cmd, args);
    apus_console_close();
    if (st != APUS_OK) {
        const char *text = apus_error_text();

        fflush(stdout);
        fprintf(stderr, "%s: %s\n", prefix, text[0] ? text : apus_status_text(st));
    }
    apus_args_destroy(&args);
    if (st == APUS_ERR_CANCELLED)
        return 130;
    return st == APUS_OK ? 0 : st == APUS_ERR_ARG ? 2 : 1;
}

int apus_cli_main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    apus_cmd cmd;

    apus_console_open();
    if (!name)
        return apusi_help_overview(stderr) == APUS_OK ? 2 : 1;
    if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
        printf("apus %s\n", APUS_VERSION);
        return 0;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        return apusi_help_overview(stdout) == APUS_OK ? 0 : 1;
    if (apusi_cmd_resolve(name, &cmd) != APUS_OK)
        return usage_error("apus");
    return run(cmd, argc - 2, argv + 2);
}
