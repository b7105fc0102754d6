/* tuned.c - tables of measured choices, and their file.  See tuned.h. */
#include "tuned.h"

#include <math.h>
#include <stdio.h>

#include "choice.h"
#include "env.h"
#include "file.h"
#include "rng.h"

#define FORMAT "apus tune"
#define VERSION 1
#define MOST_BYTES (4u << 20)

/* ---- the table ---- */

apus_status apus_tuned_create(apus_tuned **out)
{
    *out = apus_alloc(sizeof(**out));
    return *out ? APUS_OK : APUS_ERR_MEMORY;
}

static void row_release(apus_tuned_row *row)
{
    apus_free(row->problem);
    apus_free(row->choice);
    apus_free(row->or_else);
}

void apus_tuned_destroy(apus_tuned **tuned)
{
    apus_tuned *t = *tuned;

    if (!t)
        return;
    for (uint32_t i = 0; i < t->n; i++)
        row_release(&t->rows[i]);
    apus_free(t->rows);
    apus_free(t);
    *tuned = NULL;
}

static int compare(const apus_tuned_row *row, const char *problem, apus_narrow narrow)
{
    const int order = strcmp(row->problem, problem);

    return order ? order : (int)row->narrow - (int)narrow;
}

/* Where the problem stands, or belongs. */
static uint32_t place_of(const apus_tuned *t, const char *problem, apus_narrow narrow)
{
    uint32_t low = 0, high = t->n;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;

        if (compare(&t->rows[middle], problem, narrow) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const apus_tuned_row *apus_tuned_find(const apus_tuned *t, const char *problem, apus_narrow narrow)
{
    const uint32_t at = t ? place_of(t, problem, narrow) : 0;

    return t && at < t->n && compare(&t->rows[at], problem, narrow) == 0 ? &t->rows[at] : NULL;
}

apus_status apus_tuned_add(apus_tuned *t, const apus_tuned_row *row)
{
    const uint32_t at = place_of(t, row->problem, row->narrow);
    apus_tuned_row own = *row;

    own.problem = apus_strdup(row->problem);
    own.choice = apus_strdup(row->choice);
    own.or_else = apus_strdup(row->or_else);
    apus_status st = own.problem && own.choice && own.or_else ? APUS_OK : APUS_ERR_MEMORY;
    if (st == APUS_OK && apus_tuned_find(t, row->problem, row->narrow)) {
        row_release(&t->rows[at]);
        t->rows[at] = own;
        return APUS_OK;
    }
    if (st == APUS_OK && t->n == APUS_TUNED_MOST)
        st = apus_fail(APUS_ERR_SUPPORT, "a tune file of more than %d problems", APUS_TUNED_MOST);
    if (st == APUS_OK)
        st = apus_grow(&t->rows, t->n, 1, &t->room, sizeof(own));
    if (st != APUS_OK) {
        row_release(&own);
        return st;
    }
    memmove(&t->rows[at + 1], &t->rows[at], (t->n - at) * sizeof(own));
    t->rows[at] = own;
    t->n++;
    return APUS_OK;
}

uint64_t apus_tuned_hash(const apus_tuned *t)
{
    uint64_t hash = APUS_HASH_SEED;

    for (uint32_t i = 0; t && i < t->n; i++) {
        const apus_tuned_row *row = &t->rows[i];
        const uint8_t narrow = row->narrow;

        hash = apus_hash(row->problem, strlen(row->problem) + 1, hash);
        hash = apus_hash(&narrow, 1, hash);
        hash = apus_hash(row->choice, strlen(row->choice) + 1, hash);
    }
    return t ? hash : 0;
}

unsigned apus_tuned_bits(apus_narrow narrow)
{
    return 32u >> narrow;
}

/* ---- as JSON ---- */

static void uuid_text(char out[33], const apus_caps *caps)
{
    for (int i = 0; i < 16; i++)
        snprintf(out + 2 * i, 3, "%02x", caps->uuid[i]);
}

static void hex_text(char out[17], uint64_t value)
{
    snprintf(out, 17, "%016llx", (unsigned long long)value);
}

static cJSON *row_json(const apus_tuned_row *row)
{
    cJSON *o = cJSON_CreateObject();

    cJSON_AddStringToObject(o, "problem", row->problem);
    cJSON_AddNumberToObject(o, "bits", apus_tuned_bits(row->narrow));
    cJSON_AddStringToObject(o, "choice", row->choice);
    cJSON_AddNumberToObject(o, "ns", floor(row->ns + 0.5));
    cJSON_AddStringToObject(o, "default", row->or_else);
    cJSON_AddNumberToObject(o, "default_ns", floor(row->or_else_ns + 0.5));
    return o;
}

cJSON *apus_tuned_json(const apus_tuned *t, const apus_caps *caps)
{
    cJSON *o = cJSON_CreateObject(), *rows;
    char text[33];

    cJSON_AddStringToObject(o, "format", FORMAT);
    cJSON_AddNumberToObject(o, "version", VERSION);
    cJSON_AddStringToObject(o, "device", caps->name);
    cJSON_AddStringToObject(o, "driver", caps->driver);
    uuid_text(text, caps);
    cJSON_AddStringToObject(o, "uuid", text);
    cJSON_AddNumberToObject(o, "driver_version", caps->driver_version);
    hex_text(text, apus_kernels_hash());
    cJSON_AddStringToObject(o, "shaders", text);
    rows = cJSON_AddArrayToObject(o, "rows");
    for (uint32_t i = 0; i < t->n; i++)
        cJSON_AddItemToArray(rows, row_json(&t->rows[i]));
    hex_text(text, apus_tuned_hash(t));
    cJSON_AddStringToObject(o, "hash", text);
    return o;
}

/* Why the file is not for this device and build, or NULL. */
static const char *differs(const cJSON *json, const apus_caps *caps)
{
    char uuid[33], shaders[17];

    uuid_text(uuid, caps);
    hex_text(shaders, apus_kernels_hash());
    if (strcmp(apus_json_string(json, "uuid", ""), uuid) ||
        strcmp(apus_json_string(json, "device", ""), caps->name))
        return "it is of another device";
    if (strcmp(apus_json_string(json, "driver", ""), caps->driver) ||
        apus_json_number(json, "driver_version", -1) != (double)caps->driver_version)
        return "it is of another version of the driver";
    if (strcmp(apus_json_string(json, "shaders", ""), shaders))
        return "it is of a build with other shaders";
    return NULL;
}

static bool is_problem(const char *text)
{
    const size_t n = strlen(text);

    for (size_t i = 0; i < n; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return n > 0 && n < APUS_PROBLEM_ROOM;
}

static bool is_time(double ns)
{
    return ns > 0 && ns < 1e15;
}

static bool read_bits(const cJSON *json, apus_narrow *out)
{
    const double bits = apus_json_number(json, "bits", 0);

    while (*out < APUS_NARROW_8 && bits != (double)apus_tuned_bits(*out))
        ++*out;
    return bits == (double)apus_tuned_bits(*out);
}

static apus_status read_row(apus_tuned *t, const cJSON *json, uint32_t i, const char *where)
{
    const char *problem = apus_json_string(json, "problem", NULL),
               *choice = apus_json_string(json, "choice", NULL),
               *or_else = apus_json_string(json, "default", NULL), *wrong = NULL;
    apus_narrow narrow = APUS_NARROW_NOT;
    const double ns = apus_json_number(json, "ns", 0),
                 or_else_ns = apus_json_number(json, "default_ns", 0);
    size_t name;

    if (!problem || !is_problem(problem))
        wrong = "\"problem\" is no line of text";
    else if (!read_bits(json, &narrow))
        wrong = "\"bits\" is neither 32 nor 16 nor 8";
    else if (!choice || !apus_choice_is_text(choice, strlen(choice), &name))
        wrong = "\"choice\" is no algorithm, such as cpu or cpu/64x1";
    else if (!or_else || !apus_choice_is_text(or_else, strlen(or_else), &name))
        wrong = "\"default\" is no algorithm, such as cpu or cpu/64x1";
    else if (!is_time(ns) || !is_time(or_else_ns))
        wrong = "\"ns\" and \"default_ns\" are no times in nanoseconds";
    else if (apus_tuned_find(t, problem, narrow))
        wrong = "the problem stands there twice";
    if (wrong)
        return apus_fail(APUS_ERR_FORMAT, "%s: row %u: %s", where, i + 1, wrong);
    return apus_tuned_add(t, &(apus_tuned_row) { .problem = (char *)(uintptr_t)problem,
                                                 .narrow = narrow,
                                                 .choice = (char *)(uintptr_t)choice,
                                                 .ns = ns,
                                                 .or_else = (char *)(uintptr_t)or_else,
                                                 .or_else_ns = or_else_ns });
}

static apus_status read_rows(apus_tuned *t, const cJSON *json, const char *where)
{
    const cJSON *rows = apus_json_get(json, "rows"), *row;
    uint32_t i = 0;
    char hash[17];

    if (!cJSON_IsArray(rows))
        return apus_fail(APUS_ERR_FORMAT, "%s: \"rows\" is no list", where);
    cJSON_ArrayForEach(row, rows)
    {
        if (i == APUS_TUNED_MOST)
            return apus_fail(APUS_ERR_FORMAT, "%s: more than %d rows", where, APUS_TUNED_MOST);
        APUS_FORWARD(read_row(t, row, i++, where));
    }
    hex_text(hash, apus_tuned_hash(t));
    if (strcmp(apus_json_string(json, "hash", ""), hash))
        return apus_fail(APUS_ERR_FORMAT,
                         "%s: the hash of its rows is %s, not what it says (%.40s); it was changed "
                         "by hand, or is damaged",
                         where, hash, apus_json_string(json, "hash", "nothing"));
    return APUS_OK;
}

apus_status apus_tuned_read(apus_tuned **out, apus_str *why, const cJSON *json, const char *where,
                            const apus_caps *caps)
{
    apus_status st;
    uint64_t version = 0;
    const char *other;

    *out = NULL;
    if (!cJSON_IsObject(json) || strcmp(apus_json_string(json, "format", ""), FORMAT))
        return apus_fail(APUS_ERR_FORMAT, "%s: no tune file: \"format\" is not \"%s\"", where,
                         FORMAT);
    APUS_FORWARD(apus_json_u64(json, "version", 1, UINT32_MAX, &version));
    if (version != VERSION)
        return apus_fail(APUS_ERR_SUPPORT, "%s: version %llu, this program reads %d", where,
                         (unsigned long long)version, VERSION);
    other = differs(json, caps);
    if (other) {
        apus_str_addf(why, "%s", other);
        return why->failed ? APUS_ERR_MEMORY : APUS_OK;
    }
    APUS_TRY(apus_tuned_create(out));
    APUS_TRY(read_rows(*out, json, where));
    return APUS_OK;

fail:
    apus_tuned_destroy(out);
    return st;
}

/* ---- as a file ---- */

char *apus_tuned_path(const apus_caps *caps)
{
    return apus_cache_path(caps, "tune", "json");
}

apus_status apus_tuned_open(apus_tuned **out, apus_str *why, const char *path,
                            const apus_caps *caps)
{
    apus_status st;
    char *text = NULL;
    size_t bytes;
    cJSON *json = NULL;

    *out = NULL;
    APUS_TRY(apus_file_read(&text, &bytes, path, MOST_BYTES));
    APUS_TRY(apus_json_parse(&json, text, bytes, path));
    APUS_TRY(apus_tuned_read(out, why, json, path, caps));
fail:
    cJSON_Delete(json);
    apus_free(text);
    return st;
}

apus_status apus_tuned_load(apus_tuned **out, apus_str *said, const apus_caps *caps)
{
    const char *named = apus_env_get(APUS_TUNE);
    apus_str why = { 0 };
    apus_status st = APUS_OK;
    char *path;

    *out = NULL;
    if (!strcmp(named, "off"))
        return APUS_OK;
    path = named[0] ? apus_strdup(named) : apus_tuned_path(caps);
    if (!path && named[0])
        return APUS_ERR_MEMORY;
    if (path && (named[0] || apus_path_exists(path))) {
        st = apus_tuned_open(out, &why, path, caps);
        if (st != APUS_OK && st != APUS_ERR_MEMORY && !named[0]) { /* no reason not to run */
            apus_str_addf(said, "%s; the file is not used", apus_error_text());
            st = APUS_OK;
        } else if (st != APUS_OK) {
            st = st == APUS_ERR_MEMORY ? st : apus_fail(st, "APUS_TUNE: %s", apus_error_text());
        } else if (*out) {
            apus_str_addf(said, "tune file %s: %u problems (%016llx)", path, (*out)->n,
                          (unsigned long long)apus_tuned_hash(*out));
        } else {
            apus_str_addf(said, "tune file %s is not used: %s; `apus tune` makes a new one", path,
                          why.data);
        }
    }
    apus_free(path);
    apus_str_release(&why);
    return st == APUS_OK && said->failed ? APUS_ERR_MEMORY : st;
}

apus_status apus_tuned_save(const apus_tuned *tuned, const apus_caps *caps, const char *path)
{
    apus_status st;
    char *folder = apus_strndup(path, (size_t)(apus_path_base(path) - path));
    cJSON *json = NULL;

    if (!folder)
        return APUS_ERR_MEMORY;
    if (folder[0])
        APUS_TRY(apus_dir_create(folder));
    apus_json_begin();
    json = apus_tuned_json(tuned, caps);
    APUS_TRY(apus_json_write(json, folder, apus_path_base(path)));
fail:
    cJSON_Delete(json);
    apus_free(folder);
    return st;
}
