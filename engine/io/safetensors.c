/* safetensors.c - reads safetensors files (the format is in safetensors.h).  The file is hostile:
 * the header must lie in the file and be one JSON object, every number in it is checked, and the
 * tensors must cover the data exactly, so that no two share bytes and none is hidden. */
#include <math.h>

#include "file.h"
#include "io_internal.h"
#include "safetensors.h"

#define HEADER_MOST 100000000u        /* the reference implementation's limit */
#define WHOLE_MOST 9007199254740992.0 /* 2^53: above it a JSON number is not exact */

struct apus_safetensors {
    apus_map map; /* {0} when parsed from the caller's memory */
    char *where;
    cJSON *header; /* owns the names */
    apusi_tensors tensors;
};

typedef struct format {
    const char *name;
    uint32_t bits;
} format;

static const format formats[] = {
#define X(name, bits) { name, bits },
#include "safetensors.def"
#undef X
};

static const format *format_by_name(const char *name)
{
    for (size_t i = 0; i < APUS_COUNT(formats); i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}

static bool whole(const cJSON *item, uint64_t *out)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble > WHOLE_MOST ||
        item->valuedouble != floor(item->valuedouble))
        return false;
    *out = (uint64_t)item->valuedouble;
    return true;
}

/* A tensor as its header says, before it is known whether the data is there. */
typedef struct claim {
    apus_file_tensor tensor;
    uint64_t begin, end;
} claim;

static apus_status read_shape(claim *c, const cJSON *shape, const char *where)
{
    const cJSON *item;
    uint64_t elements = 1;
    apus_file_tensor *t = &c->tensor;

    if (!cJSON_IsArray(shape))
        return apus_fail(APUS_ERR_FORMAT, "%s: tensor '%s' has no shape", where, t->name);
    cJSON_ArrayForEach(item, shape)
    {
        uint64_t dim;

        if (t->n_dims == APUS_FILE_DIMS)
            return apus_fail(APUS_ERR_FORMAT, "%s: tensor '%s' has more than %d dimensions", where,
                             t->name, APUS_FILE_DIMS);
        if (!whole(item, &dim))
            return apus_fail(APUS_ERR_FORMAT, "%s: tensor '%s': dimension %u is not a whole number",
                             where, t->name, t->n_dims);
        if (!apus_mul_u64(elements, dim, &elements))
            return apus_fail(APUS_ERR_FORMAT, "%s: the shape of tensor '%s' overflows", where,
                             t->name);
        t->dims[t->n_dims++] = dim;
    }
    if (elements > UINT64_MAX / 64)
        return apus_fail(APUS_ERR_FORMAT, "%s: the shape of tensor '%s' overflows", where, t->name);
    t->bytes = elements; /* read_claim makes bytes of it */
    return APUS_OK;
}

static apus_status read_claim(claim *c, const cJSON *item, uint64_t data_bytes, const char *where)
{
    const cJSON *dtype, *offsets;
    const format *f;
    apus_file_tensor *t = &c->tensor;
    uint64_t bits;

    memset(c, 0, sizeof(*c));
    t->name = item->string;
    if (!cJSON_IsObject(item))
        return apus_fail(APUS_ERR_FORMAT, "%s: the entry of tensor '%s' is not an object", where,
                         t->name);
    dtype = apus_json_get(item, "dtype");
    if (!cJSON_IsString(dtype))
        return apus_fail(APUS_ERR_FORMAT, "%s: tensor '%s' has no dtype", where, t->name);
    f = format_by_name(dtype->valuestring);
    if (!f)
        return apus_fail(APUS_ERR_FORMAT, "%s: tensor '%s' has the unknown dtype '%s'", where,
                         t->name, dtype->valuestring);
    t->format = f->name;
    if (!apus_dtype_by_safetensors(f->name, &t->dtype))
        t->dtype = APUS_DTYPE_COUNT;
    APUS_FORWARD(read_shape(c, apus_json_get(item, "shape"), where));
    offsets = apus_json_get(item, "data_offsets");
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !whole(offsets->child, &c->begin) || !whole(offsets->child->next, &c->end) ||
        c->begin > c->end)
        return apus_fail(APUS_ERR_FORMAT, "%s: tensor '%s' has no valid data_offsets", where,
                         t->name);
    if (c->end > data_bytes)
        return apus_fail(APUS_ERR_FORMAT,
                         "%s: tensor '%s' ends at byte %llu of the data, which has %llu", where,
                         t->name, (unsigned long long)c->end, (unsigned long long)data_bytes);
    bits = t->bytes * f->bits;
    if (bits % 8 != 0 || bits / 8 != c->end - c->begin)
        return apus_fail(APUS_ERR_FORMAT,
                         "%s: tensor '%s' has %llu bytes, but %llu elements of %s do not take them",
                         where, t->name, (unsigned long long)(c->end - c->begin),
                         (unsigned long long)t->bytes, f->name);
    t->bytes = bits / 8;
    return APUS_OK;
}

static int by_place(const void *a, const void *b)
{
    const claim *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->tensor.name, y->tensor.name);
}

static apus_status check_metadata(const cJSON *metadata, const char *where)
{
    const cJSON *item;

    if (!cJSON_IsObject(metadata))
        return apus_fail(APUS_ERR_FORMAT, "%s: __metadata__ is not an object", where);
    cJSON_ArrayForEach(item, metadata) if (!cJSON_IsString(item)) return apus_fail(
        APUS_ERR_FORMAT, "%s: __metadata__: '%s' is not a string", where, item->string);
    return APUS_OK;
}

