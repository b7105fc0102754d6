/* dtype.c - the table of number formats and the definition of their values.
 *
 * Blocks of 32 elements, little-endian (GGML's layouts):
 *   q8_0  f16 d, 32 x int8 q                 x[j] = q[j] d
 *   q4_0  f16 d, 16 bytes                    x[j] = (q[j] - 8) d
 *   q4_1  f16 d, f16 m, 16 bytes             x[j] = q[j] d + m
 * where byte j holds q[j] in its low and q[j + 16] in its high four bits. */
#include "dtype.h"

#include "half.h"

static const apus_dtype_info infos[APUS_DTYPE_COUNT] = {
#define X(name, text, n, bytes, gguf, st) [APUS_##name] = { text, n, bytes, gguf, st },
#include "dtype.def"
#undef X
};

const apus_dtype_info *apus_dtype_of(apus_dtype dtype)
{
    APUS_BUG_IF((unsigned)dtype >= APUS_DTYPE_COUNT);
    return &infos[dtype];
}

bool apus_dtype_by_gguf(int gguf, apus_dtype *out)
{
    if (gguf < 0)
        return false;
    for (int i = 0; i < APUS_DTYPE_COUNT; i++) {
        if (infos[i].gguf == gguf) {
            *out = (apus_dtype)i;
            return true;
        }
    }
    return false;
}

bool apus_dtype_by_safetensors(const char *name, apus_dtype *out)
{
    if (!name[0])
        return false;
    for (int i = 0; i < APUS_DTYPE_COUNT; i++) {
        if (!strcmp(infos[i].safetensors, name)) {
            *out = (apus_dtype)i;
            return true;
        }
    }
    return false;
}

bool apus_dtype_by_name(const char *name, apus_dtype *out)
{
    for (int i = 0; i < APUS_DTYPE_COUNT; i++) {
        if (!strcmp(infos[i].name, name)) {
            *out = (apus_dtype)i;
            return true;
        }
    }
    return false;
}

static const char *const torch_names[] = {
    [APUS_F32] = "float32", [APUS_F16] = "float16", [APUS_BF16] = "bfloat16"
};

const char *apus_dtype_torch(apus_dtype dtype)
{
    return (size_t)dtype < APUS_COUNT(torch_names) ? torch_names[dtype] : NULL;
}

bool apus_dtype_by_torch(const char *name, apus_dtype *out)
{
    for (size_t i = 0; i < APUS_COUNT(torch_names); i++)
        if (!strcmp(torch_names[i], name)) {
            *out = (apus_dtype)i;
            return true;
        }
    return false;
}

bool apus_dtype_bytes(apus_dtype dtype, uint64_t n, uint64_t *bytes)
{
    const apus_dtype_info *info = apus_dtype_of(dtype);

    return n % info->block == 0 && apus_mul_u64(n / info->block, info->block_bytes, bytes);
}

static uint16_t load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)load_u16(p) | (uint32_t)load_u16(p + 2) << 16;
}

/* One block; dst has room for its elements. */
static void decode_block(apus_dtype dtype, const uint8_t *p, float *dst)
{
    switch (dtype) {
    case APUS_F32:
        memcpy(dst, p, 4);
        break;
    case APUS_F16:
        dst[0] = apus_f16_to_f32(load_u16(p));
        break;
    case APUS_BF16:
        dst[0] = apus_bf16_to_f32(load_u16(p));
        break;
    case APUS_U32:
        dst[0] = (float)load_u32(p);
        break;
    case APUS_I32:
        dst[0] = (float)(int32_t)load_u32(p);
        break;
    case APUS_I64:
        dst[0] = (float)(int64_t)(load_u32(p) | (uint64_t)load_u32(p + 4) << 32);
        break;
    case APUS_Q8_0: {
        const float d = apus_f16_to_f32(load_u16(p));
        for (int j = 0; j < 32; j++)
            dst[j] = (float)(int8_t)p[2 + j] * d;
        break;
    }
    case APUS_Q4_0: {
        const float d = apus_f16_to_f32(load_u16(p));
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)((p[2 + j] & 15) - 8) * d;
            dst[j + 16] = (float)((p[2 + j] >> 4) - 8) * d;
        }
        break;
    }
    case APUS_Q4_1: {
        const float d = apus_f16_to_f32(load_u16(p));
        const float m = apus_f16_to_f32(load_u16(p + 2));
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)(p[4 + j] & 15) * d + m;
            dst[j + 16] = (float)(p[4 + j] >> 4) * d + m;
        }
        break;
    }
    case APUS_DTYPE_COUNT:
        APUS_BUG_IF(dtype == APUS_DTYPE_COUNT);
    }
}

void apus_dtype_decode(apus_dtype dtype, const void *src, uint64_t n, float *dst)
{
    const apus_dtype_info *info = apus_dtype_of(dtype);
    const uint8_t *p = src;

    APUS_BUG_IF(n % info->block != 0);
    for (uint64_t i = 0; i < n / info->block; i++)
        decode_block(dtype, p + i * info->block_bytes, dst + i * info->block);
}
