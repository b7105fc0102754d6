/* safetensors_write.c - writes safetensors files byte for byte as the reference implementation
 * does, and the weights of a model folder in shards with their index. */
#include <stdio.h>

#include "file.h"
#include "io_internal.h"
#include "safetensors.h"
#include "str.h"

#define PIECE_BYTES ((size_t)4 << 20) /* asked from an entry's `read` at once */

static void add_quoted(apus_str *s, const char *text)
{
    static const char short_for[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'
    };

    apus_str_add(s, "\"");
    for (const char *c = text; *c; c++) {
        const unsigned char u = (unsigned char)*c;

        if (u == '"' || u == '\\')
            apus_str_addf(s, "\\%c", u);
        else if (u < 32 && short_for[u])
            apus_str_addf(s, "\\%c", short_for[u]);
        else if (u < 32)
            apus_str_addf(s, "\\u%04x", u);
        else
            apus_str_add_bytes(s, c, 1);
    }
    apus_str_add(s, "\"");
}

static apus_status entry_bytes(const apus_safetensors_entry *entry, uint64_t *bytes)
{
    uint64_t elements = 1;

    if (entry->dtype >= APUS_DTYPE_COUNT || !*apus_dtype_of(entry->dtype)->safetensors)
        return apus_fail(APUS_ERR_ARG, "tensor '%s': a safetensors file cannot hold format %s",
                         entry->name,
                         entry->dtype < APUS_DTYPE_COUNT ? apus_dtype_of(entry->dtype)->name : "?");
    if (entry->n_dims > APUS_FILE_DIMS)
        return apus_fail(APUS_ERR_ARG, "tensor '%s' has more than %d dimensions", entry->name,
                         APUS_FILE_DIMS);
    if (strcmp(entry->name, "__metadata__") == 0)
        return apus_fail(APUS_ERR_ARG, "a tensor cannot be called __metadata__");
    for (uint32_t i = 0; i < entry->n_dims; i++)
        if (!apus_mul_u64(elements, entry->dims[i], &elements))
            return apus_fail(APUS_ERR_ARG, "the shape of tensor '%s' overflows", entry->name);
    if (!apus_dtype_bytes(entry->dtype, elements, bytes))
        return apus_fail(APUS_ERR_ARG, "the size of tensor '%s' overflows", entry->name);
    return APUS_OK;
}

static int by_width_and_name(const void *a, const void *b)
{
    const apus_safetensors_entry *x = *(const apus_safetensors_entry *const *)a;
    const apus_safetensors_entry *y = *(const apus_safetensors_entry *const *)b;
    const uint32_t wide_x = apus_dtype_of(x->dtype)->block_bytes;
    const uint32_t wide_y = apus_dtype_of(y->dtype)->block_bytes;
    /* Formats of one width stand in the reference's own order: F16 BF16, I32 U32 F32, the last
     * first.  dtype.def has them by rising number, I32 apart. */
    static const int rank[APUS_DTYPE_COUNT] = {
        [APUS_F32] = 3, [APUS_I32] = 1, [APUS_BF16] = 2, [APUS_F16] = 1
    };

    if (wide_x != wide_y)
        return wide_x > wide_y ? -1 : 1;
    if (rank[x->dtype] != rank[y->dtype])
        return rank[x->dtype] > rank[y->dtype] ? -1 : 1;
    return strcmp(x->name, y->name);
}

static apus_status add_header(apus_str *s, const apus_safetensors_entry *const *sorted, size_t n,
                              const apus_safetensors_pair *metadata, size_t n_metadata)
{
    uint64_t at = 0;

    apus_str_add_bytes(s, "\0\0\0\0\0\0\0\0", 8); /* the length, once it is known */
    apus_str_add(s, "{");
    for (size_t i = 0; i < n_metadata; i++) {
        apus_str_add(s, i ? "," : "\"__metadata__\":{");
        add_quoted(s, metadata[i].key);
        apus_str_add(s, ":");
        add_quoted(s, metadata[i].value);
    }
    if (n_metadata)
        apus_str_add(s, n ? "}," : "}");
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes, end;

        if (i && strcmp(sorted[i]->name, sorted[i - 1]->name) == 0)
            return apus_fail(APUS_ERR_ARG, "two tensors are called '%s'", sorted[i]->name);
        APUS_FORWARD(entry_bytes(sorted[i], &bytes));
        if (!apus_add_u64(at, bytes, &end))
            return apus_fail(APUS_ERR_ARG, "the size of the file overflows at tensor '%s'",
                             sorted[i]->name);
        if (i)
            apus_str_add(s, ",");
        add_quoted(s, sorted[i]->name);
        apus_str_addf(s, ":{\"dtype\":\"%s\",\"shape\":[",
                      apus_dtype_of(sorted[i]->dtype)->safetensors);
        for (uint32_t d = 0; d < sorted[i]->n_dims; d++)
            apus_str_addf(s, d ? ",%llu" : "%llu", (unsigned long long)sorted[i]->dims[d]);
        apus_str_addf(s, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                      (unsigned long long)end);
        at = end;
    }
    apus_str_add(s, "}");
    while (!s->failed && s->len % 8 != 0)
        apus_str_add(s, " ");
    if (s->failed)
        return APUS_ERR_MEMORY;
    for (int i = 0; i < 8; i++)
        s->data[i] = (char)((s->len - 8) >> (8 * i));
    return APUS_OK;
}

