/* The tables themselves: every flag of swift is known, rows are sound, no name stands twice. */
#include <stdio.h>

#include "args.h"
#include "cli_internal.h"
#include "file.h"
#include "harness.h"

/* Feed "command flag" lines of the list of swift's flags to `check`. */
static void each_swift_flag(void (*check)(apus_cmd cmd, const char *flag, size_t *n), size_t *n)
{
    char *text = NULL, *at;
    size_t bytes;

    REQUIRE_OK(apus_file_read(&text, &bytes, harness_fixture("cli/swift_flags.txt"), 1 << 20));
    at = text;
    while (*at) {
        char command[16], flag[64];
        apus_cmd cmd = APUS_CMD_COUNT;
        int used = 0;

        if (sscanf(at, "%15s %63s%n", command, flag, &used) != 2)
            break;
        at += used + 1;
        CHECK(apus_cmd_find(command, &cmd));
        check(cmd, flag, n);
    }
    apus_free(text);
}

static void check_known(apus_cmd cmd, const char *flag, size_t *n)
{
    apus_args *a = NULL;
    apusi_flag found;
    char word[80], same[96];
    apus_status st;

    REQUIRE_OK(apus_args_parse(&a, cmd, 0, NULL));
    snprintf(word, sizeof(word), "--%s", flag);
    snprintf(same, sizeof(same), "--%s: not supported yet", flag);
    st = apusi_flag_find(&found, a, word);
    if (st == APUS_OK)
        CHECK_EQ_STR(found.value->row->name, flag);
    else
        CHECK_FAILS(st, APUS_ERR_SUPPORT, same);
    apus_args_destroy(&a);
    n[cmd]++;
}

TEST(every_flag_of_swift_is_built_or_refused_by_name)
{
    size_t n[APUS_CMD_COUNT] = { 0 };

    each_swift_flag(check_known, n);
    CHECK_EQ_U64(n[APUS_CMD_sft], 333);
    CHECK_EQ_U64(n[APUS_CMD_infer], 153);
    CHECK_EQ_U64(n[APUS_CMD_export], 127);
}

TEST(a_name_has_one_row_for_a_command)
{
    size_t n, n_refused;
    const apus_arg_row *rows = apus_arg_rows(&n);
    const apus_arg_refused *refused = apus_arg_refused_rows(&n_refused);

    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            if (!strcmp(rows[i].name, rows[j].name) && (rows[i].commands & rows[j].commands))
                CHECK_EQ_STR(rows[i].name, "only once for a command");
        }
        for (size_t j = 0; j < n_refused; j++) {
            if (!strcmp(rows[i].name, refused[j].name) && (rows[i].commands & refused[j].commands))
                CHECK_EQ_STR(rows[i].name, "built or refused, not both");
        }
    }
    for (size_t i = 0; i + 1 < n_refused; i++)
        CHECK(strcmp(refused[i].name, refused[i + 1].name) != 0);
}

TEST(rows_are_sound)
{
    size_t n;
    const apus_arg_row *rows = apus_arg_rows(&n);

    for (size_t i = 0; i < n; i++) {
        const apus_arg_row *row = &rows[i];
        const bool number =
            row->type == APUS_ARG_INT || row->type == APUS_ARG_UINT || row->type == APUS_ARG_FLOAT;

        CHECK(row->commands != 0);
        CHECK(row->help && row->help[0]);
        if (row->state == APUS_ARG_BUILT &&
            !CHECK(row->test && (!strncmp(row->test, "cli.flags:", 10) ||
                                 !strcmp(row->test, "cli.program:topic") ||
                                 !strcmp(row->test, "cli.program:refused"))))
            CHECK_EQ_STR(row->name, "names its test");
        if (number && !CHECK(row->limits && strchr("[(", row->limits[0])))
            CHECK_EQ_STR(row->name, "has an interval");
        if (row->type == APUS_ARG_CHOICE && !CHECK(row->limits && row->limits[0]))
            CHECK_EQ_STR(row->name, "has choices");
        if (row->state == APUS_ARG_FIXED && !CHECK(row->or_else != NULL))
            CHECK_EQ_STR(row->name, "has the value that it is fixed to");
        for (const char *c = row->name; *c; c++)
            CHECK((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_');
    }
    /* Defaults pass their own limits: a parse of nothing sets them all. */
    for (int cmd = 0; cmd < APUS_CMD_COUNT; cmd++) {
        apus_args *a = NULL;

        CHECK_OK(apus_args_parse(&a, (apus_cmd)cmd, 0, NULL));
        apus_args_destroy(&a);
    }
}
