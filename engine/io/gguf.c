/* gguf.c - reads GGUF files (the format is in gguf.h).  The file is hostile: each length is checked
 * against the bytes that are left before it is followed, counts are bounded by the least bytes that
 * their items take, so that memory asked for is a small multiple of the file, and products are
 * checked.  Strings and numbers stay in the map. */
#include <math.h>

#include "arena.h"
#include "file.h"
#include "io_internal.h"

#define PAIR_LEAST 13   /* bytes of the smallest metadata pair: empty key, type, one byte */
#define TENSOR_LEAST 24 /* bytes of the smallest tensor entry: empty name, no dimension */
#define ALIGNMENT_MOST (1u << 20)
#define NESTING_MOST 4 /* arrays in arrays */

typedef struct pair {
    apus_gguf_type type;
    const uint8_t *data; /* numbers */
    apus_gguf_text text;
    apus_gguf_array array;
} pair;

struct apus_gguf {
    apus_map map; /* {0} when parsed from the caller's memory */
    char *where;
    apus_arena arena; /* keys, names and views of arrays of strings */
    pair *pairs;
    apusi_index keys;
    apusi_tensors tensors;
};

typedef struct ggml_format {
    uint32_t id;
    const char *name;
    uint32_t block, block_bytes;
} ggml_format;

static const ggml_format formats[] = {
#define X(id, name, block, bytes) { id, name, block, bytes },
#include "ggml.def"
#undef X
};

static const uint8_t type_bytes[APUS_GGUF_TYPE_COUNT] = {
    [APUS_GGUF_U8] = 1,  [APUS_GGUF_I8] = 1,  [APUS_GGUF_U16] = 2, [APUS_GGUF_I16] = 2,
    [APUS_GGUF_U32] = 4, [APUS_GGUF_I32] = 4, [APUS_GGUF_F32] = 4, [APUS_GGUF_BOOL] = 1,
    [APUS_GGUF_U64] = 8, [APUS_GGUF_I64] = 8, [APUS_GGUF_F64] = 8,
};

static const char *const type_names[APUS_GGUF_TYPE_COUNT] = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64",
};

/* Where the reader stands. */
typedef struct cursor {
    const uint8_t *start, *at;
    uint64_t left;
    const char *where;
    const char *what; /* being read, for the text of a truncation */
} cursor;

static apus_status take(cursor *c, uint64_t bytes, const uint8_t **out)
{
    if (bytes > c->left)
        return apus_fail(APUS_ERR_FORMAT,
                         "%s: truncated at byte %llu: %s needs %llu bytes, %llu are left", c->where,
                         (unsigned long long)(c->at - c->start), c->what, (unsigned long long)bytes,
                         (unsigned long long)c->left);
    *out = c->at;
    c->at += bytes;
    c->left -= bytes;
    return APUS_OK;
}

static uint64_t little(const uint8_t *data, int bytes)
{
    uint64_t v = 0;

    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)data[i] << (8 * i);
    return v;
}

static apus_status take_u32(cursor *c, uint32_t *out)
{
    const uint8_t *data = NULL;

    APUS_FORWARD(take(c, 4, &data));
    *out = (uint32_t)little(data, 4);
    return APUS_OK;
}

static apus_status take_u64(cursor *c, uint64_t *out)
{
    const uint8_t *data = NULL;

    APUS_FORWARD(take(c, 8, &data));
    *out = little(data, 8);
    return APUS_OK;
}

static apus_status take_text(cursor *c, apus_gguf_text *out)
{
    const uint8_t *data = NULL;
    uint64_t bytes;

    APUS_FORWARD(take_u64(c, &bytes));
    APUS_FORWARD(take(c, bytes, &data));
    out->text = (const char *)data;
    out->bytes = bytes;
    return APUS_OK;
}

/* A key or a tensor's name: without control bytes, so that it is a string fit for texts. */
static apus_status take_name(apus_gguf *g, cursor *c, const char **out)
{
    apus_gguf_text text;
    char *copy;

    APUS_FORWARD(take_text(c, &text));
    for (uint64_t i = 0; i < text.bytes; i++)
        if ((unsigned char)text.text[i] < 32)
            return apus_fail(APUS_ERR_FORMAT, "%s: %s has a control byte in its name", c->where,
                             c->what);
    if (text.bytes > 65535)
        return apus_fail(APUS_ERR_FORMAT, "%s: %s has a name of %llu bytes", c->where, c->what,
                         (unsigned long long)text.bytes);
    copy = apus_arena_alloc(&g->arena, (size_t)text.bytes + 1);
    if (!copy)
        return APUS_ERR_MEMORY;
    if (text.bytes)
        memcpy(copy, text.text, (size_t)text.bytes);
    *out = copy;
    return APUS_OK;
}