static apus_status read_header(apus_safetensors *file, const uint8_t *data, uint64_t data_bytes)
{
    apus_status st;
    const size_t most = (size_t)cJSON_GetArraySize(file->header);
    claim *claims = apus_calloc(most ? most : 1, sizeof(*claims));
    const cJSON *item;
    bool seen_metadata = false;
    uint64_t at = 0;
    size_t n = 0;

    if (!claims)
        return APUS_ERR_MEMORY;
    cJSON_ArrayForEach(item, file->header)
    {
        if (strcmp(item->string, "__metadata__") != 0) {
            APUS_TRY(read_claim(&claims[n++], item, data_bytes, file->where));
            continue;
        }
        if (seen_metadata) {
            st = apus_fail(APUS_ERR_FORMAT, "%s: __metadata__ is there twice", file->where);
            goto fail;
        }
        seen_metadata = true;
        APUS_TRY(check_metadata(item, file->where));
    }
    if (n)
        qsort(claims, n, sizeof(*claims), by_place);
    APUS_TRY(apusi_tensors_reserve(&file->tensors, n));
    for (size_t i = 0; i < n; i++) {
        apus_file_tensor *t = &claims[i].tensor;

        APUS_TRY(apusi_tensors_add(&file->tensors, t, file->where));
        if (claims[i].begin != at) {
            st = apus_fail(APUS_ERR_FORMAT,
                           "%s: tensor '%s' begins at byte %llu of the data, but %llu is next",
                           file->where, t->name, (unsigned long long)claims[i].begin,
                           (unsigned long long)at);
            goto fail;
        }
        if (t->dtype != APUS_DTYPE_COUNT)
            file->tensors.at[i].data = data + at;
        at = claims[i].end;
    }
    if (at != data_bytes) {
        st = apus_fail(APUS_ERR_FORMAT, "%s: the tensors take %llu bytes of %llu", file->where,
                       (unsigned long long)at, (unsigned long long)data_bytes);
        goto fail;
    }
    st = APUS_OK;
fail:
    apus_free(claims);
    return st;
}

static apus_status parse(apus_safetensors *file, const uint8_t *data, uint64_t bytes)
{
    uint64_t header_bytes = 0;

    if (bytes < 8)
        return apus_fail(APUS_ERR_FORMAT, "%s: %llu bytes are too few for a safetensors file",
                         file->where, (unsigned long long)bytes);
    for (int i = 0; i < 8; i++)
        header_bytes |= (uint64_t)data[i] << (8 * i);
    if (header_bytes > HEADER_MOST)
        return apus_fail(APUS_ERR_FORMAT,
                         "%s: a header of %llu bytes is too long; not a safetensors file?",
                         file->where, (unsigned long long)header_bytes);
    if (header_bytes > bytes - 8)
        return apus_fail(APUS_ERR_FORMAT,
                         "%s: truncated: the header has %llu bytes, the file only %llu",
                         file->where, (unsigned long long)header_bytes, (unsigned long long)bytes);
    if (header_bytes == 0 || data[8] != '{')
        return apus_fail(APUS_ERR_FORMAT, "%s: the header does not begin with '{'", file->where);
    APUS_FORWARD(
        apus_json_parse(&file->header, (const char *)data + 8, (size_t)header_bytes, file->where));
    if (!cJSON_IsObject(file->header))
        return apus_fail(APUS_ERR_FORMAT, "%s: the header is not an object", file->where);
    return read_header(file, data + 8 + header_bytes, bytes - 8 - header_bytes);
}

apus_status apus_safetensors_parse(apus_safetensors **out, const uint8_t *data, uint64_t bytes,
                                   const char *where)
{
    apus_safetensors *file = *out = apus_alloc(sizeof(*file));
    apus_status st;

    if (!file)
        return APUS_ERR_MEMORY;
    file->where = apus_strdup(where);
    st = file->where ? parse(file, data, bytes) : APUS_ERR_MEMORY;
    if (st != APUS_OK)
        apus_safetensors_close(out);
    return st;
}

apus_status apus_safetensors_open(apus_safetensors **out, const char *path)
{
    apus_map map = { 0 };
    apus_status st;

    *out = NULL;
    APUS_FORWARD(apus_map_open(&map, path));
    st = apus_safetensors_parse(out, map.data, map.bytes, path);
    if (st == APUS_OK)
        (*out)->map = map;
    else
        apus_map_close(&map);
    return st;
}

void apus_safetensors_close(apus_safetensors **file)
{
    apus_safetensors *f = *file;

    if (!f)
        return;
    apusi_tensors_release(&f->tensors);
    cJSON_Delete(f->header);
    apus_map_close(&f->map);
    apus_free(f->where);
    apus_free(f);
    *file = NULL;
}

size_t apus_safetensors_count(const apus_safetensors *file)
{
    return file->tensors.index.n;
}

const apus_file_tensor *apus_safetensors_at(const apus_safetensors *file, size_t i)
{
    APUS_BUG_IF(i >= file->tensors.index.n);
    return &file->tensors.at[i];
}

const apus_file_tensor *apus_safetensors_find(const apus_safetensors *file, const char *name)
{
    return apusi_tensors_find(&file->tensors, name);
}

apus_status apus_safetensors_need(const apus_safetensors *file, const char *name,
                                  const apus_file_tensor **out)
{
    *out = apus_safetensors_find(file, name);
    if (!*out)
        return apus_fail(APUS_ERR_MISSING, "%s: no tensor '%s'", file->where, name);
    return apus_file_tensor_check(*out, file->where);
}

const char *apus_safetensors_metadata(const apus_safetensors *file, const char *key)
{
    const cJSON *metadata = apus_json_get(file->header, "__metadata__");

    return metadata ? apus_json_string(metadata, key, NULL) : NULL;
}
