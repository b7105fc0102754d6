/* cmd_help.c - `apus help`: every text is made from cmds.def and args.def. */
#include <stdio.h>

#include "args.h"
#include "base.h"
#include "cli_internal.h"
#include "str.h"

enum { COLUMNS = 96, INDENT = 32 };

static apus_status finish(FILE *to, apus_str *s)
{
    const bool ok = !s->failed && fputs(s->data ? s->data : "", to) >= 0 && fflush(to) == 0;

    apus_str_release(s);
    return ok ? APUS_OK : apus_fail(APUS_ERR_IO, "help: the text could not be written");
}

apus_status apusi_help_overview(FILE *to)
{
    apus_str s = { 0 };

    apus_str_addf(&s, "apus %s - train and run language models on any GPU with a Vulkan driver\n\n",
                  APUS_VERSION);
    apus_str_add(&s, "usage: apus COMMAND [FLAGS.json] [--flag value ...]\n\n");
    for (int i = 0; i < APUS_CMD_COUNT; i++) {
        const apus_cmd_row *row = apus_cmd_of((apus_cmd)i);

        if (row->run)
            apus_str_addf(&s, "  %-10s %s\n", apusi_cmd_name((apus_cmd)i), row->help);
    }
    apus_str_add(&s, "\nknown and not supported yet:");
    for (int i = 0; i < APUS_CMD_COUNT; i++) {
        if (!apus_cmd_of((apus_cmd)i)->run)
            apus_str_addf(&s, " %s", apusi_cmd_name((apus_cmd)i));
    }
    apus_str_add(&s, "\n\n`apus help COMMAND` lists the flags of a command.\n");
    return finish(to, &s);
}

/* Words from column `indent` on, wrapped; `at` is the column where the line stands. */
static void add_wrapped(apus_str *s, const char *text, size_t indent, size_t at)
{
    while (*text) {
        const size_t n = strcspn(text, " ");

        if (at > indent && at + 1 + n > COLUMNS) {
            apus_str_addf(s, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            apus_str_add(s, " ");
            at++;
        }
        apus_str_add_bytes(s, text, n);
        at += n;
        text += n + strspn(text + n, " ");
    }
}

static const char *value_word(const apus_arg_row *row)
{
    switch (row->type) {
    case APUS_ARG_BOOL:
        return "BOOL";
    case APUS_ARG_INT:
    case APUS_ARG_UINT:
        return "N";
    case APUS_ARG_FLOAT:
        return "X";
    case APUS_ARG_STRINGS:
        return "TEXT ...";
    default:
        return "TEXT";
    }
}

static void add_row(apus_str *s, const apus_arg_row *row)
{
    apus_str left = { 0 }, right = { 0 };

    apus_str_addf(&left, "  --%s%s%s %s", row->name, row->alias ? ", " : "",
                  row->alias ? row->alias : "", value_word(row));
    apus_str_add(&right, row->help);
    if (row->limits && strchr("[(", row->limits[0])) {
        /* Without its space, so that an interval is not wrapped. */
        const char *rest = strchr(row->limits, ' ');

        apus_str_add(&right, "; in ");
        apus_str_add_bytes(&right, row->limits, (size_t)(rest - row->limits));
        apus_str_add(&right, rest + 1);
    } else if (row->limits) {
        char *choices = apusi_choices_text(row->limits);

        apus_str_addf(&right, "; one of: %s", choices ? choices : row->limits);
        apus_free(choices);
    }
    if (row->or_else && row->or_else[0])
        apus_str_addf(&right, " (default %s)", row->or_else);
    if (left.failed || right.failed) {
        s->failed = true;
    } else {
        apus_str_add(s, left.data);
        if (left.len + 1 > INDENT)
            apus_str_addf(s, "\n%*s", INDENT, "");
        else
            apus_str_addf(s, "%*s", (int)(INDENT - left.len), "");
        add_wrapped(s, right.data, INDENT, INDENT);
        apus_str_add(s, "\n");
    }
    apus_str_release(&left);
    apus_str_release(&right);
}

static void add_section(apus_str *s, apus_cmd cmd, apus_arg_state state, const char *title)
{
    size_t n;
    const apus_arg_row *rows = apus_arg_rows(&n);
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        if (!(rows[i].commands & (1u << cmd)) || rows[i].state != state)
            continue;
        if (!any)
            apus_str_addf(s, "\n%s\n", title);
        any = true;
        add_row(s, &rows[i]);
    }
}

static void add_refused(apus_str *s, apus_cmd cmd, bool all)
{
    size_t n, n_here = 0;
    const apus_arg_refused *rows = apus_arg_refused_rows(&n);
    apus_str names = { 0 };

    for (size_t i = 0; i < n; i++) {
        if (rows[i].commands & (1u << cmd)) {
            apus_str_addf(&names, "%s--%s", n_here ? " " : "", rows[i].name);
            n_here++;
        }
    }
    if (n_here)
        apus_str_addf(s, "\n%zu more flags of `swift %s` are known and not supported yet", n_here,
                      apusi_cmd_name(cmd));
    if (n_here && !all)
        apus_str_addf(s, "; `apus help %s --refused` lists them.\n", apusi_cmd_name(cmd));
    if (n_here && all && names.data) {
        apus_str_add(s, ":\n  ");
        add_wrapped(s, names.data, 2, 2);
        apus_str_add(s, "\n");
    }
    s->failed = s->failed || names.failed;
    apus_str_release(&names);
}

apus_status apusi_help_command(FILE *to, apus_cmd cmd, bool refused)
{
    apus_str s = { 0 };
    const apus_cmd_row *row = apus_cmd_of(cmd);

    apus_str_addf(&s, "apus %s - %s\n\n", apusi_cmd_name(cmd), row->help);
    if (!row->run) {
        apus_str_add(&s, "Not supported yet.\n");
        return finish(to, &s);
    }
    apus_str_addf(&s, "usage: apus %s %s\n", apusi_cmd_name(cmd),
                  cmd == APUS_CMD_inspect ? "MODEL [--flag value ...]"
                  : cmd == APUS_CMD_help  ? "[COMMAND] [--refused]"
                                          : "[FLAGS.json] [--flag value ...]");
    add_section(&s, cmd, APUS_ARG_BUILT, "flags:");
    add_section(&s, cmd, APUS_ARG_FIXED, "taken with the value that holds anyway, else refused:");
    add_section(&s, cmd, APUS_ARG_HINT, "taken and without effect here:");
    add_refused(&s, cmd, refused);
    return finish(to, &s);
}

apus_status apus_cmd_help(apus_args *args)
{
    const char *topic = apus_args_text(args, "topic");
    apus_cmd cmd;

    if (!topic)
        return apusi_help_overview(stdout);
    if (!apus_cmd_find(topic, &cmd))
        return apusi_cmd_resolve(topic, &cmd);
    return apusi_help_command(stdout, cmd, apus_args_bool(args, "refused"));
}
