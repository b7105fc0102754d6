/* tensors.h - what every file format of this folder says about a tensor: name, number format, shape
 * and where its bytes are.  Private. */
#ifndef APUSI_TENSORS_H
#define APUSI_TENSORS_H

#include "dtype.h"

/* More dimensions than this are refused (a 3-D convolution's weight has five). */
#define APUS_FILE_DIMS 6

typedef struct apus_file_tensor {
    const char *name;   /* in a checkpoint the Hugging Face name, otherwise as in the file */
    const char *format; /* number format as the file calls it ("BF16", "q4_1"), for texts */
    apus_dtype dtype;   /* APUS_DTYPE_COUNT: a format that this program cannot read yet */
    uint32_t n_dims;
    uint64_t dims[APUS_FILE_DIMS]; /* outermost first, [out, in]; GGUF's reversed order is undone */
    const uint8_t
        *data; /* in the map, borrowed until close, at any alignment; NULL if unreadable */
    uint64_t bytes;
    uint32_t pair_heads; /* > 0: rows are that many heads, each with the elements of a rotary pair
                          * adjacent (0, 1) (2, 3); Hugging Face has them half a head apart, so
                          * row h*E + 2i is its row h*E + i and h*E + 2i + 1 its h*E + E/2 + i */
} apus_file_tensor;

/* Whether the tensor's bytes can be read.  `where` names the file in the text.
 * Errors: APUS_ERR_SUPPORT ("tensor X has format q5_K: not supported yet"). */
apus_status apus_file_tensor_check(const apus_file_tensor *tensor, const char *where);
/* Number of elements; tensors of an opened file never overflow it. */
uint64_t apus_file_tensor_elements(const apus_file_tensor *tensor);

#endif
