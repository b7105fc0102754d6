/* moments.c - the optimizer's state of a training step.  See moments.h.
 *
 * With 8 bits, tensors of fewer than 4096 elements and the embedding keep f32, as in bitsandbytes
 * and transformers: there is little to save in the first, and the gradients of the second's rows
 * differ too much to share a scale.  Each tensor's blocks begin with it; neighbours whose blocks
 * are whole are one run. */
#include "moments.h"

#include "args/adamw_8bit.h"

#define LEAST_CODED 4096 /* elements */
#define BLOCK APUS_ADAMW_BLOCK

/* A tensor in the slab, with the padding behind it. */
typedef struct part {
    uint64_t at, end, n;
    bool embedding;
} part;

typedef struct run {
    uint64_t at, n;
    bool coded;
} run;

static int by_place(const void *a, const void *b)
{
    const part *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

/* What is trained, in the slab's order. */
static apus_status parts_of(const apus_model *model, const apus_adapters *ad, uint64_t n,
                            part **out, uint32_t *count)
{
    const uint32_t most = ad ? 2 * ad->n_modules : model->n_weights;
    part *p = apus_calloc(most, sizeof(*p));
    uint32_t k = 0;

    *out = p;
    if (!p)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; ad && i < ad->n_modules; i++) {
        const apus_lora_place *x = &ad->slots[0].places[i];
        const apus_weight *w = ad->modules[i].weight;
        if (!x->rank)
            continue;
        p[k++] = (part) { .at = x->a, .n = (uint64_t)x->rank * w->cols };
        p[k++] = (part) { .at = x->b, .n = (uint64_t)x->rank * w->rows };
    }
    for (uint32_t i = 0; !ad && i < model->n_weights; i++) {
        const apus_weight *w = &model->weights[i];
        p[k++] = (part) { .at = (w->address - model->slabs[0].address) / 4,
                          .n = w->bytes / 4,
                          .embedding = !strcmp(w->name, model->arch->embed) };
    }
    qsort(p, k, sizeof(*p), by_place);
    for (uint32_t i = 0; i < k; i++)
        p[i].end = i + 1 < k ? p[i + 1].at : n;
    *count = k;
    return APUS_OK;
}

/* Runs in the slab's order; `runs` has room for one a part. */
static uint32_t join(const part *parts, uint32_t n, run *runs)
{
    uint32_t k = 0;

    for (uint32_t i = 0; i < n; i++) {
        const bool coded = parts[i].n >= LEAST_CODED && !parts[i].embedding;
        const uint64_t size = parts[i].end - parts[i].at;
        if (k && runs[k - 1].coded == coded && runs[k - 1].n % BLOCK == 0)
            runs[k - 1].n += size;
        else
            runs[k++] = (run) { parts[i].at, size, coded };
    }
    return k;
}

/* The table that the kernel reads: runs with codes first, blocks counted through. */
static apus_status make_table(apusi_moments *m, const run *runs)
{
    uint64_t block = 0;
    uint32_t k = 0;

    m->table = apus_calloc(m->n_runs, APUS_ADAMW_RUN_WORDS * sizeof(*m->table));
    if (!m->table)
        return APUS_ERR_MEMORY;
    for (int coded = 1; coded >= 0; coded--) {
        for (uint32_t i = 0; i < m->n_runs; i++) {
            uint32_t *row = m->table + APUS_ADAMW_RUN_WORDS * (size_t)k;
            if (runs[i].coded != coded)
                continue;
            row[0] = (uint32_t)block;
            row[1] = (uint32_t)(runs[i].at / 4);
            row[2] = (uint32_t)(runs[i].n / 4);
            block += apus_ceil_div(runs[i].n, BLOCK);
            m->coded += coded ? runs[i].n : 0;
            k++;
        }
        if (coded)
            m->n_coded = (uint32_t)block;
    }
    if (block * BLOCK > UINT32_MAX)
        return apus_fail(APUS_ERR_SUPPORT, "more than 2^32 trained parameters");
    m->n_blocks = (uint32_t)block;
    return APUS_OK;
}

