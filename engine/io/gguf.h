/* gguf.h - reader of GGUF files, versions 2 and 3, little-endian.  Private.
 *
 * The format: "GGUF", u32 version, u64 number of tensors, u64 number of metadata pairs; the pairs,
 * each a key (u64 length, bytes), a u32 type and a value; for each tensor its name, u32 number of
 * dimensions, u64 dimensions (innermost first), u32 number format, u64 offset; then, at the next
 * multiple of general.alignment (32 if absent), the data that the offsets count from.  A string is
 * a u64 length and bytes; an array is a u32 type, a u64 count and the values. */
#ifndef APUSI_GGUF_H
#define APUSI_GGUF_H

#include "tensors.h"

typedef struct apus_gguf apus_gguf;

typedef enum apus_gguf_type {
    APUS_GGUF_U8,
    APUS_GGUF_I8,
    APUS_GGUF_U16,
    APUS_GGUF_I16,
    APUS_GGUF_U32,
    APUS_GGUF_I32,
    APUS_GGUF_F32,
    APUS_GGUF_BOOL,
    APUS_GGUF_STRING,
    APUS_GGUF_ARRAY,
    APUS_GGUF_U64,
    APUS_GGUF_I64,
    APUS_GGUF_F64,
    APUS_GGUF_TYPE_COUNT
} apus_gguf_type;

/* Bytes in the map, borrowed until close; not NUL-terminated, perhaps not UTF-8. */
typedef struct apus_gguf_text {
    const char *text;
    uint64_t bytes;
} apus_gguf_text;

typedef struct apus_gguf_array {
    apus_gguf_type type; /* of the elements */
    uint64_t n;
    const uint8_t *data;         /* numbers: n of them, little-endian, at any alignment */
    const apus_gguf_text *texts; /* strings: n of them, otherwise NULL */
} apus_gguf_array;

/* Errors: APUS_ERR_MISSING, APUS_ERR_IO, APUS_ERR_FORMAT (what lies, and at which byte),
 * APUS_ERR_SUPPORT (version 1, big-endian), APUS_ERR_MEMORY. */
apus_status apus_gguf_open(apus_gguf **out, const char *path);
/* The same over memory that the caller keeps until close; `where` stands for the path in texts. */
apus_status apus_gguf_parse(apus_gguf **out, const uint8_t *data, uint64_t bytes,
                            const char *where);
void apus_gguf_close(apus_gguf **gguf);

const char *apus_gguf_where(const apus_gguf *gguf); /* the path */
size_t apus_gguf_count(const apus_gguf *gguf);
/* Tensors under the file's own names.  A format that dtype.def does not have is listed with dtype
 * APUS_DTYPE_COUNT and its GGML name. */
const apus_file_tensor *apus_gguf_at(const apus_gguf *gguf, size_t i);
const apus_file_tensor *apus_gguf_find(const apus_gguf *gguf, const char *name);

/* Metadata.  Errors of the getters: APUS_ERR_MISSING (no such key), APUS_ERR_FORMAT (another type,
 * or a number out of range); *out is then unchanged, so that it may hold a default before. */
bool apus_gguf_has(const apus_gguf *gguf, const char *key);
apus_status apus_gguf_string(const apus_gguf *gguf, const char *key, apus_gguf_text *out);
apus_status apus_gguf_u32(const apus_gguf *gguf, const char *key, uint32_t *out); /* any integer */
apus_status apus_gguf_f32(const apus_gguf *gguf, const char *key, float *out);    /* any number */
apus_status apus_gguf_bool(const apus_gguf *gguf, const char *key, bool *out);
apus_status apus_gguf_array_of(const apus_gguf *gguf, const char *key, apus_gguf_array *out);
/* Element i < n as a whole number (integers and bools) or as a float (any number). */
bool apus_gguf_array_int(const apus_gguf_array *array, uint64_t i, int64_t *out);
bool apus_gguf_array_float(const apus_gguf_array *array, uint64_t i, double *out);

#endif