static apus_status take_type(cursor *c, apus_gguf_type *out)
{
    uint32_t type;

    APUS_FORWARD(take_u32(c, &type));
    if (type >= APUS_GGUF_TYPE_COUNT)
        return apus_fail(APUS_ERR_FORMAT, "%s: '%s' has the unknown value type %u", c->where,
                         c->what, type);
    *out = (apus_gguf_type)type;
    return APUS_OK;
}

static apus_status take_strings(apus_gguf *g, cursor *c, apus_gguf_array *out)
{
    apus_gguf_text *texts;

    if (out->n > c->left / 8)
        return apus_fail(APUS_ERR_FORMAT, "%s: '%s' claims %llu strings, %llu bytes are left",
                         c->where, c->what, (unsigned long long)out->n,
                         (unsigned long long)c->left);
    if (!out->n)
        return APUS_OK;
    texts = apus_arena_alloc(&g->arena, (size_t)out->n * sizeof(*texts));
    if (!texts)
        return APUS_ERR_MEMORY;
    for (uint64_t i = 0; i < out->n; i++)
        APUS_FORWARD(take_text(c, &texts[i]));
    out->texts = texts;
    return APUS_OK;
}

static apus_status take_array(apus_gguf *g, cursor *c, apus_gguf_array *out, int depth)
{
    uint64_t bytes;

    APUS_FORWARD(take_type(c, &out->type));
    APUS_FORWARD(take_u64(c, &out->n));
    if (out->type == APUS_GGUF_STRING)
        return take_strings(g, c, out);
    if (out->type == APUS_GGUF_ARRAY) { /* walked over; no getter gives it */
        if (depth == NESTING_MOST || out->n > c->left / 12)
            return apus_fail(APUS_ERR_FORMAT, "%s: '%s' has arrays in arrays that cannot be",
                             c->where, c->what);
        for (uint64_t i = 0; i < out->n; i++) {
            apus_gguf_array inner = { 0 };

            APUS_FORWARD(take_array(g, c, &inner, depth + 1));
        }
        return APUS_OK;
    }
    if (!apus_mul_u64(out->n, type_bytes[out->type], &bytes))
        return apus_fail(APUS_ERR_FORMAT, "%s: '%s' claims %llu elements", c->where, c->what,
                         (unsigned long long)out->n);
    return take(c, bytes, &out->data);
}

static apus_status read_pair(apus_gguf *g, cursor *c)
{
    pair p = { 0 };
    const char *key;

    c->what = "a metadata key";
    APUS_FORWARD(take_name(g, c, &key));
    c->what = key;
    APUS_FORWARD(take_type(c, &p.type));
    if (p.type == APUS_GGUF_STRING)
        APUS_FORWARD(take_text(c, &p.text));
    else if (p.type == APUS_GGUF_ARRAY)
        APUS_FORWARD(take_array(g, c, &p.array, 0));
    else
        APUS_FORWARD(take(c, type_bytes[p.type], &p.data));
    if (!apusi_index_add(&g->keys, key))
        return apus_fail(APUS_ERR_FORMAT, "%s: metadata '%s' is there twice", g->where, key);
    g->pairs[g->keys.n - 1] = p;
    return APUS_OK;
}

/* The bytes of a tensor by its format; an id that ggml.def does not have is listed without. */
static apus_status size_tensor(apus_gguf *g, apus_file_tensor *t, uint32_t id)
{
    uint64_t elements = 1, row = t->n_dims ? t->dims[t->n_dims - 1] : 1;
    const ggml_format *f = NULL;

    for (uint32_t i = 0; i < t->n_dims; i++)
        if (!apus_mul_u64(elements, t->dims[i], &elements))
            return apus_fail(APUS_ERR_FORMAT, "%s: the shape of tensor '%s' overflows", g->where,
                             t->name);
    for (size_t i = 0; i < APUS_COUNT(formats) && !f; i++)
        if (formats[i].id == id)
            f = &formats[i];
    t->dtype = APUS_DTYPE_COUNT;
    if (!f) {
        t->format = apus_arena_format(&g->arena, "type %u", id);
        return t->format ? APUS_OK : APUS_ERR_MEMORY;
    }
    t->format = f->name;
    if (row % f->block != 0)
        return apus_fail(APUS_ERR_FORMAT,
                         "%s: tensor '%s': rows of %llu elements are not whole blocks of %s",
                         g->where, t->name, (unsigned long long)row, f->name);
    if (!apus_mul_u64(elements / f->block, f->block_bytes, &t->bytes))
        return apus_fail(APUS_ERR_FORMAT, "%s: the size of tensor '%s' overflows", g->where,
                         t->name);
    if (!apus_dtype_by_gguf((int)id, &t->dtype))
        t->dtype = APUS_DTYPE_COUNT;
    return APUS_OK;
}

