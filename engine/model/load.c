/* load.c - weights from files into memory of the device, or the host's: formats are kept, blocks
 * re-laid into planes, rotary pairs put half a head apart, vectors widened to f32. */
#include "load.h"

#include "half.h"
#include "layout.h"

/* Which row of the file is row r of the model. */
static uint64_t file_row(const apus_file_tensor *t, uint32_t rows, uint32_t r)
{
    if (!t->pair_heads)
        return r;
    const uint32_t head_dim = rows / t->pair_heads, h = r / head_dim, e = r % head_dim;
    return (uint64_t)h * head_dim + (e < head_dim / 2 ? 2 * e : 2 * (e - head_dim / 2) + 1);
}

void apus_model_decode(const apus_file_tensor *t, uint32_t rows, uint32_t cols, float *dst)
{
    const uint32_t n = cols ? cols : 1;
    uint64_t row_bytes = 0;

    apus_dtype_bytes(t->dtype, n, &row_bytes);
    for (uint32_t r = 0; r < rows; r++)
        apus_dtype_decode(t->dtype, t->data + file_row(t, rows, r) * row_bytes, n,
                          dst + (uint64_t)r * n);
}

/* What a file would hold: shapes are the config's. */
static apus_status check_bare(const apus_model *m, apus_weight *w)
{
    w->bytes = 4 * (uint64_t)w->rows;
    w->dtype = APUS_F32;
    if (!w->cols)
        return APUS_OK;
    if (!m->train_all)
        w->dtype = w->cols % apus_dtype_of(m->count_as)->block == 0 ? m->count_as : APUS_BF16;
    if (!apus_tensor_bytes(w->dtype, 2, (uint32_t[]) { w->rows, w->cols }, &w->bytes))
        return apus_fail(APUS_ERR_SUPPORT, "%s: %s of %u x %u is too large",
                         apus_checkpoint_path(m->checkpoint), w->name, w->rows, w->cols);
    return APUS_OK;
}

static apus_status check(const apus_model *m, apus_weight *w, const apus_file_tensor **out)
{
    const apus_file_tensor *t;

    if (m->bare)
        return check_bare(m, w);
    APUS_FORWARD(apus_checkpoint_need(m->checkpoint, w->name, &t));
    if (t->n_dims != (w->cols ? 2u : 1u) || t->dims[0] != w->rows ||
        (w->cols && t->dims[1] != w->cols))
        return apus_fail(
            APUS_ERR_SHAPE, "%s: %s is %llu x %llu, the config says %u x %u",
            apus_checkpoint_path(m->checkpoint), w->name, (unsigned long long)t->dims[0],
            (unsigned long long)(t->n_dims > 1 ? t->dims[1] : 1), w->rows, w->cols ? w->cols : 1);
    w->dtype = w->cols && !m->train_all ? t->dtype : APUS_F32;
    if (m->count_as != APUS_DTYPE_COUNT && w->cols &&
        w->cols % apus_dtype_of(m->count_as)->block == 0 && !m->train_all)
        w->dtype = m->count_as;
    if (w->cols && (t->dtype >= APUS_DTYPE_COUNT || !apus_dtype_is_weight(t->dtype) ||
                    !apus_tensor_bytes(w->dtype, 2, (uint32_t[]) { w->rows, w->cols }, &w->bytes)))
        return apus_fail(APUS_ERR_SUPPORT, "%s: %s has format %s: not supported yet",
                         apus_checkpoint_path(m->checkpoint), w->name, t->format);
    if (!w->cols)
        w->bytes = 4 * (uint64_t)w->rows;
    *out = t;
    return APUS_OK;
}

/* The bytes of a weight as they lie in device memory. */
static void relay(const apus_weight *w, const apus_file_tensor *t, uint8_t *dst)
{
    if (w->dtype == APUS_F32) {
        apus_model_decode(t, w->rows, w->cols, (float *)(void *)dst);
        return;
    }
    const uint64_t row_bytes = t->bytes / w->rows;
    if (!apus_dtype_is_quant(w->dtype)) {
        for (uint32_t r = 0; r < w->rows; r++)
            memcpy(dst + r * row_bytes, t->data + file_row(t, w->rows, r) * row_bytes, row_bytes);
        return;
    }
    const uint64_t quants = apus_layout_quant_bytes(w->dtype, w->cols);
    const uint64_t scale_bytes = 4 * (uint64_t)apus_layout_scale_words(w->dtype, w->cols);
    uint8_t *scales = dst + apus_layout_scales_at(w->dtype, w->rows, w->cols);
    for (uint32_t r = 0; r < w->rows; r++)
        apus_layout_row(w->dtype, t->data + file_row(t, w->rows, r) * row_bytes, w->cols,
                        dst + r * quants, scales + r * scale_bytes);
}

/* Slabs being laid out, each of which fits one allocation. */
typedef struct slabs {
    uint64_t most, bytes[64];
    bool on_host[64];
    uint32_t n;
} slabs;

/* A place for a weight behind those before, or in a new slab. */
static apus_status add_to_slabs(slabs *s, const apus_model *m, const apus_weight *w)
{
    const uint64_t bytes = apus_round_up(w->bytes, 256);

    if (bytes > s->most)
        return apus_fail(APUS_ERR_MEMORY,
                         "%s takes %.1f GiB, more than one allocation of %s may be", w->name,
                         (double)bytes / 1073741824, apus_gpu_caps(m->gpu)->name);
    if (s->n == 0 || s->bytes[s->n - 1] + bytes > s->most || s->on_host[s->n - 1] != w->on_host) {
        if (s->n == APUS_COUNT(s->bytes))
            return apus_fail(APUS_ERR_MEMORY, "the weights need more than %u allocations", s->n);
        s->on_host[s->n] = w->on_host;
        s->bytes[s->n++] = 0;
    }
    s->bytes[s->n - 1] += bytes;
    return APUS_OK;
}

