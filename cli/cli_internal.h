/* cli_internal.h - what the files of this folder share about names, values and help. */
#ifndef APUSI_CLI_H
#define APUSI_CLI_H

#include <stdio.h>

#include "args.h"

typedef struct apusi_value {
    const apus_arg_row *row;
    bool set;
    bool given;
    bool on;       /* BOOL */
    int64_t whole; /* INT, UINT */
    double real;   /* FLOAT */
    char **texts;  /* STRING and CHOICE: one; STRINGS: any number */
    size_t n_texts;
} apusi_value;

struct apus_args {
    apus_cmd cmd;
    bool wants_help;
    apusi_value *values; /* the rows of the command, in the table's order */
    size_t n_values;
};

/* args.c */
apus_status apusi_args_create(apus_args **out, apus_cmd cmd);
apusi_value *apusi_args_find(apus_args *args, const char *name);

/* args_value.c */
/* Check and store n words; on failure the old value stays.  Errors: those of apus_args_set. */
apus_status apusi_value_set(apusi_value *value, const char *const *words, size_t n);
void apusi_value_release(apusi_value *value);
/* "a, b, c" out of limits "a|b|c;d", caller frees; NULL without memory. */
char *apusi_choices_text(const char *limits);

/* args_name.c */
/* Equal but for '-' and '_'. */
bool apusi_same_name(const char *a, const char *b);
/* Changes (insert, drop, replace, swap neighbours) that make b of a; '-' equals '_'. */
size_t apusi_edit_distance(const char *a, const char *b);
/* What a typed flag means for a command. */
typedef struct apusi_flag {
    apusi_value *value;
    bool negated; /* --no_flag */
} apusi_flag;
/* Find a flag by its word with the dashes ("--lora-rank", "-p"); a unique beginning will do.
 * Errors: APUS_ERR_ARG (unknown, ambiguous, of another command), APUS_ERR_SUPPORT (refused). */
apus_status apusi_flag_find(apusi_flag *out, apus_args *args, const char *word);
/* The command of a word.  Errors: APUS_ERR_ARG with a suggestion, APUS_ERR_SUPPORT. */
apus_status apusi_cmd_resolve(const char *word, apus_cmd *cmd);

/* cmds.c */
const char *apusi_cmd_name(apus_cmd cmd); /* as typed: web-ui */

/* cmd_help.c */
apus_status apusi_help_overview(FILE *to);
apus_status apusi_help_command(FILE *to, apus_cmd cmd, bool refused);

#endif