static apus_status add_data(apus_writer *w, const apus_safetensors_entry *entry, uint8_t **piece)
{
    uint64_t bytes, at = 0;

    APUS_FORWARD(entry_bytes(entry, &bytes));
    if (entry->data)
        return apus_writer_add(w, entry->data, (size_t)bytes);
    if (!*piece) {
        *piece = apus_alloc(PIECE_BYTES);
        if (!*piece)
            return APUS_ERR_MEMORY;
    }
    while (at < bytes) {
        const size_t n = bytes - at < PIECE_BYTES ? (size_t)(bytes - at) : PIECE_BYTES;

        APUS_FORWARD(entry->read(entry->user, at, *piece, n));
        APUS_FORWARD(apus_writer_add(w, *piece, n));
        at += n;
    }
    return APUS_OK;
}

/* Two entries of one name and different formats are not neighbours in the file's order. */
static apus_status check_names(const apus_safetensors_entry *entries, size_t n)
{
    apus_status st;
    apusi_index index = { 0 };

    APUS_TRY(apusi_index_reserve(&index, n));
    for (size_t i = 0; i < n; i++)
        if (!apusi_index_add(&index, entries[i].name)) {
            st = apus_fail(APUS_ERR_ARG, "two tensors are called '%s'", entries[i].name);
            goto fail;
        }
fail:
    apusi_index_release(&index);
    return st;
}

apus_status apus_safetensors_write(const char *path, const apus_safetensors_entry *entries,
                                   size_t n, const apus_safetensors_pair *metadata,
                                   size_t n_metadata)
{
    apus_status st;
    const apus_safetensors_entry **sorted = NULL;
    apus_str header = { 0 };
    apus_writer w = { 0 };
    uint8_t *piece = NULL;
    uint64_t bytes;

    APUS_FORWARD(check_names(entries, n));
    sorted = apus_calloc(n ? n : 1, sizeof(*sorted));
    if (!sorted)
        return APUS_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        APUS_TRY(entry_bytes(&entries[i], &bytes));
        sorted[i] = &entries[i];
    }
    qsort(sorted, n, sizeof(*sorted), by_width_and_name);
    APUS_TRY(add_header(&header, sorted, n, metadata, n_metadata));
    APUS_TRY(apus_writer_open(&w, path));
    APUS_TRY(apus_writer_add(&w, header.data, header.len));
    for (size_t i = 0; i < n; i++)
        APUS_TRY(add_data(&w, sorted[i], &piece));
    APUS_TRY(apus_writer_commit(&w));
fail:
    apus_writer_release(&w);
    apus_free(piece);
    apus_str_release(&header);
    apus_free(sorted);
    return st;
}

/* What a sharded write keeps: shard_of[i] is the shard of entry i, counted from 0. */
typedef struct shards {
    uint32_t *shard_of;
    uint32_t n;
    uint64_t bytes, elements;
} shards;

static apus_status split(shards *s, const apus_safetensors_entry *entries, size_t n, uint64_t most)
{
    uint64_t filled = 0;

    s->shard_of = apus_calloc(n ? n : 1, sizeof(*s->shard_of));
    if (!s->shard_of)
        return APUS_ERR_MEMORY;
    s->n = 1;
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes;

        APUS_FORWARD(entry_bytes(&entries[i], &bytes));
        if (filled && (bytes > most || filled > most - bytes)) {
            s->n++;
            filled = 0;
        }
        s->shard_of[i] = s->n - 1;
        if (!apus_add_u64(filled, bytes, &filled) || !apus_add_u64(s->bytes, bytes, &s->bytes))
            return apus_fail(APUS_ERR_ARG, "the size of the model overflows");
        s->elements += bytes / apus_dtype_of(entries[i].dtype)->block_bytes;
    }
    return APUS_OK;
}

