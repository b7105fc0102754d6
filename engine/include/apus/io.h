/* io.h - models as files: a Hugging Face folder or a GGUF file, opened by one call and listed.
 *
 * Thread-safety: an opened checkpoint is not changed by any call but close; several threads may
 * read it at once. */
#ifndef APUS_IO_H
#define APUS_IO_H

#include "apus/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct apus_checkpoint apus_checkpoint;

/* Open a folder (config.json with model.safetensors, or with model.safetensors.index.json and its
 * shards) or a GGUF file.  Files are mapped, nothing is read ahead; they must not change until
 * close.  *out is NULL after a failure.
 * Errors: APUS_ERR_MISSING (no such file, no weights in the folder), APUS_ERR_FORMAT (malformed;
 * the text says where), APUS_ERR_SUPPORT (a pickle, an architecture that is not known),
 * APUS_ERR_IO, APUS_ERR_MEMORY. */
apus_status apus_checkpoint_open(apus_checkpoint **out, const char *path);
/* Safe on &{NULL}; leaves NULL. */
void apus_checkpoint_close(apus_checkpoint **checkpoint);

const char *apus_checkpoint_path(const apus_checkpoint *checkpoint);
bool apus_checkpoint_is_gguf(const apus_checkpoint *checkpoint);
/* GGUF's general.name if it has one, else the folder's name or the file's without ".gguf". */
const char *apus_checkpoint_name(const apus_checkpoint *checkpoint);
size_t apus_checkpoint_count(const apus_checkpoint *checkpoint);

/* A tensor as a listing shows it; borrowed until close. */
typedef struct apus_tensor_info {
    const char *name;   /* Hugging Face name */
    const char *format; /* number format as the file calls it: "BF16", "q4_1" */
    uint32_t n_dims;    /* [0, 6] */
    uint64_t dims[6];   /* outermost first; 0 behind n_dims */
    uint64_t bytes;     /* in the file */
    bool readable;      /* false: the format is not supported yet */
} apus_tensor_info;

/* Tensor i in [0, count), in the order of the files. */
void apus_checkpoint_info(const apus_checkpoint *checkpoint, size_t i, apus_tensor_info *out);

#ifdef __cplusplus
}
#endif
#endif
