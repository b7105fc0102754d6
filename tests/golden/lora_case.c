/* lora_case.c - a trajectory of LoRA: first gradients, losses, norms, the adapter that comes
 * out, and what the model says with it. */
#include <math.h>
#include <stdio.h>

#include "file.h"
#include "golden.h"

typedef struct lora_run {
    golden_case *c;
    const golden_sequences *s;
    const cJSON *hyper, *losses, *norms;
    apus_model *model;
    apus_adapters *adapters;
    apus_train_step *step;
    apus_safetensors *ref; /* lora/ref.safetensors */
    int steps;
} lora_run;

static apus_status run_open(lora_run *r, const cJSON *reference)
{
    apus_status st = APUS_OK;
    const cJSON *betas;
    char *model = golden_path(r->c, "model"), *init = golden_path(r->c, "lora/init");
    apus_lora_config config;

    r->hyper = apus_json_get(reference, "hyperparameters");
    r->losses = apus_json_get(reference, "loss_before_each_step_then_final");
    r->norms = apus_json_get(reference, "grad_norm_before_clip");
    r->steps = cJSON_GetArraySize(r->norms);
    betas = apus_json_get(r->hyper, "betas");
    if (r->steps < 1 || cJSON_GetArraySize(r->losses) != r->steps + 1 ||
        cJSON_GetArraySize(betas) != 2)
        APUS_TRY(apus_fail(APUS_ERR_FORMAT, "lora_ref.json has no losses, norms or betas"));
    if (!model || !init)
        APUS_TRY(APUS_ERR_MEMORY);
    APUS_TRY(golden_open(r->c, "lora/ref.safetensors", &r->ref));
    APUS_TRY(golden_model_open(r->c, model, false, &r->model));
    APUS_TRY(apus_adapter_peek(init, &config));
    APUS_TRY(apus_adapters_create(&r->adapters, r->model, 1, config.rank));
    APUS_TRY(apus_adapters_load(r->adapters, 0, init));
    APUS_TRY(
        apus_train_step_create(&r->step, r->model,
                               &(apus_train_step_params) {
                                   .adapters = r->adapters,
                                   .max_sequences = r->s->n,
                                   .beta1 = (float)cJSON_GetArrayItem(betas, 0)->valuedouble,
                                   .beta2 = (float)cJSON_GetArrayItem(betas, 1)->valuedouble,
                                   .eps = (float)apus_json_number(r->hyper, "eps", 1e-8),
                                   .decay = (float)apus_json_number(r->hyper, "weight_decay", 0),
                                   .force = r->c->run->force,
                               }));
fail:
    apus_free(model);
    apus_free(init);
    return st;
}

/* step0.grad_B.<module> after the first micro batch. */
static void check_first_gradients(lora_run *r)
{
    static const char prefix[] = "step0.grad_B.";
    const apus_lora_slot *slot = &r->adapters->slots[0];
    float *got = NULL;
    uint32_t found = 0;
    double worst = 0;
    const char *worst_name = NULL;

    if (!golden_ok(r->c, "LoRA first gradients", golden_read_gradients(r->model, r->step, &got)))
        goto done;
    for (uint32_t i = 0; i < r->adapters->n_modules; i++) {
        const apus_lora_module *m = &r->adapters->modules[i];
        const uint64_t n = (uint64_t)m->weight->rows * slot->places[i].rank;
        char name[200];
        float *want = NULL;
        snprintf(name, sizeof(name), "%s%s", prefix, m->name);
        if (!n || !apus_safetensors_find(r->ref, name))
            continue;
        if (golden_ok(r->c, name, golden_floats(r->ref, name, n, &want))) {
            const double error = golden_relative(got + slot->places[i].b, want, n);
            if (!(error <= worst)) {
                worst = error;
                worst_name = m->name;
            }
            found++;
        }
        apus_free(want);
    }
    if (found)
        golden_check(r->c, "LoRA first gradients of B", worst,
                     golden_tolerance(r->c, GOLDEN_LORA_GRADIENTS), worst_name);
    else
        golden_broken(r->c, "LoRA first gradients of B", "none of them belongs to a module");
done:
    apus_free(got);
}

static bool train(lora_run *r)
{
    golden_case *c = r->c;
    const double scale = 1.0 / r->s->n_labels, lr = apus_json_number(r->hyper, "lr", (double)NAN);
    const double max_norm = apus_json_number(r->hyper, "max_grad_norm", 0);
    double worst_loss = 0, worst_norm = 0;
    apus_train_numbers n = { 0 };
    char detail[64];

    for (int i = 0; i <= r->steps; i++) {
        const uint64_t number = (uint64_t)i + 1;
        const apus_status st =
            i == r->steps ? apus_train_eval(r->step, r->s->seq, r->s->n, NULL)
                          : apus_train_micro(r->step, r->s->seq, r->s->n, scale, number, 0, NULL);
        if (!golden_ok(c, "LoRA losses", st))
            return false;
        if (i == 0)
            check_first_gradients(r);
        if ((i < r->steps &&
             !golden_ok(c, "LoRA losses", apus_train_update(r->step, lr, max_norm, number))) ||
            !golden_ok(c, "LoRA losses", apus_train_read(r->step, &n)))
            return false;
        const double want = cJSON_GetArrayItem(r->losses, i)->valuedouble;
        worst_loss = golden_worse(worst_loss, fabs(n.loss / r->s->n_labels - want));
        if (i == r->steps)
            break;
        const double norm = cJSON_GetArrayItem(r->norms, i)->valuedouble;
        worst_norm = golden_worse(worst_norm, fabs(n.norm - norm) / norm);
    }
    snprintf(detail, sizeof(detail), "%d steps, last %.6f", r->steps, n.loss / r->s->n_labels);
    const double fall = cJSON_GetArrayItem(r->losses, 0)->valuedouble -
                        cJSON_GetArrayItem(r->losses, r->steps)->valuedouble;
    const double exact = golden_number(c->manifest, "lora", "suggested_loss_atol");
    golden_check(c, "LoRA losses", worst_loss,
                 golden_trajectory_tolerance(c, GOLDEN_LORA_LOSSES, exact, fall), detail);
    golden_check(c, "LoRA gradient norms", worst_norm, golden_tolerance(c, GOLDEN_LORA_NORMS),
                 NULL);
    return true;
}

