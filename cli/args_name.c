/* args_name.c - from a typed word to a flag or a command: exact, by a unique beginning, or an error
 * that says what the word is instead or might have meant. */
#include "base.h"
#include "cli_internal.h"
#include "str.h"

enum { MOST_NAME = 64 }; /* longer words are compared by their beginning */

static char plain(char c)
{
    return c == '-' ? '_' : c;
}

bool apusi_same_name(const char *a, const char *b)
{
    while (*a && plain(*a) == plain(*b)) {
        a++;
        b++;
    }
    return plain(*a) == plain(*b);
}

static bool begins(const char *name, const char *with)
{
    while (*with && plain(*name) == plain(*with)) {
        name++;
        with++;
    }
    return !*with;
}

/* Optimal string alignment: three rows of the table of distances between beginnings. */
size_t apusi_edit_distance(const char *a, const char *b)
{
    size_t old[MOST_NAME + 1], last[MOST_NAME + 1], now[MOST_NAME + 1];
    const size_t n = strnlen(a, MOST_NAME), m = strnlen(b, MOST_NAME);

    for (size_t j = 0; j <= m; j++)
        last[j] = j;
    memcpy(old, last, sizeof(old));
    memcpy(now, last, sizeof(now));
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const bool same = plain(a[i - 1]) == plain(b[j - 1]);
            size_t best = last[j - 1] + (same ? 0 : 1);

            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && plain(a[i - 1]) == plain(b[j - 2]) &&
                plain(a[i - 2]) == plain(b[j - 1]) && old[j - 2] + 1 < best)
                best = old[j - 2] + 1;
            now[j] = best;
        }
        memcpy(old, last, sizeof(old));
        memcpy(last, now, sizeof(last));
    }
    return last[m];
}

/* The nearest of the names offered so far, if it is near enough to be meant. */
typedef struct nearest {
    const char *word;
    const char *name;
    size_t distance;
} nearest;

static void offer(nearest *n, const char *name)
{
    const size_t distance = apusi_edit_distance(n->word, name);
    const size_t most = strlen(name) < 6 ? 1 : strlen(name) < 12 ? 2 : 3;

    if (distance <= most && distance < n->distance) {
        n->name = name;
        n->distance = distance;
    }
}

static const char *alias_word(const apus_arg_row *row)
{
    return row->alias && !strncmp(row->alias, "--", 2) ? row->alias + 2 : NULL;
}

/* The name of a flag for another command only: say for which. */
static apus_status check_elsewhere(const apus_args *args, const char *word, const char *name)
{
    uint32_t commands = 0;
    size_t n;
    const apus_arg_row *rows = apus_arg_rows(&n);
    const apus_arg_refused *refused;

    for (size_t i = 0; i < n; i++) {
        if (apusi_same_name(rows[i].name, name))
            commands |= rows[i].commands;
    }
    refused = apus_arg_refused_rows(&n);
    for (size_t i = 0; i < n && !commands; i++) {
        if (apusi_same_name(refused[i].name, name))
            commands |= refused[i].commands;
    }
    for (int cmd = 0; cmd < APUS_CMD_COUNT; cmd++) {
        if (commands & (1u << cmd))
            return apus_fail(APUS_ERR_ARG, "%s is a flag of `apus %s`, not of `apus %s`", word,
                             apusi_cmd_name((apus_cmd)cmd), apusi_cmd_name(args->cmd));
    }
    return APUS_OK;
}

static apus_status unknown_flag(const apus_args *args, const char *word, const char *name)
{
    nearest best = { .word = name, .distance = SIZE_MAX };
    size_t n;
    const apus_arg_refused *refused = apus_arg_refused_rows(&n);

    for (size_t i = 0; i < args->n_values; i++) {
        offer(&best, args->values[i].row->name);
        if (alias_word(args->values[i].row))
            offer(&best, alias_word(args->values[i].row));
    }
    for (size_t i = 0; i < n; i++) {
        if (refused[i].commands & (1u << args->cmd))
            offer(&best, refused[i].name);
    }
    if (best.name)
        return apus_fail(APUS_ERR_ARG, "unknown flag %s; did you mean --%s?", word, best.name);
    return apus_fail(APUS_ERR_ARG, "unknown flag %s; `apus help %s` lists the flags", word,
                     apusi_cmd_name(args->cmd));
}

static apus_status refuse(const char *name)
{
    return apus_fail(APUS_ERR_SUPPORT, "--%s: not supported yet", name);
}

