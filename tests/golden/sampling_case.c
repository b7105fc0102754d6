/* sampling_case.c - the draw on the device against recorded distributions.  The id of a draw is
 * where
 * a known random number falls in the running sum of probabilities, so every draw has one right
 * id. */
#include <math.h>
#include <stdio.h>

#include "args/sample.h"
#include "exec.h"
#include "golden.h"
#include "rng.h"
#include "sample.h"

#define ROWS 4
#define DRAWS 512      /* of each row */
#define LEAST_GAP 1e-5 /* a number as near to a boundary as this decides nothing */
#define MOST_HISTORY 256

typedef struct sampler {
    apus_gpu *gpu;
    apus_exec *exec;
    apus_graph graph;
    apus_plan *plan;
    apus_buffer logits, seen, drawn;
    apus_tensor *settings, *tokens, *slots;
    float *values;    /* (ROWS, vocab) */
    int32_t *history; /* (ROWS, n_history) */
    uint32_t vocab, words, n_history;
} sampler;

static apus_status make_plan(sampler *s)
{
    apus_graph *g = &s->graph;
    const uint32_t rows = ROWS, n = ROWS * s->n_history;

    APUS_FORWARD(apus_graph_init(g));
    s->settings = apus_graph_step(g, "settings", APUS_U32, ROWS * APUS_SAMPLE_WORDS, APUS_ROWS_ALL);
    s->tokens = apus_graph_step(g, "tokens", APUS_U32, n, APUS_ROWS_ALL);
    s->slots = apus_graph_step(g, "slots", APUS_U32, n, APUS_ROWS_ALL);
    apus_tensor *z = apus_graph_bound(g, "logits", APUS_F32, 2, (uint32_t[]) { ROWS, s->vocab },
                                      s->logits.address);
    apus_sample(g, z,
                &(apus_sample_params) {
                    .settings = s->settings,
                    .tokens = s->tokens,
                    .token_slot = s->slots,
                    .seen = apus_graph_bound(g, "seen", APUS_U32, 2,
                                             (uint32_t[]) { ROWS, s->words }, s->seen.address),
                    .out = apus_graph_bound(g, "drawn", APUS_U32, 1, &rows, s->drawn.address),
                });
    return apus_plan_create(&s->plan, s->exec, g, &(apus_plan_params) { .name = "draw" });
}

static apus_status open_sampler(sampler *s, const apus_safetensors *ref)
{
    const apus_file_tensor *z, *h;
    uint64_t n;

    APUS_FORWARD(golden_tensor(ref, "logits", APUS_F32, 0, &z));
    APUS_FORWARD(golden_tensor(ref, "history", APUS_I32, 0, &h));
    if (z->n_dims != 2 || h->n_dims != 2 || z->dims[0] != ROWS || h->dims[0] != ROWS ||
        z->dims[1] > 100000 || h->dims[1] > MOST_HISTORY)
        return apus_fail(APUS_ERR_FORMAT, "logits or history are not %d rows", ROWS);
    s->vocab = (uint32_t)z->dims[1];
    s->words = (s->vocab + 31) / 32;
    s->n_history = (uint32_t)h->dims[1];
    APUS_FORWARD(golden_floats(ref, "logits", 0, &s->values));
    APUS_FORWARD(golden_ints(ref, "history", &s->history, &n));
    APUS_FORWARD(apus_gpu_create(&s->gpu, &(apus_gpu_params) { 0 }));
    APUS_FORWARD(apus_exec_create(&s->exec, s->gpu));
    APUS_FORWARD(apus_buffer_create(s->gpu, &s->logits, z->bytes, APUS_MEMORY_DEVICE, "logits"));
    APUS_FORWARD(
        apus_buffer_create(s->gpu, &s->seen, 4ull * ROWS * s->words, APUS_MEMORY_DEVICE, "seen"));
    APUS_FORWARD(apus_buffer_create(s->gpu, &s->drawn, 4 * ROWS, APUS_MEMORY_HOST, "drawn"));
    APUS_FORWARD(apus_buffer_write(s->gpu, &s->logits, 0, s->values, z->bytes));
    return make_plan(s);
}

static void close_sampler(sampler *s)
{
    apus_plan_destroy(&s->plan);
    apus_graph_release(&s->graph);
    if (s->gpu) {
        apus_buffer_destroy(s->gpu, &s->logits);
        apus_buffer_destroy(s->gpu, &s->seen);
        apus_buffer_destroy(s->gpu, &s->drawn);
    }
    apus_exec_destroy(&s->exec);
    apus_gpu_destroy(&s->gpu);
    apus_free(s->values);
    apus_free(s->history);
}

/* ---- settings ---- */

static void put_f32(uint32_t *words, int at, double value)
{
    const float f = (float)value;

    memcpy(&words[at], &f, sizeof(f));
}

/* False where the engine has no such processor. */
static bool set(uint32_t *words, const char *name, double value)
{
    if (!strcmp(name, "temperature"))
        put_f32(words, APUS_SAMPLE_TEMPERATURE, value);
    else if (!strcmp(name, "top_k"))
        words[APUS_SAMPLE_TOP_K] = (uint32_t)value;
    else if (!strcmp(name, "top_p"))
        put_f32(words, APUS_SAMPLE_TOP_P, value);
    else if (!strcmp(name, "min_p"))
        put_f32(words, APUS_SAMPLE_MIN_P, value);
    else if (!strcmp(name, "repetition_penalty"))
        put_f32(words, APUS_SAMPLE_PENALTY, value);
    else
        return false;
    return true;
}