static apus_status plan_runs(apusi_moments *m, const apus_model *model, const apus_adapters *ad)
{
    apus_status st;
    part *parts = NULL;
    run *runs = NULL;
    uint32_t n = 0;

    APUS_TRY(parts_of(model, ad, m->n, &parts, &n));
    runs = apus_calloc(n, sizeof(*runs));
    if (!runs)
        APUS_TRY(APUS_ERR_MEMORY);
    m->n_runs = join(parts, n, runs);
    APUS_TRY(make_table(m, runs));
fail:
    apus_free(parts);
    apus_free(runs);
    return st;
}

apus_status apusi_buffer_zero(apus_gpu *gpu, apus_buffer *b, uint64_t bytes, apus_memory memory,
                              const char *name)
{
    apus_status st = APUS_OK;
    const uint64_t piece = 4 << 20;
    void *zeros;

    APUS_FORWARD(apus_buffer_create(gpu, b, bytes, memory, name));
    zeros = apus_calloc(piece, 1);
    if (!zeros)
        return APUS_ERR_MEMORY;
    for (uint64_t at = 0; at < bytes && st == APUS_OK; at += piece)
        st = apus_buffer_write(gpu, b, at, zeros, bytes - at < piece ? bytes - at : piece);
    apus_free(zeros);
    return st;
}

apus_status apusi_moments_create(apusi_moments *m, apus_model *model, const apus_adapters *ad,
                                 apus_optim optim, apus_memory memory, uint64_t n)
{
    apus_gpu *gpu = model->gpu;
    uint64_t wide = n;

    *m = (apusi_moments) { .optim = optim, .memory = memory, .n = n };
    if (optim == APUS_OPTIM_ADAMW_8BIT) {
        APUS_FORWARD(plan_runs(m, model, ad));
        const uint64_t coded = m->n_coded ? m->n_coded : 1; /* a buffer has bytes */
        const uint64_t table = APUS_ADAMW_RUN_WORDS * sizeof(*m->table) * (uint64_t)m->n_runs;
        wide = (uint64_t)BLOCK * (m->n_blocks > m->n_coded ? m->n_blocks - m->n_coded : 1);
        APUS_FORWARD(apusi_buffer_zero(gpu, &m->codes_m, BLOCK * coded, memory,
                                       "codes of the first moment"));
        APUS_FORWARD(apusi_buffer_zero(gpu, &m->codes_v, BLOCK * coded, memory,
                                       "codes of the second moment"));
        APUS_FORWARD(apusi_buffer_zero(gpu, &m->scales, 8 * coded, memory, "scales of moments"));
        APUS_FORWARD(
            apus_buffer_create(gpu, &m->runs, table, APUS_MEMORY_DEVICE, "runs of moments"));
        APUS_FORWARD(apus_buffer_write(gpu, &m->runs, 0, m->table, table));
    }
    APUS_FORWARD(apusi_buffer_zero(gpu, &m->wide_m, 4 * wide, memory, "first moment"));
    return apusi_buffer_zero(gpu, &m->wide_v, 4 * wide, memory, "second moment");
}

void apusi_moments_destroy(apusi_moments *m, apus_gpu *gpu)
{
    apus_buffer *const all[] = { &m->wide_m,  &m->wide_v, &m->codes_m,
                                 &m->codes_v, &m->scales, &m->runs };

    for (size_t i = 0; i < APUS_COUNT(all); i++)
        apus_buffer_destroy(gpu, all[i]);
    apus_free(m->table);
    *m = (apusi_moments) { 0 };
}

uint64_t apusi_moments_bytes(const apusi_moments *m)
{
    return m->wide_m.bytes + m->wide_v.bytes + m->codes_m.bytes + m->codes_v.bytes +
           m->scales.bytes + m->runs.bytes;
}

size_t apusi_moments_list(const apusi_moments *m, apusi_moment out[APUSI_MOST_MOMENTS])
{
    /* transformers' and bitsandbytes' names of the same things, but for the last. */
    const apusi_moment all[APUSI_MOST_MOMENTS] = {
        { "exp_avg", APUS_F32, &m->wide_m }, { "exp_avg_sq", APUS_F32, &m->wide_v },
        { "state1", APUS_U8, &m->codes_m },  { "state2", APUS_U8, &m->codes_v },
        { "absmax", APUS_F32, &m->scales },  { "runs", APUS_I32, &m->runs },
    };
    const size_t n = m->optim == APUS_OPTIM_ADAMW_8BIT ? APUSI_MOST_MOMENTS : 2;

    memcpy(out, all, n * sizeof(*out));
    return n;
}
