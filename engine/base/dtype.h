/* dtype.h - number formats of tensors, from dtype.def. */
#ifndef APUSI_DTYPE_H
#define APUSI_DTYPE_H

#include "base.h"

typedef enum apus_dtype {
#define X(name, text, n, bytes, gguf, st) APUS_##name,
#include "dtype.def"
#undef X
    APUS_DTYPE_COUNT
} apus_dtype;

typedef struct apus_dtype_info {
    const char *name;
    uint32_t block;       /* elements a block */
    uint32_t block_bytes; /* bytes a block in a file */
    int gguf;             /* GGML type id, -1: none */
    const char *safetensors;
} apus_dtype_info;

const apus_dtype_info *apus_dtype_of(apus_dtype dtype);
bool apus_dtype_by_gguf(int gguf, apus_dtype *out);
bool apus_dtype_by_safetensors(const char *name, apus_dtype *out);
bool apus_dtype_by_name(const char *name, apus_dtype *out);
/* PyTorch's names, "float32", "float16", "bfloat16"; NULL and false for what is none of them. */
const char *apus_dtype_torch(apus_dtype dtype);
bool apus_dtype_by_torch(const char *name, apus_dtype *out);
static inline bool apus_dtype_is_quant(apus_dtype d)
{
    return apus_dtype_of(d)->block > 1;
}
/* What activations may be stored in: f32, f16, bf16. */
static inline bool apus_dtype_is_plain(apus_dtype d)
{
    return d <= APUS_BF16;
}
/* What weights may be stored in. */
static inline bool apus_dtype_is_weight(apus_dtype d)
{
    return apus_dtype_is_plain(d) || apus_dtype_is_quant(d);
}
/* Bytes of n elements as stored in a file; false if n is not whole blocks or the size overflows. */
bool apus_dtype_bytes(apus_dtype dtype, uint64_t n, uint64_t *bytes);
/* Decode n elements (whole blocks) to f32: the definition that shaders are tested against. */
void apus_dtype_decode(apus_dtype dtype, const void *src, uint64_t n, float *dst);
/* What a block is made of: its quants in order, as they are stored (q8_0: signed bytes); the scales
 * and minima of a block of q4_k. */
void apus_dtype_quants(apus_dtype dtype, const uint8_t *block, uint8_t *q);
void apus_dtype_q4_k_scales(const uint8_t *block, uint8_t s[8], uint8_t m[8]);

#endif