static bool settings_of(const cJSON *processor, uint32_t *words)
{
    const cJSON *part, *step;
    bool known = true;

    memset(words, 0, APUS_SAMPLE_WORDS * sizeof(*words));
    put_f32(words, APUS_SAMPLE_TEMPERATURE, 1);
    put_f32(words, APUS_SAMPLE_TOP_P, 1);
    put_f32(words, APUS_SAMPLE_PENALTY, 1);
    cJSON_ArrayForEach(part, processor)
    {
        if (cJSON_IsNumber(part))
            known = set(words, part->string, part->valuedouble) && known;
        else if (cJSON_IsArray(part)) /* "order": ["top_k 30", ...] */
            cJSON_ArrayForEach(step, part)
            {
                char name[48];
                double value;
                known = cJSON_IsString(step) &&
                        sscanf(step->valuestring, "%47s %lf", name, &value) == 2 &&
                        set(words, name, value) && known;
            }
        else if (strcmp(part->string, "note"))
            known = false;
    }
    return known;
}

/* ---- draws ---- */

static apus_status draw(sampler *s, const uint32_t *settings, uint32_t counter, uint32_t *ids)
{
    const uint32_t zero[1024] = { 0 };
    const uint64_t bytes = 4ull * ROWS * s->words;
    apus_step step = apus_plan_step(s->plan);
    uint32_t *words = apus_step_array(&step, s->settings);
    uint32_t *tokens = apus_step_array(&step, s->tokens), *slots = apus_step_array(&step, s->slots);

    /* What was drawn is marked as seen: begin anew. */
    for (uint64_t at = 0; at < bytes; at += sizeof(zero))
        APUS_FORWARD(apus_buffer_write(s->gpu, &s->seen, at, zero,
                                       bytes - at < sizeof(zero) ? bytes - at : sizeof(zero)));
    for (uint32_t r = 0; r < ROWS; r++) {
        uint32_t *w = words + r * APUS_SAMPLE_WORDS;
        memcpy(w, settings, APUS_SAMPLE_WORDS * sizeof(*w));
        w[APUS_SAMPLE_SEED] = r;
        w[APUS_SAMPLE_COUNTER] = counter;
        w[APUS_SAMPLE_SLOT] = r;
        for (uint32_t i = 0; i < s->n_history; i++) {
            tokens[r * s->n_history + i] = (uint32_t)s->history[r * s->n_history + i];
            slots[r * s->n_history + i] = r;
        }
    }
    APUS_FORWARD(apus_plan_run(s->plan, NULL));
    memcpy(ids, s->drawn.host, ROWS * sizeof(*ids));
    return APUS_OK;
}

/* Whether `id` is where the number of (seed, counter) falls; true where rounding decides. */
static bool is_right(const float *probs, uint32_t vocab, uint32_t seed, uint32_t counter,
                     uint32_t id)
{
    const uint32_t key[2] = { seed, APUS_SAMPLE_KEY }, at[4] = { counter, 0, 0, 0 };
    uint32_t bits[4];
    double below = 0;

    if (id >= vocab)
        return false;
    apus_philox(key, at, bits);
    const double u = (double)apus_uniform_f32(bits[0]);
    for (uint32_t v = 0; v < id; v++)
        below += (double)probs[v];
    return probs[id] > 0 && u > below - LEAST_GAP && u < below + (double)probs[id] + LEAST_GAP;
}

static void check_processor(golden_case *c, sampler *s, const apus_safetensors *ref,
                            const cJSON *processor)
{
    uint32_t settings[APUS_SAMPLE_WORDS], ids[ROWS], wrong = 0;
    char name[96], detail[96];
    float *probs = NULL;

    if (!settings_of(processor, settings)) {
        golden_unsupported(c, processor->string, "the sampler has no such rule");
        return;
    }
    snprintf(name, sizeof(name), "%s.probs", processor->string);
    bool ok = golden_ok(c, processor->string,
                        golden_floats(ref, name, (uint64_t)ROWS * s->vocab, &probs));
    for (uint32_t i = 0; ok && i < DRAWS; i++) {
        ok = golden_ok(c, processor->string, draw(s, settings, i, ids));
        for (uint32_t r = 0; ok && r < ROWS; r++)
            wrong += !is_right(probs + (size_t)r * s->vocab, s->vocab, r, i, ids[r]);
    }
    snprintf(detail, sizeof(detail), "of %d draws", ROWS * DRAWS);
    if (ok)
        golden_check(c, processor->string, wrong, 0, detail);
    apus_free(probs);
}

void golden_sampling_case(golden_case *c)
{
    apus_safetensors *ref = NULL;
    sampler s = { 0 };
    const cJSON *processor;

    if (golden_ok(c, "sampling", golden_open(c, "ref.safetensors", &ref)) &&
        golden_ok(c, "sampling", open_sampler(&s, ref)))
        cJSON_ArrayForEach(processor, apus_json_get(c->manifest, "processors"))
            check_processor(c, &s, ref, processor);
    close_sampler(&s);
    apus_safetensors_close(&ref);
}
