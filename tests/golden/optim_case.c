/* optim_case.c - optimizers, by the operators of the update plan, and learning-rate schedules. */
#include <math.h>
#include <stdio.h>

#include "adamw.h"
#include "args/train_state.h"
#include "exec.h"
#include "golden.h"
#include "grad_norm.h"
#include "schedule.h"

/* ---- AdamW ---- */

#define PAD 64 /* elements that a tensor is padded to in a slab */

/* The parameters of the case, W and b, as one slab. */
typedef struct optimizer {
    apus_gpu *gpu;
    apus_exec *exec;
    apus_graph graph;
    apus_plan *plan;
    apus_buffer w, grad, m, v, state;
    const apus_safetensors *ref;
    uint64_t size[2], at[2]; /* elements of W and b, and where they begin */
    uint64_t steps, n;
    float beta1, beta2;
} optimizer;

static const char *const parts[2] = { "W", "b" };

static apus_status read_sizes(optimizer *o)
{
    const apus_file_tensor *init, *grads;
    char name[32];

    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof(name), "init.%s", parts[i]);
        APUS_FORWARD(golden_tensor(o->ref, name, APUS_F32, 0, &init));
        snprintf(name, sizeof(name), "grads.%s", parts[i]);
        APUS_FORWARD(golden_tensor(o->ref, name, APUS_F32, 0, &grads));
        o->size[i] = apus_file_tensor_elements(init);
        o->steps = grads->n_dims ? grads->dims[0] : 0;
        if (o->steps == 0 || apus_file_tensor_elements(grads) != o->steps * o->size[i])
            return apus_fail(APUS_ERR_FORMAT, "%s does not belong to init.%s", name, parts[i]);
        o->at[i] = o->n;
        o->n += apus_round_up(o->size[i], PAD);
    }
    return APUS_OK;
}

/* Row `step` of PREFIX.W and PREFIX.b (step 0 of "init") into a slab. */
static apus_status read_slab(const optimizer *o, const char *prefix, uint64_t rows, uint64_t step,
                             float *slab)
{
    for (int i = 0; i < 2; i++) {
        char name[64];
        float *all;
        snprintf(name, sizeof(name), "%s.%s", prefix, parts[i]);
        APUS_FORWARD(golden_floats(o->ref, name, rows * o->size[i], &all));
        memcpy(slab + o->at[i], all + step * o->size[i], o->size[i] * sizeof(float));
        apus_free(all);
    }
    return APUS_OK;
}

static apus_status make_buffers(optimizer *o)
{
    apus_status st = APUS_OK;
    float *slab = apus_calloc(o->n, sizeof(float));
    const float state[APUS_STATE_WORDS] = { 0 };
    apus_buffer *buffers[] = { &o->w, &o->grad, &o->m, &o->v };

    if (!slab)
        return APUS_ERR_MEMORY;
    for (size_t i = 0; i < APUS_COUNT(buffers); i++) {
        APUS_TRY(apus_buffer_create(o->gpu, buffers[i], o->n * 4, APUS_MEMORY_DEVICE, "slab"));
        APUS_TRY(apus_buffer_write(o->gpu, buffers[i], 0, slab, o->n * 4));
    }
    APUS_TRY(apus_buffer_create(o->gpu, &o->state, sizeof(state), APUS_MEMORY_DEVICE, "state"));
    APUS_TRY(apus_buffer_write(o->gpu, &o->state, 0, state, sizeof(state)));
    APUS_TRY(read_slab(o, "init", 1, 0, slab));
    APUS_TRY(apus_buffer_write(o->gpu, &o->w, 0, slab, o->n * 4));
fail:
    apus_free(slab);
    return st;
}

static apus_tensor *bound(optimizer *o, const char *name, const apus_buffer *b, uint32_t n)
{
    return apus_graph_bound(&o->graph, name, APUS_F32, 1, &n, b->address);
}

