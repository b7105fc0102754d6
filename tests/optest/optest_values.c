/* optest_values.c - what the runner of operator tests gives a kernel: random values in a
 * tensor's format, device buffers with a guard behind them. */
#include <math.h>

#include "half.h"
#include "layout.h"
#include "optest_internal.h"
#include "rng.h"

#define GUARD_WORDS 1024

double optest_random(uint64_t *state)
{
    uint32_t out[4];
    const uint32_t key[2] = { 7, 11 },
                   counter[4] = { (uint32_t)*state, (uint32_t)(*state >> 32), 1, 2 };

    ++*state;
    apus_philox(key, counter, out);
    return (double)apus_uniform_f32(out[0]) * 2 - 1;
}

uint64_t optesti_count(const optest_tensor *t)
{
    uint64_t n = 1;

    for (uint32_t i = 0; i < t->n_dims; i++)
        n *= t->dims[i];
    return n;
}

static uint32_t guard_word(const optesti_slot *s, uint32_t i)
{
    return s->guard ^ (i * 2654435761u & 0x003ffffeu);
}

bool optesti_slot_create(optesti_slot *s, uint64_t bytes, const void *data, uint32_t id)
{
    const uint64_t padded = apus_round_up(bytes, 4);
    uint8_t *all = apus_alloc(padded + 4 * GUARD_WORDS);

    s->bytes = padded;
    s->guard = 0x7fc00001u | id << 12;
    for (uint32_t i = 0; i < GUARD_WORDS; i++) {
        const uint32_t w = guard_word(s, i);
        memcpy(all + padded + 4 * (size_t)i, &w, 4);
    }
    if (data)
        memcpy(all, data, bytes);
    else
        memset(all, 0xff, padded); /* NaN: what is not written shows */
    const bool ok =
        CHECK_OK(apus_buffer_create(optest_gpu(), &s->buffer, padded + 4 * GUARD_WORDS,
                                    APUS_MEMORY_DEVICE, "test")) &&
        CHECK_OK(apus_buffer_write(optest_gpu(), &s->buffer, 0, all, padded + 4 * GUARD_WORDS));
    apus_free(all);
    return ok;
}

bool optesti_guard_ok(const optesti_slot *s)
{
    uint32_t words[GUARD_WORDS];

    if (!CHECK_OK(apus_buffer_read(optest_gpu(), &s->buffer, s->bytes, words, sizeof(words))))
        return false;
    for (uint32_t i = 0; i < GUARD_WORDS; i++)
        if (words[i] != guard_word(s, i))
            return false;
    return true;
}

/* ---- values ---- */

void *optesti_encode(apus_dtype type, const double *values, uint64_t n)
{
    uint8_t *out = apus_alloc(n * apus_dtype_of(type)->block_bytes);

    for (uint64_t i = 0; i < n; i++) {
        const float f = (float)values[i];
        const uint16_t h = type == APUS_F16 ? apus_f32_to_f16(f) : apus_f32_to_bf16(f);
        if (type == APUS_F32)
            memcpy(out + 4 * i, &f, 4);
        else
            memcpy(out + 2 * i, &h, 2);
    }
    return out;
}

void optesti_decode(apus_dtype type, const void *data, double *values, uint64_t n)
{
    float *f = apus_alloc(n * sizeof(float));

    apus_dtype_decode(type, data, n, f);
    for (uint64_t i = 0; i < n; i++)
        values[i] = (double)f[i];
    apus_free(f);
}

/* A block of random quants with sane scales: weights are up to 1.2 * scale, and an offset of up to
 * scale where the format has one. */
static void random_block(apus_dtype type, double scale, uint64_t *state, uint8_t *p)
{
    const double most = type == APUS_Q8_0                        ? 127
                        : type == APUS_Q4_K                      ? 15 * 63
                        : type == APUS_Q6_K                      ? 32 * 128
                        : type == APUS_Q5_0 || type == APUS_Q5_1 ? 16
                                                                 : 8;
    const uint32_t bytes = apus_dtype_of(type)->block_bytes;

    for (uint32_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)((optest_random(state) + 1) * 128);
    const uint16_t d = apus_f32_to_f16((float)((0.2 + fabs(optest_random(state))) * scale / most));
    const double offset = -optest_random(state) * scale;
    const uint16_t m = apus_f32_to_f16((float)(type == APUS_Q4_K ? offset / 63 : offset));
    memcpy(p + (type == APUS_Q6_K ? bytes - 2 : 0), &d, 2);
    if (type == APUS_Q4_1 || type == APUS_Q5_1 || type == APUS_Q4_K)
        memcpy(p + 2, &m, 2);
}

/* Random values, rounded to the tensor's format; *file is its bytes as the device holds them. */
uint8_t *optesti_values(optest_tensor *t, uint64_t *state, uint64_t *bytes)
{
    const uint64_t n = optesti_count(t);
    const double scale = t->scale != 0 ? (double)t->scale : 1;
    const uint32_t cols = t->dims[t->n_dims - 1];
    uint8_t *out;

    if (!CHECK(apus_tensor_bytes(t->dtype, t->n_dims, t->dims, bytes)))
        return NULL;
    if (t->dtype == APUS_U32 || t->dtype == APUS_I32 || t->dtype == APUS_U8) {
        out = apus_alloc(*bytes);
        if (t->u32)
            memcpy(out, t->u32, *bytes);
        return out;
    }
    const bool given = t->value != NULL;
    t->value = given ? t->value : apus_calloc(n, sizeof(double));
    if (!apus_dtype_is_quant(t->dtype)) {
        for (uint64_t i = 0; i < n && !given; i++)
            t->value[i] = optest_random(state) * scale;
        out = optesti_encode(t->dtype, t->value, n);
        optesti_decode(t->dtype, out, t->value, n);
        return out;
    }
    out = apus_alloc(*bytes);
    /* Quantized: random blocks with sane scales; values are what the format's definition
     * decodes. */
    const apus_dtype_info *info = apus_dtype_of(t->dtype);
    uint8_t *blocks = apus_alloc((uint64_t)cols / info->block * info->block_bytes);
    float *row = apus_alloc(cols * sizeof(float));
    for (uint64_t r = 0; r < n / cols; r++) {
        for (uint32_t b = 0; b < cols / info->block; b++)
            random_block(t->dtype, scale, state, blocks + b * info->block_bytes);
        apus_layout_row(t->dtype, blocks, cols, out + r * apus_layout_quant_bytes(t->dtype, cols),
                        out + apus_layout_scales_at(t->dtype, n / cols, cols) +
                            r * 4 * apus_layout_scale_words(t->dtype, cols));
        apus_dtype_decode(t->dtype, blocks, cols, row);
        for (uint32_t c = 0; c < cols; c++)
            t->value[r * cols + c] = (double)row[c];
    }
    apus_free(blocks);
    apus_free(row);
    return out;
}