static apus_status read_tensor(apus_gguf *g, cursor *c, uint64_t *offset)
{
    apus_file_tensor t = { 0 };
    uint32_t id;

    c->what = "a tensor";
    APUS_FORWARD(take_name(g, c, &t.name));
    c->what = t.name;
    APUS_FORWARD(take_u32(c, &t.n_dims));
    if (t.n_dims > 4)
        return apus_fail(APUS_ERR_FORMAT, "%s: tensor '%s' has %u dimensions, GGUF has at most 4",
                         g->where, t.name, t.n_dims);
    for (uint32_t i = t.n_dims; i-- > 0;)
        APUS_FORWARD(take_u64(c, &t.dims[i]));
    APUS_FORWARD(take_u32(c, &id));
    APUS_FORWARD(take_u64(c, offset));
    APUS_FORWARD(size_tensor(g, &t, id));
    return apusi_tensors_add(&g->tensors, &t, g->where);
}

static apus_status place_tensors(apus_gguf *g, const cursor *c, const uint64_t *offsets)
{
    uint32_t alignment = 32;
    uint64_t begin, room, total;

    if (apus_gguf_has(g, "general.alignment"))
        APUS_FORWARD(apus_gguf_u32(g, "general.alignment", &alignment));
    if (!alignment || alignment > ALIGNMENT_MOST || (alignment & (alignment - 1)))
        return apus_fail(APUS_ERR_FORMAT, "%s: general.alignment %u is not a power of two",
                         g->where, alignment);
    total = (uint64_t)(c->at - c->start) + c->left;
    begin = apus_round_up((uint64_t)(c->at - c->start), alignment);
    room = begin < total ? total - begin : 0;
    for (size_t i = 0; i < g->tensors.index.n; i++) {
        apus_file_tensor *t = &g->tensors.at[i];

        if (offsets[i] % alignment != 0)
            return apus_fail(APUS_ERR_FORMAT,
                             "%s: tensor '%s' is at offset %llu, not a multiple of %u", g->where,
                             t->name, (unsigned long long)offsets[i], alignment);
        if (offsets[i] > room || t->bytes > room - offsets[i])
            return apus_fail(APUS_ERR_FORMAT,
                             "%s: truncated: tensor '%s' needs %llu bytes at %llu of the data, "
                             "which has %llu",
                             g->where, t->name, (unsigned long long)t->bytes,
                             (unsigned long long)offsets[i], (unsigned long long)room);
        if (t->dtype != APUS_DTYPE_COUNT)
            t->data = t->bytes ? c->start + begin + offsets[i] : c->at;
    }
    return APUS_OK;
}

static apus_status read_counts(cursor *c, uint64_t *n_tensors, uint64_t *n_pairs)
{
    const uint8_t *magic = NULL;
    uint32_t version;

    c->what = "the header";
    APUS_FORWARD(take(c, 4, &magic));
    if (memcmp(magic, "GGUF", 4) != 0)
        return apus_fail(APUS_ERR_FORMAT, "%s: not a GGUF file (it does not begin with 'GGUF')",
                         c->where);
    APUS_FORWARD(take_u32(c, &version));
    if (version == 0x02000000u || version == 0x03000000u)
        return apus_fail(APUS_ERR_SUPPORT, "%s: a big-endian GGUF file: not supported yet",
                         c->where);
    if (version != 2 && version != 3)
        return apus_fail(APUS_ERR_SUPPORT,
                         "%s: GGUF version %u: not supported yet; convert it to version 3",
                         c->where, version);
    APUS_FORWARD(take_u64(c, n_tensors));
    APUS_FORWARD(take_u64(c, n_pairs));
    if (*n_pairs > c->left / PAIR_LEAST)
        return apus_fail(APUS_ERR_FORMAT, "%s: %llu metadata pairs do not fit in %llu bytes",
                         c->where, (unsigned long long)*n_pairs, (unsigned long long)c->left);
    if (*n_tensors > c->left / TENSOR_LEAST)
        return apus_fail(APUS_ERR_FORMAT, "%s: %llu tensors do not fit in %llu bytes", c->where,
                         (unsigned long long)*n_tensors, (unsigned long long)c->left);
    return APUS_OK;
}