static apus_status make_plan(optimizer *o, const cJSON *p, const char *force)
{
    const uint32_t n = (uint32_t)o->n;
    apus_graph *g = &o->graph;

    APUS_FORWARD(apus_graph_init(g));
    apus_tensor *state = bound(o, "state", &o->state, APUS_STATE_WORDS);
    apus_tensor *grad = bound(o, "gradients", &o->grad, n);
    apus_grad_norm(g, grad, state);
    apus_adamw(g, bound(o, "parameters", &o->w, n), grad, bound(o, "m", &o->m, n),
               bound(o, "v", &o->v, n), NULL, state,
               &(apus_adamw_params) {
                   .beta1 = o->beta1,
                   .beta2 = o->beta2,
                   .eps = (float)apus_json_number(p, "eps", 1e-8),
                   .decay = (float)apus_json_number(p, "weight_decay", 0),
                   .n_decay = n,
               });
    return apus_plan_create(&o->plan, o->exec, g,
                            &(apus_plan_params) { .name = "update", .force = force });
}

static apus_status open_optimizer(optimizer *o, const apus_safetensors *ref, const cJSON *p,
                                  const char *force)
{
    const cJSON *betas = apus_json_get(p, "betas");

    if (cJSON_GetArraySize(betas) != 2)
        return apus_fail(APUS_ERR_FORMAT, "the manifest gives no betas");
    o->ref = ref;
    o->beta1 = (float)cJSON_GetArrayItem(betas, 0)->valuedouble;
    o->beta2 = (float)cJSON_GetArrayItem(betas, 1)->valuedouble;
    APUS_FORWARD(read_sizes(o));
    APUS_FORWARD(apus_gpu_create(&o->gpu, &(apus_gpu_params) { 0 }));
    APUS_FORWARD(apus_exec_create(&o->exec, o->gpu));
    APUS_FORWARD(make_buffers(o));
    return make_plan(o, p, force);
}

static void close_optimizer(optimizer *o)
{
    apus_buffer *buffers[] = { &o->w, &o->grad, &o->m, &o->v, &o->state };

    apus_plan_destroy(&o->plan);
    apus_graph_release(&o->graph);
    for (size_t i = 0; o->gpu && i < APUS_COUNT(buffers); i++)
        apus_buffer_destroy(o->gpu, buffers[i]);
    apus_exec_destroy(&o->exec);
    apus_gpu_destroy(&o->gpu);
}

static void set_f32(apus_step *step, apus_step_var var, double value)
{
    const float f = (float)value;

    memcpy(&step->vars[var], &f, sizeof(f));
}

/* One step; *error grows to the worst difference of a parameter from the recorded ones. */
static apus_status run_step(optimizer *o, const char *name, const cJSON *p, uint64_t i, float *got,
                            float *want, double *error)
{
    const double number = (double)i + 1;
    apus_step step;

    memset(want, 0, o->n * sizeof(*want));
    APUS_FORWARD(read_slab(o, "grads", o->steps, i, want));
    APUS_FORWARD(apus_buffer_write(o->gpu, &o->grad, 0, want, o->n * 4));
    step = apus_plan_step(o->plan);
    step.vars[APUS_VAR_STEP] = (uint32_t)i + 1;
    set_f32(&step, APUS_VAR_LR, apus_json_number(p, "lr", (double)NAN));
    set_f32(&step, APUS_VAR_BIAS1, 1 - pow((double)o->beta1, number));
    set_f32(&step, APUS_VAR_BIAS2, sqrt(1 - pow((double)o->beta2, number)));
    set_f32(&step, APUS_VAR_UNSCALE, 1);
    set_f32(&step, APUS_VAR_MAX_NORM, apus_json_number(p, "max_grad_norm", 0));
    APUS_FORWARD(apus_plan_run(o->plan, NULL));
    APUS_FORWARD(apus_buffer_read(o->gpu, &o->w, 0, got, o->n * 4));
    APUS_FORWARD(read_slab(o, name, o->steps, i, want));
    for (int k = 0; k < 2; k++) {
        const golden_worst w = golden_compare(got + o->at[k], want + o->at[k], o->size[k]);
        *error = golden_worse(*error, w.max);
    }
    return APUS_OK;
}

