/* dtype.c - the table of number formats and the definition of their values.
 *
 * Blocks of 32 elements, little-endian (GGML's layouts):
 *   q8_0  f16 d, 32 x int8 q                 x[j] = q[j] d
 *   q4_0  f16 d, 16 bytes                    x[j] = (q[j] - 8) d
 *   q4_1  f16 d, f16 m, 16 bytes             x[j] = q[j] d + m
 *   q5_0  f16 d, u32 h, 16 bytes             x[j] = (q[j] - 16) d
 *   q5_1  f16 d, f16 m, u32 h, 16 bytes      x[j] = q[j] d + m
 * where byte j holds q[j] in its low and q[j + 16] in its high four bits, bit j of h is the fifth.
 *
 * Blocks of 256 elements, whose scales have scales of their own:
 *   q4_k  f16 d, f16 e, 12 bytes, 128 bytes  x[j] = q[j] s[j / 32] d - m[j / 32] e
 *         of each 64 elements 32 bytes: the first 32 in the low, the others in the high four bits;
 *         s and m have six bits: those of 0..3 are bytes 0..3 and 4..7, those of 4..7 have their
 *         low four bits in bytes 8..11 (s low, m high) and two bits above the earlier ones'.
 *   q6_k  128 bytes, 64 bytes, 16 x int8 s, f16 d    x[j] = (q[j] - 32) s[j / 16] d
 *         of each 128 elements 64 bytes have the low four bits, as above: 0..63 low, 64..127 high;
 *         32 bytes have the two above, byte j those of j, j + 32, j + 64 and j + 96. */
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

static float load_f16(const uint8_t *p)
{
    return apus_f16_to_f32(load_u16(p));
}

/* Bytes before the quants of a block of 32. */
static uint32_t head_bytes(apus_dtype dtype)
{
    return apus_dtype_of(dtype)->block_bytes - (dtype == APUS_Q8_0 ? 32 : 16);
}

void apus_dtype_quants(apus_dtype dtype, const uint8_t *p, uint8_t *q)
{
    if (dtype == APUS_Q6_K) {
        for (int i = 0; i < 256; i++) {
            const int part = i / 128, r = i % 128;
            q[i] = (uint8_t)((p[64 * part + r % 64] >> (r < 64 ? 0 : 4) & 15) |
                             (p[128 + 32 * part + r % 32] >> r / 32 * 2 & 3) << 4);
        }
        return;
    }
    if (dtype == APUS_Q4_K) {
        for (int i = 0; i < 256; i++)
            q[i] = p[16 + i / 64 * 32 + i % 32] >> (i % 64 < 32 ? 0 : 4) & 15;
        return;
    }
    const uint8_t *from = p + head_bytes(dtype);
    if (dtype == APUS_Q8_0) {
        memcpy(q, from, 32);
        return;
    }
    const bool fifth = dtype == APUS_Q5_0 || dtype == APUS_Q5_1;
    const uint32_t high = fifth ? load_u32(from - 4) : 0;
    for (int i = 0; i < 32; i++)
        q[i] = (uint8_t)((from[i % 16] >> (i < 16 ? 0 : 4) & 15) | (high >> i & 1) << 4);
}

void apus_dtype_q4_k_scales(const uint8_t *block, uint8_t s[8], uint8_t m[8])
{
    const uint8_t *p = block + 4;

    for (int b = 0; b < 4; b++) {
        s[b] = p[b] & 63;
        m[b] = p[b + 4] & 63;
        s[b + 4] = (uint8_t)((p[b + 8] & 15) | p[b] >> 6 << 4);
        m[b + 4] = (uint8_t)(p[b + 8] >> 4 | p[b + 4] >> 6 << 4);
    }
}

static void decode_q4_k(const uint8_t *p, const uint8_t *q, float *dst)
{
    const float d = load_f16(p), e = load_f16(p + 2);
    uint8_t s[8], m[8];

    apus_dtype_q4_k_scales(p, s, m);
    for (int i = 0; i < 256; i++)
        dst[i] = (float)q[i] * (d * s[i / 32]) - e * m[i / 32];
}

static void decode_q6_k(const uint8_t *p, const uint8_t *q, float *dst)
{
    const float d = load_f16(p + 208);

    for (int i = 0; i < 256; i++)
        dst[i] = (float)(q[i] - 32) * (d * (int8_t)p[192 + i / 16]);
}

static void decode_quant(apus_dtype dtype, const uint8_t *p, float *dst)
{
    uint8_t q[256];

    apus_dtype_quants(dtype, p, q);
    if (dtype == APUS_Q4_K) {
        decode_q4_k(p, q, dst);
        return;
    }
    if (dtype == APUS_Q6_K) {
        decode_q6_k(p, q, dst);
        return;
    }
    const bool offset = dtype == APUS_Q4_1 || dtype == APUS_Q5_1;
    const int zero = dtype == APUS_Q4_0 ? 8 : dtype == APUS_Q5_0 ? 16 : 0;
    const float d = load_f16(p), m = offset ? load_f16(p + 2) : 0;
    for (int j = 0; j < 32; j++) {
        const float x = d * (float)(dtype == APUS_Q8_0 ? (int8_t)q[j] : q[j] - zero);
        dst[j] = offset ? x + m : x;
    }
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
    case APUS_U8:
        dst[0] = (float)*p;
        break;
    case APUS_Q8_0:
    case APUS_Q4_0:
    case APUS_Q4_1:
    case APUS_Q5_0:
    case APUS_Q5_1:
    case APUS_Q4_K:
    case APUS_Q6_K:
        decode_quant(dtype, p, dst);
        break;
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
