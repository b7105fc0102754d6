/* attention_coop.c - the algorithms coop and coop_bf16 of attention: where they fit, with what
 * numbers. */
#include "attention_problem.h"

/* Blocks of the builder's size are put together up to `subs` subgroups' worth of rows. */
typedef struct coop_shape {
    uint32_t subs, keys; /* subgroups; keys of a turn */
    uint32_t blocks;     /* of a workgroup */
    apus_coop_shape f;
} coop_shape;

/* Bytes of shared memory: rows of q and of keys, padded, and scores in f32, padded. */
static uint64_t shared_of(const coop_shape *s, uint32_t head_dim)
{
    const uint64_t rows = s->subs * s->f.m;

    return (rows + s->keys) * (2u * head_dim + 16) + rows * (4u * s->keys + 16);
}

/* False where the device lists no shape that divides a head, or lacks memory for it. */
static bool coop_of(const apus_caps *caps, const apusi_attention_case *c, apus_dtype in,
                    coop_shape *s)
{
    const apus_coop_shape *f = apus_caps_coop(caps, in);

    if (!f || !caps->coop_built || !caps->subgroup_arith || !caps->subgroup_shuffle)
        return false;
    s->f = *f;
    s->keys = caps->subgroup < 32 ? 16 : 32;
    for (s->subs = 4; s->subs > 1 && shared_of(s, c->head_dim) > caps->max_shared;)
        s->subs /= 2;
    s->blocks = c->block_rows ? s->subs * f->m / c->block_rows : 0;
    const uint32_t split = caps->subgroup / f->m;
    return caps->subgroup % f->m == 0 && f->n % 8 == 0 && f->k % 8 == 0 &&
           s->keys % (8 * split) == 0 && s->keys % f->n == 0 && s->keys % f->k == 0 &&
           c->head_dim % 8 == 0 && c->head_dim % f->n == 0 && c->head_dim % f->k == 0 &&
           s->blocks > 0 && s->subs * caps->subgroup <= caps->max_invocations &&
           shared_of(s, c->head_dim) <= caps->max_shared;
}

bool apusi_attention_coop_fits(const apus_caps *caps, const void *problem)
{
    return coop_of(caps, problem, APUS_F16, &(coop_shape) { 0 });
}

bool apusi_attention_coop_bf16_fits(const apus_caps *caps, const void *problem)
{
    return coop_of(caps, problem, APUS_BF16, &(coop_shape) { 0 });
}

/* NVIDIA's compiler makes wrong code of others' attention on Turing's matrix cores
 * (https://github.com/ggml-org/llama.cpp/pull/19290): by default ours stays away from them. */
static bool turing(const apus_caps *caps)
{
    const uint32_t id = caps->device_id;

    return caps->vendor_id == 0x10de &&
           ((id >= 0x1e00 && id < 0x2000) || (id >= 0x2180 && id < 0x2200));
}

/* Not where a sequence has a token, whose few rows would be mostly padding; and sums of o take at
 * most half of the registers, of which narrow subgroups (Intel's) have too few. */
static bool worth(const apus_caps *caps, const apusi_attention_case *c)
{
    return caps->device_class == APUS_CLASS_GPU && caps->subgroup >= 32 && !c->one_token &&
           c->head_dim <= 128 && !turing(caps);
}

bool apusi_attention_coop_chosen(const apus_caps *caps, const void *problem)
{
    return worth(caps, problem);
}

/* f16 keeps what f16 has; bf16 would not. */
bool apusi_attention_coop_bf16_sound(const apus_caps *caps, const void *problem)
{
    const apusi_attention_case *c = problem;

    (void)caps;
    return c->q != APUS_F16 && c->kv != APUS_F16;
}

/* f16 has three bits more; bf16 where numbers may be beyond its range. */
bool apusi_attention_coop_bf16_chosen(const apus_caps *caps, const void *problem)
{
    const apusi_attention_case *c = problem;

    return worth(caps, c) && (c->q == APUS_BF16 || c->kv == APUS_BF16);
}

apus_status apusi_attention_coop_spec(const apus_caps *caps, const apusi_attention_case *c,
                                      bool bf16, apus_dispatch *d)
{
    coop_shape s;

    if (!coop_of(caps, c, bf16 ? APUS_BF16 : APUS_F16, &s))
        return apus_fail(APUS_ERR_SUPPORT, "attention: no cooperative-matrix shape for %s",
                         caps->name);
    const bool together = caps->device_class == APUS_CLASS_CPU;
    const uint32_t own[] = { s.subs, s.f.m, s.f.n, s.f.k, c->block_rows, together };
    d->kernel = bf16 ? "attention_coop_bf16" : "attention_coop";
    d->subgroup = caps->subgroup;
    d->spec[0] = s.subs * caps->subgroup;
    d->spec[2] = s.blocks;
    d->spec[7] = s.keys;
    d->spec[8] = caps->subgroup / s.f.m;
    memcpy(d->spec + d->n_spec, own, sizeof(own));
    d->n_spec += APUS_COUNT(own);
    d->groups[0] = (uint32_t)apus_ceil_div(d->groups[0], s.blocks);
    d->live_tile = s.blocks;
    return APUS_OK;
}
