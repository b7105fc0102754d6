/* safetensors.h - reader and writer of safetensors files.  Private.
 *
 * The format: eight bytes, little-endian, the length of the header; the header, one JSON object of
 * at most 100 MB that may be followed by spaces; the data.  A member of the object is a tensor's
 *     "name": {"dtype": "BF16", "shape": [out, in], "data_offsets": [begin, end]}
 * with offsets from the first byte of the data, or "__metadata__", an object of strings.  Tensors
 * cover the data without holes or overlaps. */
#ifndef APUSI_SAFETENSORS_H
#define APUSI_SAFETENSORS_H

#include "json.h"
#include "tensors.h"

typedef struct apus_safetensors apus_safetensors;

/* Errors: APUS_ERR_MISSING, APUS_ERR_IO, APUS_ERR_FORMAT (what lies, by name), APUS_ERR_MEMORY. */
apus_status apus_safetensors_open(apus_safetensors **out, const char *path);
/* The same over memory that the caller keeps until close; `where` stands for the path in texts. */
apus_status apus_safetensors_parse(apus_safetensors **out, const uint8_t *data, uint64_t bytes,
                                   const char *where);
void apus_safetensors_close(apus_safetensors **file);

size_t apus_safetensors_count(const apus_safetensors *file);
/* In order of their data.  A format that dtype.def does not have is listed as APUS_DTYPE_COUNT. */
const apus_file_tensor *apus_safetensors_at(const apus_safetensors *file, size_t i);
const apus_file_tensor *apus_safetensors_find(const apus_safetensors *file, const char *name);
/* A tensor whose bytes can be read.  Errors: APUS_ERR_MISSING, APUS_ERR_SUPPORT (its format). */
apus_status apus_safetensors_need(const apus_safetensors *file, const char *name,
                                  const apus_file_tensor **out);
/* The value of a key of "__metadata__", or NULL. */
const char *apus_safetensors_metadata(const apus_safetensors *file, const char *key);

/* A tensor to be written.  Its bytes are at `data`, or, if that is NULL, are asked from `read` in
 * pieces of growing offset when their turn comes.  A failure of `read` ends the writing with it. */
typedef struct apus_safetensors_entry {
    const char *name;
    apus_dtype dtype; /* one with a safetensors name */
    uint32_t n_dims;
    uint64_t dims[APUS_FILE_DIMS];
    const void *data;
    apus_status (*read)(void *user, uint64_t offset, void *out, size_t bytes);
    void *user;
} apus_safetensors_entry;

typedef struct apus_safetensors_pair {
    const char *key;
    const char *value;
} apus_safetensors_pair;

/* Write a file as the reference implementation does: compact header padded with spaces to whole
 * 8 bytes, wider formats first, then by name.  The file is seen under `path` only when complete.
 * Errors: APUS_ERR_ARG (a name twice, a format without a safetensors name), APUS_ERR_IO,
 * APUS_ERR_MEMORY, those of `read`. */
apus_status apus_safetensors_write(const char *path, const apus_safetensors_entry *entries,
                                   size_t n, const apus_safetensors_pair *metadata,
                                   size_t n_metadata);
/* Write the weights of a model folder: model.safetensors, or, where that would hold more than
 * `max_shard_bytes` of data, model-00001-of-0000N.safetensors, filled in the order of the entries,
 * and then model.safetensors.index.json.  Weights of an earlier save in `dir` that the new ones do
 * not replace (other shards, a stale index) are removed last.  Metadata is {"format": "pt"}.
 * Errors: as above. */
apus_status apus_safetensors_write_sharded(const char *dir, const apus_safetensors_entry *entries,
                                           size_t n, uint64_t max_shard_bytes);

#endif
