/* io_internal.h - shared by the files of this folder only: a hash index over names, a growing table
 * of tensors with such an index, and cJSON trees over hostile files. */
#ifndef APUSI_IO_INTERNAL_H
#define APUSI_IO_INTERNAL_H

#include "gguf.h"
#include "json.h"
#include "tensors.h"

/* Names to the order in which they were added.  Holds the pointers, not copies. */
typedef struct apusi_index {
    const char **names;
    uint32_t *slots; /* position + 1; 0 is free; a power of two of them, at most half full */
    size_t n, room, n_slots;
} apusi_index;

#define APUSI_NONE SIZE_MAX

apus_status apusi_index_reserve(apusi_index *index, size_t room);
/* Add a name; there must be room.  False, and nothing added, if it is there already. */
bool apusi_index_add(apusi_index *index, const char *name);
size_t apusi_index_find(const apusi_index *index, const char *name); /* APUSI_NONE if absent */
void apusi_index_release(apusi_index *index);                        /* safe on {0} */

typedef struct apusi_tensors {
    apus_file_tensor *at;
    apusi_index index;
} apusi_tensors;

/* Make room for `room` tensors in all. */
apus_status apusi_tensors_reserve(apusi_tensors *tensors, size_t room);
/* Errors: APUS_ERR_FORMAT (a second tensor of that name; `where` names the file). */
apus_status apusi_tensors_add(apusi_tensors *tensors, const apus_file_tensor *tensor,
                              const char *where);
const apus_file_tensor *apusi_tensors_find(const apusi_tensors *tensors, const char *name);
void apusi_tensors_release(apusi_tensors *tensors);

/* The Hugging Face name of a GGUF tensor, by names_gguf.def, into `out`; false if the table has no
 * row for it.  *pairs is the row's third column. */
bool apusi_gguf_name(char *out, size_t room, const char *gguf_name, uint32_t *pairs);
/* The config of a GGUF file under Hugging Face keys (checkpoint.h); free with cJSON_Delete. */
apus_status apusi_gguf_config(cJSON **out, const apus_gguf *gguf);

#endif