static apus_status parse(apus_gguf *g, const uint8_t *data, uint64_t bytes)
{
    apus_status st;
    cursor c = { data, data, bytes, g->where, "" };
    uint64_t n_tensors, n_pairs, *offsets = NULL;

    APUS_TRY(read_counts(&c, &n_tensors, &n_pairs));
    g->pairs = apus_calloc(n_pairs ? n_pairs : 1, sizeof(*g->pairs));
    if (!g->pairs)
        return APUS_ERR_MEMORY;
    APUS_TRY(apusi_index_reserve(&g->keys, n_pairs));
    for (uint64_t i = 0; i < n_pairs; i++)
        APUS_TRY(read_pair(g, &c));
    APUS_TRY(apusi_tensors_reserve(&g->tensors, n_tensors));
    offsets = apus_calloc(n_tensors ? n_tensors : 1, sizeof(*offsets));
    if (!offsets)
        return APUS_ERR_MEMORY;
    for (uint64_t i = 0; i < n_tensors; i++)
        APUS_TRY(read_tensor(g, &c, &offsets[i]));
    APUS_TRY(place_tensors(g, &c, offsets));
fail:
    apus_free(offsets);
    return st;
}

apus_status apus_gguf_parse(apus_gguf **out, const uint8_t *data, uint64_t bytes, const char *where)
{
    apus_gguf *g = *out = apus_alloc(sizeof(*g));
    apus_status st;

    if (!g)
        return APUS_ERR_MEMORY;
    g->where = apus_strdup(where);
    st = g->where ? parse(g, data, bytes) : APUS_ERR_MEMORY;
    if (st != APUS_OK)
        apus_gguf_close(out);
    return st;
}

apus_status apus_gguf_open(apus_gguf **out, const char *path)
{
    apus_map map = { 0 };
    apus_status st;

    *out = NULL;
    APUS_FORWARD(apus_map_open(&map, path));
    st = apus_gguf_parse(out, map.data, map.bytes, path);
    if (st == APUS_OK)
        (*out)->map = map;
    else
        apus_map_close(&map);
    return st;
}

void apus_gguf_close(apus_gguf **gguf)
{
    apus_gguf *g = *gguf;

    if (!g)
        return;
    apusi_tensors_release(&g->tensors);
    apusi_index_release(&g->keys);
    apus_free(g->pairs);
    apus_arena_release(&g->arena);
    apus_map_close(&g->map);
    apus_free(g->where);
    apus_free(g);
    *gguf = NULL;
}

const char *apus_gguf_where(const apus_gguf *gguf)
{
    return gguf->where;
}

size_t apus_gguf_count(const apus_gguf *gguf)
{
    return gguf->tensors.index.n;
}

const apus_file_tensor *apus_gguf_at(const apus_gguf *gguf, size_t i)
{
    APUS_BUG_IF(i >= gguf->tensors.index.n);
    return &gguf->tensors.at[i];
}

const apus_file_tensor *apus_gguf_find(const apus_gguf *gguf, const char *name)
{
    return apusi_tensors_find(&gguf->tensors, name);
}

bool apus_gguf_has(const apus_gguf *gguf, const char *key)
{
    return apusi_index_find(&gguf->keys, key) != APUSI_NONE;
}

static apus_status get(const apus_gguf *gguf, const char *key, const pair **out)
{
    const size_t at = apusi_index_find(&gguf->keys, key);

    if (at == APUSI_NONE)
        return apus_fail(APUS_ERR_MISSING, "%s: no metadata '%s'", gguf->where, key);
    *out = &gguf->pairs[at];
    return APUS_OK;
}

static apus_status wrong(const apus_gguf *gguf, const char *key, const pair *p, const char *wanted)
{
    return apus_fail(APUS_ERR_FORMAT, "%s: metadata '%s' is of type %s, not %s", gguf->where, key,
                     type_names[p->type], wanted);
}