static void shard_name(char name[64], uint32_t shard, uint32_t n)
{
    if (n == 1)
        snprintf(name, 64, "model.safetensors");
    else
        snprintf(name, 64, "model-%05u-of-%05u.safetensors", shard + 1, n);
}

static apus_status write_shard(const char *dir, const apus_safetensors_entry *entries, size_t n,
                               const shards *s, uint32_t shard)
{
    static const apus_safetensors_pair metadata[] = { { "format", "pt" } };
    apus_status st = APUS_ERR_MEMORY;
    apus_safetensors_entry *mine = apus_calloc(n ? n : 1, sizeof(*mine));
    char name[64], *path;
    size_t n_mine = 0;

    shard_name(name, shard, s->n);
    path = apus_path_join(dir, name);
    if (mine && path) {
        for (size_t i = 0; i < n; i++)
            if (s->shard_of[i] == shard)
                mine[n_mine++] = entries[i];
        st = apus_safetensors_write(path, mine, n_mine, metadata, APUS_COUNT(metadata));
    }
    apus_free(path);
    apus_free(mine);
    return st;
}

static int by_name(const void *a, const void *b)
{
    const apus_safetensors_entry *x = *(const apus_safetensors_entry *const *)a;
    const apus_safetensors_entry *y = *(const apus_safetensors_entry *const *)b;

    return strcmp(x->name, y->name);
}

static apus_status write_index(const char *dir, const apus_safetensors_entry *entries, size_t n,
                               const shards *s)
{
    apus_status st = APUS_ERR_MEMORY;
    const apus_safetensors_entry **sorted = apus_calloc(n, sizeof(*sorted));
    char *path = apus_path_join(dir, "model.safetensors.index.json");
    apus_str text = { 0 };

    if (!sorted || !path)
        goto fail;
    for (size_t i = 0; i < n; i++)
        sorted[i] = &entries[i];
    qsort(sorted, n, sizeof(*sorted), by_name);
    apus_str_addf(&text,
                  "{\n  \"metadata\": {\n    \"total_parameters\": %llu,\n    \"total_size\": "
                  "%llu\n  },\n  \"weight_map\": {\n",
                  (unsigned long long)s->elements, (unsigned long long)s->bytes);
    for (size_t i = 0; i < n; i++) {
        char name[64];

        shard_name(name, s->shard_of[sorted[i] - entries], s->n);
        apus_str_add(&text, "    ");
        add_quoted(&text, sorted[i]->name);
        apus_str_addf(&text, ": \"%s\"%s\n", name, i + 1 < n ? "," : "");
    }
    apus_str_add(&text, "  }\n}\n");
    if (text.failed)
        goto fail;
    st = apus_file_write(path, text.data, text.len);
fail:
    apus_str_release(&text);
    apus_free(path);
    apus_free(sorted);
    return st;
}

static bool is_stale(const char *name, uint32_t n)
{
    uint32_t shard, of;
    int end = 0;
    char same[64];

    if (strcmp(name, "model.safetensors.index.json") == 0)
        return n == 1;
    if (strcmp(name, "model.safetensors") == 0)
        return n > 1;
    if (sscanf(name, "model-%5u-of-%5u.safetensors%n", &shard, &of, &end) != 2 || !end || name[end])
        return false;
    snprintf(same, sizeof(same), "model-%05u-of-%05u.safetensors", shard, of);
    return strcmp(name, same) == 0 && (n == 1 || of != n);
}

static apus_status remove_stale(const char *dir, uint32_t n)
{
    apus_status st;
    char **names = NULL;
    size_t n_names = 0;

    st = apus_dir_list(&names, &n_names, dir);
    for (size_t i = 0; i < n_names; i++) {
        if (st == APUS_OK && is_stale(names[i], n)) {
            char *path = apus_path_join(dir, names[i]);

            st = path ? apus_path_remove(path) : APUS_ERR_MEMORY;
            apus_free(path);
        }
        apus_free(names[i]);
    }
    apus_free(names);
    return st;
}

apus_status apus_safetensors_write_sharded(const char *dir, const apus_safetensors_entry *entries,
                                           size_t n, uint64_t max_shard_bytes)
{
    apus_status st;
    shards s = { 0 };

    APUS_TRY(check_names(entries, n));
    APUS_TRY(split(&s, entries, n, max_shard_bytes));
    for (uint32_t i = 0; i < s.n; i++)
        APUS_TRY(write_shard(dir, entries, n, &s, i));
    if (s.n > 1)
        APUS_TRY(write_index(dir, entries, n, &s));
    APUS_TRY(remove_stale(dir, s.n));
fail:
    apus_free(s.shard_of);
    return st;
}
