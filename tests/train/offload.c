/* offload.c - weights and an optimizer's state that stay in the host's memory: the same bits, less
 * of the device. */
#include "session.h"
#include "tiny_step.h"

typedef struct outcome {
    float *trained; /* after three steps */
    uint64_t n, device, host;
} outcome;

static bool steps(outcome *out, apus_model *m, apus_adapters *ad, bool host_moments,
                  apus_optim optim)
{
    static tiny_rows rows;
    apus_train_step *s = NULL;
    const apus_train_step_params params = { .adapters = ad,
                                            .max_sequences = 2,
                                            .recompute = 1,
                                            .optim = optim,
                                            .host_moments = host_moments,
                                            .beta1 = 0.9f,
                                            .beta2 = 0.95f,
                                            .eps = 1e-8f };
    const apus_buffer *slab = ad ? &ad->slots[0].slab : &m->slabs[0];
    bool ok = true;

    tiny_rows_make(&rows, m->dims.vocab);
    ok = CHECK_OK(apus_train_step_create(&s, m, &params));
    for (uint64_t i = 1; ok && i <= 3; i++)
        ok = CHECK_OK(apus_train_micro(s, rows.at, 2, 1.0 / N, i, 42, NULL)) &&
             CHECK_OK(apus_train_update(s, 1e-2, 1.0, i));
    if (ok) {
        const apus_memory_use use = apus_model_memory(m);
        out->device = use.device_peak;
        out->host = use.host_peak;
        out->n = apus_train_count(s);
        out->trained = apus_calloc(out->n, sizeof(float));
        ok = CHECK(out->trained != NULL) &&
             CHECK_OK(apus_buffer_read(m->gpu, slab, 0, out->trained, out->n * sizeof(float)));
    }
    apus_train_step_destroy(&s);
    return ok;
}

static apus_model *open_tiny(bool all, uint32_t host_layers)
{
    return tiny_open(&(apus_model_params) { .torch_dtype = "float32",
                                            .max_positions = N,
                                            .train_all = all,
                                            .host_layers = host_layers });
}

static bool adapters_after(outcome *out, uint32_t host_layers)
{
    apus_model *m = open_tiny(false, host_layers);
    apus_adapters *ad = NULL;
    const apus_lora_config config = { .rank = 4, .alpha = 8, .dropout = 0.1, .seed = 1 };
    bool ok = m != NULL;

    if (m) {
        apus_model_about about;
        apus_model_describe(m, &about);
        CHECK((about.host_weight_bytes > 0) == (host_layers > 0));
        ok = CHECK_OK(apus_adapters_create(&ad, m, 1, 4)) &&
             CHECK_OK(apus_adapters_new(ad, 0, &config)) &&
             steps(out, m, ad, false, APUS_OPTIM_ADAMW);
    }
    apus_adapters_destroy(&ad);
    apus_model_close(&m);
    return ok;
}

static bool weights_after(outcome *out, bool host_moments, apus_optim optim)
{
    apus_model *m = open_tiny(true, 0);
    const bool ok = m && steps(out, m, NULL, host_moments, optim);

    apus_model_close(&m);
    return ok;
}

/* The same numbers, and so much less of the device, more of the host. */
static void compare(outcome *kept, outcome *away)
{
    double sum = 0;

    for (uint64_t i = 0; i < kept->n; i++)
        sum += (double)(kept->trained[i] * kept->trained[i]);
    CHECK(sum > 0 && kept->n == away->n);
    CHECK(!memcmp(kept->trained, away->trained, kept->n * sizeof(float)));
    CHECK(away->device < kept->device && away->host > kept->host);
}

TEST(adapters_train_to_the_same_bits)
{
    outcome kept = { 0 }, away = { 0 };

    if (adapters_after(&kept, 0) && adapters_after(&away, UINT32_MAX))
        compare(&kept, &away);
    apus_free(kept.trained);
    apus_free(away.trained);
}

TEST(moments_of_the_host_give_the_same_bits)
{
    for (int optim = APUS_OPTIM_ADAMW; optim <= APUS_OPTIM_ADAMW_8BIT; optim++) {
        outcome kept = { 0 }, away = { 0 };

        if (weights_after(&kept, false, (apus_optim)optim) &&
            weights_after(&away, true, (apus_optim)optim))
            compare(&kept, &away);
        apus_free(kept.trained);
        apus_free(away.trained);
    }
}

/* Logits of a prompt, whose products copy, and of one token, whose products read in place. */
static bool logits_of(uint32_t host_layers, float *z, uint32_t room)
{
    apus_model *m = open_tiny(false, host_layers);
    apus_session *s = NULL;
    apus_sequence seq = { 0 };
    uint32_t ids[N];
    bool ok = m != NULL;

    for (uint32_t i = 0; m && i < N; i++)
        ids[i] = (i * 37 + 11) % m->dims.vocab;
    ok = ok && CHECK((N + 1) * m->dims.vocab <= room) &&
         CHECK_OK(apus_session_create(&s, m, &(apus_session_params) { .tokens = 64 }));
    if (ok) {
        apus_session_item item = { .sequence = &seq, .tokens = ids, .n = N, .adapter = UINT32_MAX };
        ok = CHECK_OK(apus_session_logits(s, &item, z));
        apus_cache_truncate(apus_session_cache(s), &seq, N - 1);
        item.tokens = ids + N - 1;
        item.n = 1;
        ok = ok && CHECK_OK(apus_session_logits(s, &item, z + (size_t)N * m->dims.vocab));
        apus_sequence_release(apus_session_cache(s), &seq);
    }
    apus_session_destroy(&s);
    apus_model_close(&m);
    return ok;
}

TEST(prompts_and_tokens_have_the_same_logits)
{
    const uint32_t room = 1 << 20;
    float *z = apus_calloc(2 * room, sizeof(float));

    if (CHECK(z != NULL) && logits_of(0, z, room) && logits_of(1, z + room, room)) {
        CHECK(z[0] != 0 && !memcmp(z, z + room, room * sizeof(float)));
    }
    apus_free(z);
}
