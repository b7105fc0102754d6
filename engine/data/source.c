/* source.c - files of rows: JSON lines, a JSON array (or values one after another), plain text.
 *
 * A row is found without parsing it: a line ends at the line feed; an element of an array ends
 * where its brackets close outside of strings.  What lies in the span is checked by the parser. */
#include "data_internal.h"

#include <stdio.h>

static const struct {
    const char *ending, *why;
} refused[] = {
    { ".csv", "CSV files" },        { ".tsv", "TSV files" },       { ".parquet", "Parquet files" },
    { ".arrow", "Arrow files" },    { ".gz", "compressed files" }, { ".zst", "compressed files" },
    { ".zip", "compressed files" },
};

static bool ends_with(const char *text, const char *ending)
{
    const size_t n = strlen(text), m = strlen(ending);

    return n >= m && strcmp(text + n - m, ending) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Step over white space, counting lines. */
static void skip_space(apusi_source *s)
{
    const char *text = (const char *)s->map.data;

    for (; s->at < s->map.bytes && is_space(text[s->at]); s->at++) {
        if (text[s->at] == '\n') {
            s->line++;
            s->line_start = s->at + 1;
        }
    }
}

/* Characters from `line_start` to `at`, counted from 1. */
static uint64_t column_of(const apusi_source *s, size_t line_start, size_t at)
{
    uint64_t column = 1;

    for (size_t i = line_start; i < at; i++)
        column += (s->map.data[i] & 0xc0) != 0x80;
    return column;
}

apus_status apusi_source_open(apusi_source *s, const char *path)
{
    apus_status st;

    *s = (apusi_source) { .path = path, .line = 1 };
    if (!apus_path_exists(path))
        return apus_fail(APUS_ERR_MISSING,
                         "data set %s: no such file; data sets are local .jsonl, .json or .txt "
                         "files, nothing is downloaded",
                         path);
    if (apus_path_is_dir(path))
        return apus_fail(APUS_ERR_ARG, "data set %s: is a folder; name the files in it", path);
    for (size_t i = 0; i < APUS_COUNT(refused); i++) {
        if (ends_with(path, refused[i].ending))
            return apus_fail(APUS_ERR_ARG, "data set %s: %s are not read; convert it to JSON lines",
                             path, refused[i].why);
    }
    APUS_TRY(apus_map_open(&s->map, path));
    if (s->map.bytes >= 2 &&
        (memcmp(s->map.data, "\xff\xfe", 2) == 0 || memcmp(s->map.data, "\xfe\xff", 2) == 0))
        APUS_TRY(apus_fail(APUS_ERR_FORMAT, "data set %s: is UTF-16 text; save it as UTF-8", path));
    if (s->map.bytes >= 3 && memcmp(s->map.data, "\xef\xbb\xbf", 3) == 0)
        s->at = s->line_start = 3;
    if (ends_with(path, ".txt")) {
        s->kind = APUSI_PLAIN;
        return APUS_OK;
    }
    skip_space(s);
    s->kind = ends_with(path, ".json") ? APUSI_VALUES : APUSI_LINES;
    if (s->at == s->map.bytes)
        return APUS_OK;
    if (s->map.data[s->at] == '[') {
        s->kind = APUSI_VALUES;
        s->in_array = true;
        s->at++;
        return APUS_OK;
    }
    if (s->map.data[s->at] == '{' || ends_with(path, ".jsonl"))
        return APUS_OK;
    st = apus_fail(APUS_ERR_FORMAT, "data set %s: is not JSON; rename a file of plain text to .txt",
                   path);

fail:
    apusi_source_close(s);
    return st;
}

void apusi_source_close(apusi_source *s)
{
    apus_map_close(&s->map);
    *s = (apusi_source) { 0 };
}

static apusi_span span_at(const apusi_source *s, size_t from, size_t to)
{
    return (apusi_span) {
        .text = (const char *)s->map.data + from,
        .bytes = to - from,
        .line = s->line,
        .line_start = s->line_start,
    };
}

/* The end of the JSON value at `at`; a value that does not end ends with the file. */
static size_t value_end(const apusi_source *s, size_t at)
{
    const char *text = (const char *)s->map.data;
    bool in_string = false;
    size_t depth = 0;

    for (; at < s->map.bytes; at++) {
        const char c = text[at];
        if (in_string) {
            if (c == '\\')
                at++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return at;
            if (--depth == 0)
                return at + 1;
        } else if (depth == 0 && (c == ',' || is_space(c))) {
            return at;
        }
    }
    return s->map.bytes;
}

static apus_status place_fail(const apusi_source *s, const char *what)
{
    const uint64_t column = column_of(s, s->line_start, s->at);

    return apus_fail(APUS_ERR_FORMAT, "%s:%llu: column %llu: %s", s->path,
                     (unsigned long long)s->line, (unsigned long long)column, what);
}

static apus_status next_value(apusi_source *s, apusi_span *span, bool *more)
{
    const char *text = (const char *)s->map.data;
    size_t end;

    skip_space(s);
    if (s->at >= s->map.bytes)
        return s->in_array ? place_fail(s, "the file ends inside its array") : APUS_OK;
    if (s->in_array && text[s->at] == ']') {
        s->at++;
        s->in_array = false;
        skip_space(s);
        if (s->at < s->map.bytes)
            return place_fail(s, "something follows the array");
        return APUS_OK;
    }
    end = value_end(s, s->at);
    if (end == s->at)
        return place_fail(s, "a row was expected");
    *span = span_at(s, s->at, end);
    *more = true;
    for (size_t i = s->at; i < end; i++) {
        if (text[i] == '\n') {
            s->line++;
            s->line_start = i + 1;
        }
    }
    s->at = end;
    skip_space(s);
    if (!s->in_array || s->at >= s->map.bytes)
        return APUS_OK;
    if (text[s->at] == ',') {
        s->at++;
        skip_space(s);
        if (s->at < s->map.bytes && text[s->at] == ']')
            return place_fail(s, "a row was expected after the comma");
        return APUS_OK;
    }
    return text[s->at] == ']' ? APUS_OK : place_fail(s, "a comma or ] was expected after a row");
}

apus_status apusi_source_next(apusi_source *s, apusi_span *span, bool *more)
{
    const char *text = (const char *)s->map.data;

    *more = false;
    if (s->kind == APUSI_VALUES)
        return next_value(s, span, more);
    while (s->at < s->map.bytes) {
        const char *feed = memchr(text + s->at, '\n', s->map.bytes - s->at);
        const size_t end = feed ? (size_t)(feed - text) : s->map.bytes;
        size_t from = s->at, to = end;

        if (s->kind == APUSI_PLAIN) {
            if (to > from && text[to - 1] == '\r')
                to--;
        } else {
            while (from < to && is_space(text[from]))
                from++;
            while (to > from && is_space(text[to - 1]))
                to--;
        }
        if (to > from) {
            *span = span_at(s, from, to);
            *more = true;
        }
        s->at = feed ? end + 1 : end;
        s->line++;
        s->line_start = s->at;
        if (*more)
            break;
    }
    return APUS_OK;
}

/* The parser counts lines and columns from the span's first byte: count from the file's. */
static apus_status move_place(const apusi_source *s, const apusi_span *span)
{
    unsigned long long line = 1, column = 1;
    const char *text = apus_error_text(), *tail = NULL;
    const size_t from = (size_t)(span->text - (const char *)s->map.data);
    char *words;
    apus_status st;

    if (sscanf(text, "row: line %llu, column %llu", &line, &column) == 2)
        tail = strstr(text + strlen("row: line "), ": ");
    if (!tail)
        return APUS_ERR_FORMAT;
    words = apus_strdup(tail + 2);
    if (!words)
        return APUS_ERR_MEMORY;
    if (line == 1)
        column += column_of(s, span->line_start, from) - 1;
    st = apus_fail(APUS_ERR_FORMAT, "%s:%llu: column %llu: %s", s->path,
                   (unsigned long long)span->line + line - 1, column, words);
    apus_free(words);
    return st;
}

apus_status apusi_source_parse(const apusi_source *s, const apusi_span *span, cJSON **out)
{
    apus_status st;
    apus_str quoted = { 0 };
    const char *text = span->text;
    size_t bytes = span->bytes;

    *out = NULL;
    if (s->kind == APUSI_PLAIN) {
        apus_str_add(&quoted, "{\"text\":\"");
        for (size_t i = 0; i < bytes; i++) {
            const unsigned char c = (unsigned char)text[i];
            if (c < 0x20 || c == '"' || c == '\\')
                apus_str_addf(&quoted, "\\u%04x", (unsigned)c);
            else
                apus_str_add_bytes(&quoted, text + i, 1);
        }
        apus_str_add(&quoted, "\"}");
        if (quoted.failed) {
            st = APUS_ERR_MEMORY;
            goto fail;
        }
        text = quoted.data;
        bytes = quoted.len;
    }
    st = apus_json_parse(out, text, bytes, "row");
    if (st == APUS_ERR_FORMAT && s->kind == APUSI_PLAIN)
        st = apus_fail(APUS_ERR_FORMAT, "%s:%llu: the line is not UTF-8 text", s->path,
                       (unsigned long long)span->line);
    else if (st == APUS_ERR_FORMAT)
        st = move_place(s, span);

fail:
    apus_str_release(&quoted);
    return st;
}