static bool exact(apusi_flag *out, apus_args *args, const char *word, const char *name)
{
    for (size_t i = 0; i < args->n_values; i++) {
        apusi_value *value = &args->values[i];

        if (apusi_same_name(value->row->name, name) ||
            (value->row->alias && apusi_same_name(value->row->alias, word))) {
            out->value = value;
            return true;
        }
    }
    if (!begins(name, "no_"))
        return false;
    out->value = apusi_args_find(args, name + 3);
    out->negated = out->value && out->value->row->type == APUS_ARG_BOOL &&
                   out->value->row->or_else && !strcmp(out->value->row->or_else, "true");
    return out->negated;
}

static void count(apus_str *names, size_t *n_found, const char *name)
{
    if (++*n_found <= 8)
        apus_str_addf(names, "%s--%s", *n_found > 1 ? ", " : "", name);
}

/* A beginning of exactly one name of the command stands for it; *n_found is how many it begins. */
static apus_status by_beginning(apusi_flag *out, const char **refused_name, size_t *n_found,
                                apus_args *args, const char *word, const char *name)
{
    apus_str names = { 0 };
    size_t n;
    const apus_arg_refused *refused = apus_arg_refused_rows(&n);
    apus_status st = APUS_OK;

    *n_found = 0;
    for (size_t i = 0; i < args->n_values && name[0]; i++) {
        const apus_arg_row *row = args->values[i].row;

        if (begins(row->name, name) || (alias_word(row) && begins(alias_word(row), name))) {
            out->value = &args->values[i];
            count(&names, n_found, row->name);
        }
    }
    for (size_t i = 0; i < n && name[0]; i++) {
        if ((refused[i].commands & (1u << args->cmd)) && begins(refused[i].name, name)) {
            *refused_name = refused[i].name;
            count(&names, n_found, refused[i].name);
        }
    }
    if (*n_found > 1)
        st = apus_fail(APUS_ERR_ARG, "%s may be %s%s", word, names.data ? names.data : "several",
                       *n_found > 8 ? ", ..." : "");
    apus_str_release(&names);
    return st;
}

apus_status apusi_flag_find(apusi_flag *out, apus_args *args, const char *word)
{
    const char *name = word + strspn(word, "-");
    const bool longer = !strncmp(word, "--", 2);
    const char *refused_name = NULL;
    size_t n, n_found;
    const apus_arg_refused *refused = apus_arg_refused_rows(&n);

    *out = (apusi_flag) { 0 };
    if (!longer) {
        for (size_t i = 0; i < args->n_values; i++) {
            const char *alias = args->values[i].row->alias;

            if (alias && !strcmp(alias, word)) {
                out->value = &args->values[i];
                return APUS_OK;
            }
        }
        return unknown_flag(args, word, name);
    }
    if (exact(out, args, word, name))
        return APUS_OK;
    for (size_t i = 0; i < n; i++) {
        if ((refused[i].commands & (1u << args->cmd)) && apusi_same_name(refused[i].name, name))
            return refuse(refused[i].name);
    }
    out->value = NULL;
    APUS_FORWARD(by_beginning(out, &refused_name, &n_found, args, word, name));
    if (n_found == 1)
        return out->value ? APUS_OK : refuse(refused_name);
    APUS_FORWARD(check_elsewhere(args, word, name));
    return unknown_flag(args, word, name);
}

/* Nothing is near the word, so name all there is. */
static apus_status list_commands(const char *word)
{
    apus_str names = { 0 };
    apus_status st;

    for (int i = 0; i < APUS_CMD_COUNT; i++) {
        if (apus_cmd_of((apus_cmd)i)->run)
            apus_str_addf(&names, "%s%s", names.len ? ", " : "", apusi_cmd_name((apus_cmd)i));
    }
    st = names.failed
             ? APUS_ERR_MEMORY
             : apus_fail(APUS_ERR_ARG, "no command %s; did you mean one of %s?", word, names.data);
    apus_str_release(&names);
    return st;
}

apus_status apusi_cmd_resolve(const char *word, apus_cmd *cmd)
{
    nearest best = { .word = word, .distance = SIZE_MAX };

    if (apus_cmd_find(word, cmd)) {
        if (apus_cmd_of(*cmd)->run)
            return APUS_OK;
        return apus_fail(APUS_ERR_SUPPORT, "%s: not supported yet (%s)", apusi_cmd_name(*cmd),
                         apus_cmd_of(*cmd)->help);
    }
    for (int i = 0; i < APUS_CMD_COUNT; i++)
        offer(&best, apus_cmd_of((apus_cmd)i)->name);
    if (best.name)
        return apus_fail(APUS_ERR_ARG, "no command %s; did you mean %s?", word, best.name);
    return list_commands(word);
}
