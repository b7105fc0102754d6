/* args.c - the tables of flags and the values of one command: reading and setting them. */
#include "args.h"

#include <inttypes.h>
#include <stdio.h>

#include "base.h"
#include "cli_internal.h"

/* The tables write ON(sft) for a command and name the groups that swift's classes make. */
#define ON(cmd) (1u << APUS_CMD_##cmd)
#define ON_TRAIN (ON(sft) | ON(pt) | ON(rlhf))
#define ON_SERVERS (ON(deploy) | ON(rollout) | ON(eval) | ON(app))
#define ON_ALL (ON_TRAIN | ON_SERVERS | ON(infer) | ON(export) | ON(sample))

static const apus_arg_row rows[] = {
#define X(name, alias, type, or_else, commands, state, test, limits, help)                         \
    { #name, alias, APUS_ARG_##type, or_else, commands, APUS_ARG_##state, test, limits, help },
#include "args.def"
#undef X
};

static const apus_arg_refused refused[] = {
#define X(name, commands) { #name, commands },
#include "args_refused.def"
#undef X
};

const apus_arg_row *apus_arg_rows(size_t *n)
{
    *n = APUS_COUNT(rows);
    return rows;
}

const apus_arg_refused *apus_arg_refused_rows(size_t *n)
{
    *n = APUS_COUNT(refused);
    return refused;
}

apus_status apusi_args_create(apus_args **out, apus_cmd cmd)
{
    apus_status st = APUS_ERR_MEMORY;
    apus_args *args = apus_alloc(sizeof(*args));

    *out = NULL;
    if (!args)
        return st;
    args->cmd = cmd;
    args->values = apus_calloc(APUS_COUNT(rows), sizeof(*args->values));
    if (!args->values)
        goto fail;
    for (size_t i = 0; i < APUS_COUNT(rows); i++) {
        const apus_arg_row *row = &rows[i];
        apusi_value *value = &args->values[args->n_values];
        const bool empty = row->type == APUS_ARG_STRINGS && row->or_else && !row->or_else[0];

        if (!(row->commands & (1u << cmd)))
            continue;
        value->row = row;
        args->n_values++;
        if (row->or_else)
            APUS_TRY(apusi_value_set(value, &row->or_else, empty ? 0 : 1));
    }
    *out = args;
    return APUS_OK;

fail:
    apus_args_destroy(&args);
    return st;
}

void apus_args_destroy(apus_args **args)
{
    if (!*args)
        return;
    for (size_t i = 0; i < (*args)->n_values; i++)
        apusi_value_release(&(*args)->values[i]);
    apus_free((*args)->values);
    apus_free(*args);
    *args = NULL;
}

apusi_value *apusi_args_find(apus_args *args, const char *name)
{
    for (size_t i = 0; i < args->n_values; i++) {
        if (apusi_same_name(args->values[i].row->name, name))
            return &args->values[i];
    }
    return NULL;
}

static const apusi_value *known(const apus_args *args, const char *name)
{
    for (size_t i = 0; i < args->n_values; i++) {
        if (!strcmp(args->values[i].row->name, name))
            return &args->values[i];
    }
    return NULL;
}

static const apusi_value *ask(const apus_args *args, const char *name, apus_arg_type type)
{
    const apusi_value *value = known(args, name);

    APUS_BUG_IF(!value);
    APUS_BUG_IF(value->row->type != type);
    return value;
}

apus_cmd apus_args_command(const apus_args *args)
{
    return args->cmd;
}

bool apus_args_wants_help(const apus_args *args)
{
    return args->wants_help;
}

bool apus_args_given(const apus_args *args, const char *name)
{
    const apusi_value *value = known(args, name);

    APUS_BUG_IF(!value);
    return value->given;
}

bool apus_args_has(const apus_args *args, const char *name)
{
    const apusi_value *value = known(args, name);

    APUS_BUG_IF(!value);
    return value->set && (value->row->type != APUS_ARG_STRINGS || value->n_texts > 0);
}

bool apus_args_bool(const apus_args *args, const char *name)
{
    return ask(args, name, APUS_ARG_BOOL)->on;
}

int64_t apus_args_int(const apus_args *args, const char *name)
{
    return ask(args, name, APUS_ARG_INT)->whole;
}

uint64_t apus_args_uint(const apus_args *args, const char *name)
{
    return (uint64_t)ask(args, name, APUS_ARG_UINT)->whole;
}

double apus_args_float(const apus_args *args, const char *name)
{
    return ask(args, name, APUS_ARG_FLOAT)->real;
}

const char *apus_args_text(const apus_args *args, const char *name)
{
    const apusi_value *value = known(args, name);

    APUS_BUG_IF(!value);
    APUS_BUG_IF(value->row->type != APUS_ARG_STRING && value->row->type != APUS_ARG_CHOICE);
    return value->n_texts ? value->texts[0] : NULL;
}

const char *const *apus_args_list(const apus_args *args, const char *name, size_t *n)
{
    const apusi_value *value = ask(args, name, APUS_ARG_STRINGS);

    *n = value->n_texts;
    return (const char *const *)value->texts;
}

apus_status apus_args_set_list(apus_args *args, const char *name, const char *const *texts,
                               size_t n)
{
    apusi_value *value = apusi_args_find(args, name);

    APUS_BUG_IF(!value);
    return apusi_value_set(value, texts, n);
}

apus_status apus_args_set(apus_args *args, const char *name, const char *text)
{
    return apus_args_set_list(args, name, &text, 1);
}

apus_status apus_args_set_uint(apus_args *args, const char *name, uint64_t number)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRIu64, number);
    return apus_args_set(args, name, text);
}

apus_status apus_args_set_float(apus_args *args, const char *name, double number)
{
    char text[64];

    snprintf(text, sizeof(text), "%.17g", number);
    return apus_args_set(args, name, text);
}

void apus_args_log_hints(const apus_args *args)
{
    for (size_t i = 0; i < args->n_values; i++) {
        const apusi_value *value = &args->values[i];

        if (value->given && value->row->state == APUS_ARG_HINT)
            apus_log(APUS_LOG_INFO, "--%s has no effect in Apus: %s", value->row->name,
                     value->row->help);
    }
}
