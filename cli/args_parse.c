/* args_parse.c - from a command line, and the file of flags before it, to values.
 *
 * The syntax is argparse's as swift sets it up: "--a_b", "--a-b", "--a=b", a bare bool is true,
 * "--no_a" for a bool that is true by default, a list takes every word up to the next flag, and of
 * a repeated flag the last wins. */
#include <stdio.h>
#include <stdlib.h>

#include "base.h"
#include "cli_internal.h"

static bool ends_in(const char *word, const char *end)
{
    const size_t n = strlen(word), m = strlen(end);

    return n > m && !strcmp(word + n - m, end);
}

/* Words that begin with '-' are flags, but for "-", negative numbers and words with a space. */
static bool is_flag(const char *word)
{
    if (word[0] != '-' || !word[1] || strchr(word, ' '))
        return false;
    return !((word[1] >= '0' && word[1] <= '9') || (word[1] == '.' && word[2]));
}

static apus_status set(apusi_value *value, const char *const *words, size_t n)
{
    APUS_FORWARD(apusi_value_set(value, words, n));
    value->given = true;
    return APUS_OK;
}

/* Give a flag the words that follow it; *n_used of them are consumed. */
static apus_status give(const apusi_flag *flag, const char *word, const char *inlined,
                        char *const *words, size_t n_words, size_t *n_used)
{
    const char *const yes = "true", *const no = "false";
    apusi_value *value = flag->value;
    size_t n = 0;

    *n_used = 0;
    if (flag->negated) {
        if (inlined)
            return apus_fail(APUS_ERR_ARG, "%s takes no value", word);
        return set(value, &no, 1);
    }
    if (inlined)
        return set(value, &inlined, 1);
    while (n < n_words && !is_flag(words[n]))
        n++;
    if (n > 1 && value->row->type != APUS_ARG_STRINGS)
        n = 1;
    *n_used = n;
    if (!n && value->row->type == APUS_ARG_BOOL)
        return set(value, &yes, 1);
    if (!n)
        return apus_fail(APUS_ERR_ARG, "%s: expected %s after it", word,
                         value->row->type == APUS_ARG_STRINGS ? "one or more values" : "a value");
    return set(value, (const char *const *)words, n);
}

static apus_status take_bare(apus_args *args, const char *word)
{
    const char *positional = apus_cmd_of(args->cmd)->positional;
    apusi_value *value = positional ? apusi_args_find(args, positional) : NULL;

    if (!value || value->given)
        return apus_fail(APUS_ERR_ARG, "unexpected word %s; flags begin with --", word);
    return set(value, &word, 1);
}

static apus_status parse_words(apus_args *args, char *const *words, size_t n)
{
    for (size_t i = 0; i < n;) {
        apusi_flag flag;
        char *equals = strchr(words[i], '=');
        char *name;
        size_t n_used = 0;
        apus_status st;

        if (!is_flag(words[i])) {
            APUS_FORWARD(take_bare(args, words[i++]));
            continue;
        }
        name = equals ? apus_strndup(words[i], (size_t)(equals - words[i])) : apus_strdup(words[i]);
        if (!name)
            return APUS_ERR_MEMORY;
        st = apusi_flag_find(&flag, args, name);
        i++;
        if (st == APUS_OK)
            st = give(&flag, name, equals ? equals + 1 : NULL, words + i, n - i, &n_used);
        apus_free(name);
        if (st != APUS_OK)
            return st;
        i += n_used;
    }
    return APUS_OK;
}

/* A scalar of a file of flags as it would be typed; NULL without memory. */
static char *scalar_text(const cJSON *item)
{
    if (cJSON_IsString(item))
        return apus_strdup(item->valuestring);
    if (cJSON_IsBool(item))
        return apus_strdup(cJSON_IsTrue(item) ? "true" : "false");
    if (cJSON_IsNumber(item)) {
        const double x = item->valuedouble;

        if (x > -9e15 && x < 9e15 && x == (double)(int64_t)x)
            return apus_format("%lld", (long long)x);
        return apus_format("%.17g", x);
    }
    return apus_json_text(item, 0); /* an object is JSON text, as in swift */
}