static bool number_int(apus_gguf_type type, const uint8_t *data, int64_t *out)
{
    const uint64_t bits = little(data, type_bytes[type]);

    switch (type) {
    case APUS_GGUF_U8:
    case APUS_GGUF_U16:
    case APUS_GGUF_U32:
        *out = (int64_t)bits;
        return true;
    case APUS_GGUF_BOOL:
        *out = bits != 0;
        return true;
    case APUS_GGUF_I8:
        *out = (int8_t)bits;
        return true;
    case APUS_GGUF_I16:
        *out = (int16_t)bits;
        return true;
    case APUS_GGUF_I32:
        *out = (int32_t)bits;
        return true;
    case APUS_GGUF_I64:
        *out = (int64_t)bits;
        return true;
    case APUS_GGUF_U64:
        *out = (int64_t)bits;
        return bits <= INT64_MAX;
    default:
        return false;
    }
}

static bool number_float(apus_gguf_type type, const uint8_t *data, double *out)
{
    int64_t whole;

    if (type == APUS_GGUF_F32) {
        float f;

        memcpy(&f, data, sizeof(f));
        *out = (double)f;
        return true;
    }
    if (type == APUS_GGUF_F64) {
        memcpy(out, data, sizeof(*out));
        return true;
    }
    if (type == APUS_GGUF_BOOL || !number_int(type, data, &whole))
        return false;
    *out = (double)whole;
    return true;
}

static bool is_number(const pair *p)
{
    return p->type != APUS_GGUF_STRING && p->type != APUS_GGUF_ARRAY;
}

apus_status apus_gguf_string(const apus_gguf *gguf, const char *key, apus_gguf_text *out)
{
    const pair *p = NULL;

    APUS_FORWARD(get(gguf, key, &p));
    if (p->type != APUS_GGUF_STRING)
        return wrong(gguf, key, p, "string");
    *out = p->text;
    return APUS_OK;
}

apus_status apus_gguf_u32(const apus_gguf *gguf, const char *key, uint32_t *out)
{
    const pair *p = NULL;
    int64_t v;

    APUS_FORWARD(get(gguf, key, &p));
    if (!is_number(p) || p->type == APUS_GGUF_BOOL || p->type == APUS_GGUF_F32 ||
        p->type == APUS_GGUF_F64)
        return wrong(gguf, key, p, "a whole number");
    if (!number_int(p->type, p->data, &v) || v < 0 || v > (int64_t)UINT32_MAX)
        return apus_fail(APUS_ERR_FORMAT, "%s: metadata '%s' is out of range", gguf->where, key);
    *out = (uint32_t)v;
    return APUS_OK;
}

apus_status apus_gguf_f32(const apus_gguf *gguf, const char *key, float *out)
{
    const pair *p = NULL;
    double v;

    APUS_FORWARD(get(gguf, key, &p));
    if (!is_number(p) || !number_float(p->type, p->data, &v))
        return wrong(gguf, key, p, "a number");
    if (!(fabs(v) <= 3.4028234e38))
        return apus_fail(APUS_ERR_FORMAT, "%s: metadata '%s' is out of range", gguf->where, key);
    *out = (float)v;
    return APUS_OK;
}

apus_status apus_gguf_bool(const apus_gguf *gguf, const char *key, bool *out)
{
    const pair *p = NULL;

    APUS_FORWARD(get(gguf, key, &p));
    if (p->type != APUS_GGUF_BOOL)
        return wrong(gguf, key, p, "bool");
    *out = *p->data != 0;
    return APUS_OK;
}

apus_status apus_gguf_array_of(const apus_gguf *gguf, const char *key, apus_gguf_array *out)
{
    const pair *p = NULL;

    APUS_FORWARD(get(gguf, key, &p));
    if (p->type != APUS_GGUF_ARRAY)
        return wrong(gguf, key, p, "array");
    *out = p->array;
    return APUS_OK;
}

bool apus_gguf_array_int(const apus_gguf_array *array, uint64_t i, int64_t *out)
{
    if (i >= array->n || array->type == APUS_GGUF_STRING || array->type == APUS_GGUF_ARRAY)
        return false;
    return number_int(array->type, array->data + i * type_bytes[array->type], out);
}

bool apus_gguf_array_float(const apus_gguf_array *array, uint64_t i, double *out)
{
    if (i >= array->n || array->type == APUS_GGUF_STRING || array->type == APUS_GGUF_ARRAY)
        return false;
    return number_float(array->type, array->data + i * type_bytes[array->type], out);
}
