/* args.h - the flags of a command, by table (args.def).
 *
 * apus_args_parse() checks every flag against its row; the values are then asked for by name.  To
 * ask for a name that the command has no row for, or as another type, is a fault of the program.
 * A failure names the flag, the value and what is allowed. */
#ifndef APUS_CLI_ARGS_H
#define APUS_CLI_ARGS_H

#include "cmds.h"
#include "json.h"

typedef enum apus_arg_type {
    APUS_ARG_BOOL,
    APUS_ARG_INT,
    APUS_ARG_UINT,
    APUS_ARG_FLOAT,
    APUS_ARG_STRING,
    APUS_ARG_STRINGS,
    APUS_ARG_CHOICE
} apus_arg_type;

typedef enum apus_arg_state { APUS_ARG_BUILT, APUS_ARG_FIXED, APUS_ARG_HINT } apus_arg_state;

/* A row of args.def, which says what the fields mean. */
typedef struct apus_arg_row {
    const char *name;
    const char *alias;
    apus_arg_type type;
    const char *or_else;
    uint32_t commands; /* bit 1 << apus_cmd */
    apus_arg_state state;
    const char *test;
    const char *limits;
    const char *help;
} apus_arg_row;

/* A row of args_refused.def. */
typedef struct apus_arg_refused {
    const char *name;
    uint32_t commands;
} apus_arg_refused;

const apus_arg_row *apus_arg_rows(size_t *n);
const apus_arg_refused *apus_arg_refused_rows(size_t *n);

/* Parse what follows the command's name.  If the first word ends in ".json" and the command takes
 * no bare word, it is a file of flags (key: value, list or null), which the command line overrides;
 * its key "ENV:" holds environment variables, set where they are not set yet.
 * *out is NULL on failure.
 * Errors: APUS_ERR_ARG (unknown flag, bad value), APUS_ERR_SUPPORT (known and not supported yet),
 * APUS_ERR_MISSING, APUS_ERR_IO, APUS_ERR_FORMAT (the file), APUS_ERR_MEMORY. */
apus_status apus_args_parse(apus_args **out, apus_cmd cmd, int argc, char **argv);
void apus_args_destroy(apus_args **args);

apus_cmd apus_args_command(const apus_args *args);
/* --help or -h stood anywhere; no flag was looked at. */
bool apus_args_wants_help(const apus_args *args);
/* The value came from the command line or the file of flags. */
bool apus_args_given(const apus_args *args, const char *name);
/* There is a value: given, set by the program, or the row's default. */
bool apus_args_has(const apus_args *args, const char *name);

/* Values; a row without a value gives false, 0, NULL or an empty list.  Texts are borrowed until
 * the value is set again or args are destroyed. */
bool apus_args_bool(const apus_args *args, const char *name);
int64_t apus_args_int(const apus_args *args, const char *name);
uint64_t apus_args_uint(const apus_args *args, const char *name);
double apus_args_float(const apus_args *args, const char *name);
const char *apus_args_text(const apus_args *args, const char *name); /* STRING and CHOICE */
const char *const *apus_args_list(const apus_args *args, const char *name, size_t *n);

/* Put a value in force, checked like one that was typed; args.json then shows it.
 * Errors: APUS_ERR_ARG, APUS_ERR_SUPPORT, APUS_ERR_MEMORY. */
apus_status apus_args_set(apus_args *args, const char *name, const char *text);
apus_status apus_args_set_list(apus_args *args, const char *name, const char *const *texts,
                               size_t n);
apus_status apus_args_set_uint(apus_args *args, const char *name, uint64_t value);
apus_status apus_args_set_float(apus_args *args, const char *name, double value);

/* Take the named value from a saved args.json if it has one and none is in force here.
 * Errors: those of apus_args_set. */
apus_status apus_args_adopt(apus_args *args, const cJSON *saved, const char *name);

/* All rows of the command in the table's order with the values in force; null where there is none.
 * The caller frees *out with cJSON_Delete.  Errors: APUS_ERR_MEMORY. */
apus_status apus_args_json(cJSON **out, const apus_args *args);

/* One log line for each given flag that has no effect here. */
void apus_args_log_hints(const apus_args *args);

#endif