/* What is laid out one behind the other. */
enum { MATRICES, VECTORS, OF_THE_HOST, N_PARTS };

static int part_of(const apus_weight *w)
{
    return w->on_host ? OF_THE_HOST : w->cols ? MATRICES : VECTORS;
}

/* Offsets of all weights in slabs. */
static apus_status lay_out(apus_model *m, const apus_file_tensor **files, uint64_t *at,
                           uint32_t *slab_of)
{
    const apus_caps *caps = apus_gpu_caps(m->gpu);
    slabs s = { .most = caps->max_alloc ? caps->max_alloc : (uint64_t)1 << 31 };

    for (uint32_t k = 0; k < N_PARTS * m->n_weights; k++) {
        const uint32_t i = k % m->n_weights, part = k / m->n_weights;
        apus_weight *w = &m->weights[i];
        if (part_of(w) != (int)part)
            continue;
        APUS_FORWARD(check(m, w, &files[i]));
        APUS_FORWARD(add_to_slabs(&s, m, w));
        slab_of[i] = s.n - 1;
        at[i] = s.bytes[s.n - 1] - apus_round_up(w->bytes, 256);
        m->weight_bytes += apus_round_up(w->bytes, 256);
        if (part == MATRICES)
            m->n_matrix = m->weight_bytes / 4;
        if (part == OF_THE_HOST)
            m->host_bytes += apus_round_up(w->bytes, 256);
    }
    m->n_slab = m->weight_bytes / 4;
    if (m->train_all && s.n > 1)
        return apus_fail(APUS_ERR_MEMORY,
                         "full fine-tuning needs all weights in one allocation: %.1f GiB, %s "
                         "allows %.1f; use --tuner_type lora",
                         (double)m->weight_bytes / 1073741824, caps->name,
                         (double)s.most / 1073741824);
    m->slabs = apus_calloc(s.n, sizeof(*m->slabs));
    if (!m->slabs)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < s.n; i++, m->n_slabs++)
        APUS_FORWARD(apus_buffer_create(m->gpu, &m->slabs[i], s.bytes[i],
                                        s.on_host[i] ? APUS_MEMORY_AWAY : APUS_MEMORY_DEVICE,
                                        s.on_host[i] ? "weights of the host" : "weights"));
    return APUS_OK;
}

/* What products read in place of trained weights: the optimizer writes it. */
static apus_status make_copy(apus_model *m)
{
    if (!m->train_all || m->types.act == APUS_F32)
        return APUS_OK;
    APUS_FORWARD(
        apus_buffer_create(m->gpu, &m->copy, 2 * m->n_slab, APUS_MEMORY_DEVICE, "working copy"));
    for (uint32_t i = 0; i < m->n_weights; i++) {
        apus_weight *w = &m->weights[i];
        if (w->cols)
            w->copy = m->copy.address + (w->address - m->slabs[0].address) / 2;
    }
    return APUS_OK;
}

static apus_status clear(const apus_model *m, const apus_buffer *slab)
{
    apus_status st = APUS_OK;
    const uint64_t piece = 1 << 20;
    void *zeros = apus_alloc(piece);

    if (!zeros)
        return APUS_ERR_MEMORY;
    for (uint64_t at = 0; at < slab->bytes && st == APUS_OK; at += piece)
        st = apus_buffer_write(m->gpu, slab, at, zeros,
                               slab->bytes - at < piece ? slab->bytes - at : piece);
    apus_free(zeros);
    return st;
}

apus_status apus_model_load(apus_model *m)
{
    apus_status st = APUS_OK;
    const apus_file_tensor **files = apus_calloc(m->n_weights, sizeof(*files));
    uint64_t *at = apus_calloc(m->n_weights, sizeof(*at));
    uint32_t *slab_of = apus_calloc(m->n_weights, sizeof(*slab_of));
    uint8_t *bytes = NULL;

    if (!files || !at || !slab_of)
        APUS_TRY(APUS_ERR_MEMORY);
    APUS_TRY(lay_out(m, files, at, slab_of));
    if (m->train_all &&
        !apus_gpu_counts(
            m->gpu)) /* the padding between tensors takes part in the optimizer: zeros */
        APUS_TRY(clear(m, &m->slabs[0]));
    for (uint32_t i = 0; i < m->n_weights; i++) {
        apus_weight *w = &m->weights[i];
        const apus_buffer *slab = &m->slabs[slab_of[i]];
        w->address = slab->address + at[i];
        if (apus_gpu_counts(m->gpu))
            continue;
        if (slab->host) { /* mapped: written in place */
            relay(w, files[i], (uint8_t *)slab->host + at[i]);
            apus_checkpoint_forget(files[i]);
            continue;
        }
        bytes = apus_alloc(w->bytes);
        if (!bytes)
            APUS_TRY(APUS_ERR_MEMORY);
        relay(w, files[i], bytes);
        apus_checkpoint_forget(files[i]);
        APUS_TRY(apus_buffer_write(m->gpu, slab, at[i], bytes, w->bytes));
        apus_free(bytes);
        bytes = NULL;
    }
    APUS_TRY(make_copy(m));
fail:
    apus_free(files);
    apus_free(at);
    apus_free(slab_of);
    apus_free(bytes);
    return st;
}