/* Values are never taken for flags here, so a text that begins with '-' needs no care. */
static apus_status set_json(apusi_value *value, const cJSON *item)
{
    apus_status st = APUS_OK;
    const bool list = cJSON_IsArray(item);
    const size_t n = list ? (size_t)cJSON_GetArraySize(item) : 1;
    const cJSON *one = list ? item->child : item;
    char **words;

    if (list && value->row->type != APUS_ARG_STRINGS && n != 1)
        return apus_fail(APUS_ERR_ARG, "--%s: expected one value, not a list of %zu",
                         value->row->name, n);
    words = apus_calloc(n ? n : 1, sizeof(*words));
    if (!words)
        return APUS_ERR_MEMORY;
    for (size_t i = 0; i < n; i++, one = one->next) {
        words[i] = scalar_text(one);
        if (!words[i]) {
            st = APUS_ERR_MEMORY;
            goto fail;
        }
    }
    st = apusi_value_set(value, (const char *const *)words, n);

fail:
    for (size_t i = 0; i < n; i++)
        apus_free(words[i]);
    apus_free(words);
    return st;
}

static apus_status set_environment(const cJSON *env)
{
    for (const cJSON *item = env->child; item; item = item->next) {
        char *text = scalar_text(item);

        if (!text)
            return APUS_ERR_MEMORY;
        setenv(item->string, text, 0);
        apus_free(text);
    }
    return APUS_OK;
}

static apus_status parse_file(apus_args *args, const char *path)
{
    apus_status st;
    cJSON *file = NULL;

    APUS_TRY(apus_json_read(&file, path));
    if (!cJSON_IsObject(file)) {
        st = apus_fail(APUS_ERR_FORMAT, "%s: expected an object of flags", path);
        goto fail;
    }
    for (const cJSON *item = file->child; item; item = item->next) {
        apusi_flag flag;
        char word[128];

        if (!strcmp(item->string, "ENV:")) {
            APUS_TRY(set_environment(item));
            continue;
        }
        if (cJSON_IsNull(item))
            continue;
        snprintf(word, sizeof(word), "--%s", item->string);
        APUS_TRY(apusi_flag_find(&flag, args, word));
        if (flag.negated) {
            st = apus_fail(APUS_ERR_ARG, "%s: write \"%s\": false", path, flag.value->row->name);
            goto fail;
        }
        APUS_TRY(set_json(flag.value, item));
        flag.value->given = true;
    }
    st = APUS_OK;

fail:
    cJSON_Delete(file);
    return st;
}

apus_status apus_args_parse(apus_args **out, apus_cmd cmd, int argc, char **argv)
{
    apus_status st;
    apus_args *args = NULL;
    const char *first = argc > 0 ? argv[0] : "";
    int at = 0;

    *out = NULL;
    APUS_TRY(apusi_args_create(&args, cmd));
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            args->wants_help = true;
            *out = args;
            return APUS_OK;
        }
    }
    if (!is_flag(first) && !apus_cmd_of(cmd)->positional) {
        if (ends_in(first, ".yaml") || ends_in(first, ".yml")) {
            st = apus_fail(APUS_ERR_SUPPORT, "%s: YAML is not supported yet; use JSON", first);
            goto fail;
        }
        if (ends_in(first, ".json")) {
            APUS_TRY(parse_file(args, first));
            at = 1;
        }
    }
    APUS_TRY(parse_words(args, argv + at, (size_t)(argc - at)));
    *out = args;
    return APUS_OK;

fail:
    apus_args_destroy(&args);
    return st;
}

apus_status apus_args_adopt(apus_args *args, const cJSON *saved, const char *name)
{
    apusi_value *value = apusi_args_find(args, name);
    const cJSON *item = apus_json_get(saved, name);

    APUS_BUG_IF(!value);
    if (!item || value->given || apus_args_has(args, name))
        return APUS_OK;
    return set_json(value, item);
}