/* ---- the adapter that comes out ---- */

/* How far each matrix is from the recorded one, relative to how far training moved it.  Errors
 * of the gradients add over the steps. */
static void check_adapter(lora_run *r, const char *saved)
{
    golden_case *c = r->c;
    apus_safetensors *got = NULL, *want = NULL, *init = NULL;
    char *path = apus_path_join(saved, "adapter_model.safetensors");
    double worst = 0;
    char worst_name[200] = "";
    size_t n = 0;

    if (!path || !golden_ok(c, "LoRA adapter", apus_safetensors_open(&got, path)) ||
        !golden_ok(c, "LoRA adapter", golden_open(c, "lora/adapter_model.safetensors", &want)) ||
        !golden_ok(c, "LoRA adapter", golden_open(c, "lora/init/adapter_model.safetensors", &init)))
        goto done;
    for (size_t i = 0; i < apus_safetensors_count(want); i++) {
        const char *name = apus_safetensors_at(want, i)->name;
        const uint64_t count = apus_file_tensor_elements(apus_safetensors_at(want, i));
        float *a = NULL, *b = NULL, *start = NULL;
        if (golden_ok(c, name, golden_floats(got, name, count, &a)) &&
            golden_ok(c, name, golden_floats(want, name, count, &b)) &&
            golden_ok(c, name, golden_floats(init, name, count, &start))) {
            for (uint64_t k = 0; k < count; k++) {
                a[k] -= start[k];
                b[k] -= start[k];
            }
            const double error = golden_relative(a, b, count);
            if (!(error <= worst)) {
                worst = error;
                snprintf(worst_name, sizeof(worst_name), "%s", name);
            }
            n++;
        }
        apus_free(a);
        apus_free(b);
        apus_free(start);
    }
    golden_check(c, "LoRA adapter tensors", fabs((double)apus_safetensors_count(got) - (double)n),
                 0, NULL);
    /* The optimizer divides by the size of the gradient, so where inputs are rounded, an element
     * with next to no gradient may go either way.  What that does is in the losses and logits. */
    if (c->run->kind == GOLDEN_EXACT)
        golden_check(c, "LoRA adapter after the last step", worst,
                     r->steps * golden_tolerance(c, GOLDEN_LORA_GRADIENTS), worst_name);
done:
    apus_safetensors_close(&got);
    apus_safetensors_close(&want);
    apus_safetensors_close(&init);
    apus_free(path);
}

/* The saved adapter, loaded anew, in inference. */
static void check_after(lora_run *r, const char *saved)
{
    golden_case *c = r->c;
    const char *check = "LoRA logits after the last step";
    apus_adapters *adapters = NULL;
    const uint64_t n = (uint64_t)r->s->seq[0].n * r->model->dims.vocab;
    float *got = apus_calloc(n, sizeof(*got)), *want = NULL;

    if (got && golden_ok(c, check, golden_floats(r->ref, "after.seq0.logits", n, &want)) &&
        golden_ok(c, check, apus_adapters_create(&adapters, r->model, 1, r->adapters->max_rank)) &&
        golden_ok(c, check, apus_adapters_load(adapters, 0, saved))) {
        const apus_adapt_hook hook = apus_adapters_hook(adapters);
        if (golden_ok(c, check, golden_logits(r->model, c, &hook, &r->s->seq[0], got)))
            golden_check_logits(c, check, GOLDEN_LORA_LOGITS, got, want, n);
    }
    apus_adapters_destroy(&adapters);
    apus_free(got);
    apus_free(want);
}

void golden_lora_case(golden_case *c, const golden_sequences *s)
{
    lora_run r = { .c = c, .s = s };
    cJSON *reference = NULL;
    const char *temporary = golden_temporary(c->run);
    char *saved = temporary ? apus_path_join(temporary, "adapter") : NULL;

    if (saved && golden_ok(c, "LoRA", golden_json(c, "lora/lora_ref.json", &reference)) &&
        golden_ok(c, "LoRA", run_open(&r, reference)) && train(&r) &&
        golden_ok(c, "LoRA adapter", apus_path_remove(saved)) &&
        golden_ok(c, "LoRA adapter", apus_adapters_save(r.adapters, 0, saved, "model"))) {
        check_adapter(&r, saved);
        check_after(&r, saved);
    }
    apus_train_step_destroy(&r.step);
    apus_adapters_destroy(&r.adapters);
    apus_model_close(&r.model);
    apus_safetensors_close(&r.ref);
    cJSON_Delete(reference);
    apus_free(saved);
}
