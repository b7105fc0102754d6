/* json.c - parsing by cJSON after a strict scan, and access to members. */
#include "json.h"

#include <errno.h>
#include <math.h>
#include <threads.h>

#include "base_internal.h"
#include "file.h"

#define FILE_MOST ((uint64_t)1 << 30)

static once_flag hooks_once = ONCE_FLAG_INIT;
static _Thread_local uint64_t failures_before; /* at apus_json_begin */

static void set_hooks(void)
{
    cJSON_Hooks hooks = { apus_alloc, apus_free };

    cJSON_InitHooks(&hooks);
}

/* Line and column of a byte, from 1; columns count characters. */
static void find_place(const char *text, size_t at, size_t *line, size_t *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            ++*column;
        }
    }
}

/* Give each number the kind that the scan noted, and a large integer its digits (valuestring, which
 * cJSON_Delete frees).  `kinds` and `digits` walk along the numbers of the tree. */
static bool mark_numbers(cJSON *value, const char **kinds, const char **digits)
{
    for (; value; value = value->next) {
        if (cJSON_IsNumber(value)) {
            const char kind = *(*kinds)++;
            if (kind == 'b') {
                value->valuestring = apus_strdup(*digits);
                if (!value->valuestring)
                    return false;
                *digits += strlen(*digits) + 1;
            } else if (kind != 'i')
                value->type |= APUSI_JSON_FLOAT;
            if (kind == 'n')
                value->valuedouble = (double)NAN;
            else if (kind == 'p' || kind == 'm')
                value->valuedouble = kind == 'p' ? HUGE_VAL : -HUGE_VAL;
        }
        if (!mark_numbers(value->child, kinds, digits))
            return false;
    }
    return true;
}

apus_status apus_json_parse(cJSON **out, const char *text, size_t bytes, const char *where)
{
    apus_status st = APUS_OK;
    apusi_json_notes notes;

    *out = NULL;
    call_once(&hooks_once, set_hooks);
    if (!apusi_json_scan(&notes, text, bytes)) {
        size_t line, column;
        st = APUS_ERR_MEMORY;
        if (notes.wrong) {
            find_place(text, notes.wrong_at, &line, &column);
            st = apus_fail(APUS_ERR_FORMAT, "%s: line %zu, column %zu: %s", where, line, column,
                           notes.wrong);
        }
    } else {
        const char *from = notes.patched.len ? notes.patched.data : text;
        const char *kinds = notes.numbers.data, *digits = notes.digits.data;
        *out = cJSON_ParseWithLengthOpts(from, bytes, NULL, false);
        /* The grammar is checked, so that only memory can be missing here. */
        if (!*out)
            st = APUS_ERR_MEMORY;
        else if (notes.odd && !mark_numbers(*out, &kinds, &digits)) {
            cJSON_Delete(*out);
            *out = NULL;
            st = APUS_ERR_MEMORY;
        }
    }
    apus_str_release(&notes.numbers);
    apus_str_release(&notes.digits);
    apus_str_release(&notes.patched);
    return st;
}

apus_status apus_json_read(cJSON **out, const char *path)
{
    char *text;
    size_t bytes;

    *out = NULL;
    APUS_FORWARD(apus_file_read(&text, &bytes, path, FILE_MOST));
    const apus_status st = apus_json_parse(out, text, bytes, path);
    apus_free(text);
    return st;
}

void apus_json_begin(void)
{
    call_once(&hooks_once, set_hooks);
    failures_before = apus_memory_failures();
}

apus_status apus_json_write(const cJSON *value, const char *folder, const char *name)
{
    char *path = apus_path_join(folder, name), *text = value ? apus_json_text(value, 2) : NULL;
    apus_status st = APUS_ERR_MEMORY;

    if (path && text && apus_memory_failures() == failures_before)
        st = apus_file_write(path, text, strlen(text));
    apus_free(path);
    apus_free(text);
    return st;
}

const cJSON *apus_json_get(const cJSON *object, const char *key)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, key);

    return member && !cJSON_IsNull(member) ? member : NULL;
}

const char *apus_json_string(const cJSON *object, const char *key, const char *or_else)
{
    const cJSON *member = apus_json_get(object, key);

    return cJSON_IsString(member) ? member->valuestring : or_else;
}

double apus_json_number(const cJSON *object, const char *key, double or_else)
{
    const cJSON *member = apus_json_get(object, key);

    return cJSON_IsNumber(member) ? member->valuedouble : or_else;
}

bool apus_json_bool(const cJSON *object, const char *key, bool or_else)
{
    const cJSON *member = apus_json_get(object, key);

    return cJSON_IsBool(member) ? (bool)cJSON_IsTrue(member) : or_else;
}

/* The number as 64 bits; false for a fraction, a negative or a larger one, or no number. */
static bool whole_number(const cJSON *number, uint64_t *out)
{
    const double value = cJSON_IsNumber(number) ? number->valuedouble : -1.0;

    if (!(value >= 0.0 && value <= 0x1p64) || value != floor(value))
        return false;
    if (number->valuestring) { /* more digits than a double holds */
        errno = 0;
        *out = strtoull(number->valuestring, NULL, 10);
        return errno == 0;
    }
    if (value == 0x1p64)
        return false;
    *out = (uint64_t)value;
    return true;
}

apus_status apus_json_u64(const cJSON *object, const char *key, uint64_t least, uint64_t most,
                          uint64_t *out)
{
    const cJSON *member = apus_json_get(object, key);
    uint64_t value;

    if (!member)
        return apus_fail(APUS_ERR_FORMAT, "\"%s\" is missing", key);
    if (!whole_number(member, &value) || value < least || value > most)
        return apus_fail(APUS_ERR_FORMAT, "\"%s\" is not a whole number from %llu to %llu", key,
                         (unsigned long long)least, (unsigned long long)most);
    *out = value;
    return APUS_OK;
}

bool apus_json_add_float(cJSON *to, const char *key, double value)
{
    call_once(&hooks_once, set_hooks);
    cJSON *item = cJSON_CreateNumber(value);

    if (!item)
        return false;
    item->type |= APUSI_JSON_FLOAT;
    if (key ? cJSON_AddItemToObject(to, key, item) : cJSON_AddItemToArray(to, item))
        return true;
    cJSON_Delete(item);
    return false;
}