static void check_adamw(golden_case *c, const apus_safetensors *ref, const cJSON *p)
{
    optimizer o = { 0 };
    float *got = NULL, *want = NULL;
    double error = 0;
    char detail[48];

    if (!golden_ok(c, p->string, open_optimizer(&o, ref, p, c->run->force)))
        goto done;
    got = apus_calloc(o.n, sizeof(*got));
    want = apus_calloc(o.n, sizeof(*want));
    for (uint64_t i = 0; i < o.steps; i++)
        if (!got || !want ||
            !golden_ok(c, p->string, run_step(&o, p->string, p, i, got, want, &error)))
            goto done;
    snprintf(detail, sizeof(detail), "%llu steps", (unsigned long long)o.steps);
    golden_check(c, p->string, error, golden_number(c->manifest, "tolerance", "suggested_atol"),
                 detail);
done:
    apus_free(got);
    apus_free(want);
    close_optimizer(&o);
}

/* Is it AdamW as the engine has it? */
static bool is_adamw(const cJSON *p)
{
    const char *type = strrchr(apus_json_string(p, "class", ""), '.');

    return type && !strcmp(type, ".AdamW") && !apus_json_bool(p, "amsgrad", false);
}

/* ---- schedules ---- */

static apus_status make_schedule(apus_schedule *out, const cJSON *all, const cJSON *one)
{
    apus_schedule_params p = { .lr = apus_json_number(all, "base_lr", 0) };
    char *kwargs;
    apus_status st;

    APUS_FORWARD(apus_json_u64(all, "num_training_steps", 1, 1u << 30, &p.max_steps));
    APUS_FORWARD(apus_json_u64(all, "num_warmup_steps", 0, 1u << 30, &p.warmup_steps));
    APUS_FORWARD(apus_schedule_find(&p.kind, one->string));
    kwargs = apus_json_text(apus_json_get(one, "kwargs"), 0);
    if (!kwargs)
        return APUS_ERR_MEMORY;
    APUS_TRY(apus_schedule_read_kwargs(&p, kwargs));
    APUS_TRY(apus_schedule_init(out, &p));
fail:
    apus_free(kwargs);
    return st;
}

/* Rates are computed in double precision by the same formulas. */
static void check_schedule(golden_case *c, const cJSON *all, const cJSON *one)
{
    apus_schedule schedule;
    const cJSON *rate;
    char check[96];
    uint64_t step = 0;
    double error = 0;

    snprintf(check, sizeof(check), "schedule %s", one->string);
    if (!golden_ok(c, check, make_schedule(&schedule, all, one)))
        return;
    cJSON_ArrayForEach(rate, apus_json_get(one, "lr_used_at_step"))
    {
        error = golden_worse(error, fabs(apus_schedule_lr(&schedule, step) - rate->valuedouble));
        step++;
    }
    if (step)
        golden_check(c, check, error, 1e-12 * apus_json_number(all, "base_lr", (double)NAN), NULL);
    else
        golden_broken(c, check, "schedules.json has no rates");
}

void golden_optim_case(golden_case *c)
{
    apus_safetensors *ref = NULL;
    cJSON *schedules = NULL;
    const cJSON *one;

    if (golden_ok(c, "optimizers", golden_open(c, "ref.safetensors", &ref)))
        cJSON_ArrayForEach(one, apus_json_get(c->manifest, "optimizers"))
        {
            if (is_adamw(one))
                check_adamw(c, ref, one);
            else
                golden_unsupported(c, one->string, "this optimizer is not supported yet");
        }
    if (golden_ok(c, "schedules", golden_json(c, "schedules.json", &schedules)))
        cJSON_ArrayForEach(one, apus_json_get(schedules, "schedules"))
            check_schedule(c, schedules, one);
    apus_safetensors_close(&ref);
    cJSON_Delete(schedules);
}
