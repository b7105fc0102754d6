/* train_case.c - a model under training: loss, the gradient of every parameter, a trajectory of
 * full fine-tuning. */
#include <math.h>
#include <stdio.h>

#include "golden.h"

/* ---- loss ---- */

static apus_status step_open(apus_model *model, const golden_case *c, const cJSON *numbers,
                             uint32_t sequences, apus_train_step **out)
{
    const cJSON *betas = apus_json_get(numbers, "betas");
    const cJSON *beta1 = cJSON_GetArrayItem(betas, 0), *beta2 = cJSON_GetArrayItem(betas, 1);

    return apus_train_step_create(out, model,
                                  &(apus_train_step_params) {
                                      .max_sequences = sequences,
                                      .beta1 = beta1 ? (float)beta1->valuedouble : 0.9f,
                                      .beta2 = beta2 ? (float)beta2->valuedouble : 0.999f,
                                      .eps = (float)apus_json_number(numbers, "eps", 1e-8),
                                      .decay = (float)apus_json_number(numbers, "weight_decay", 0),
                                      .decay_all = true,
                                      .force = c->run->force,
                                  });
}

apus_status golden_train_choices(const golden_case *c, const golden_sequences *s, apus_str *out)
{
    apus_status st = APUS_ERR_MEMORY;
    apus_model *model = NULL;
    apus_train_step *step = NULL;
    apus_plan *plan;
    char *path = golden_path(c, "model");

    if (!path)
        goto fail;
    APUS_TRY(golden_model_open(c, path, true, &model));
    APUS_TRY(step_open(model, c, NULL, s->n, &step));
    APUS_TRY(apus_train_plan(step, s->tokens, s->n, &plan));
    apus_str_add(out, apus_plan_about(plan)->choices);
fail:
    apus_train_step_destroy(&step);
    apus_model_close(&model);
    apus_free(path);
    return st;
}

/* The loss in the step's numbers, and how many labels were counted. */
static void check_loss(golden_case *c, const char *check, apus_train_step *step,
                       const golden_sequences *s)
{
    apus_train_numbers n;
    float *want = NULL;
    char detail[96];

    if (golden_ok(c, check, golden_floats(s->ref, "loss", 1, &want)) &&
        golden_ok(c, check, apus_train_read(step, &n))) {
        const double error = fabs(n.loss / s->n_labels - (double)*want);
        const bool all = n.tokens == (double)s->n_labels;
        snprintf(detail, sizeof(detail), "%.0f of %u labels counted", n.tokens, s->n_labels);
        golden_check(c, check, all ? error : (double)INFINITY, golden_tolerance(c, GOLDEN_LOSS),
                     detail);
    }
    apus_free(want);
}

/* ---- gradients ---- */

apus_status golden_read_gradients(const apus_model *model, const apus_train_step *step, float **out)
{
    const uint64_t n = apus_train_count(step);
    const double scale = apus_train_loss_scale(step).scale;

    *out = apus_alloc(n * sizeof(float));
    if (!*out)
        return APUS_ERR_MEMORY;
    APUS_FORWARD(
        apus_buffer_read(model->gpu, apus_train_gradients(step), 0, *out, n * sizeof(float)));
    for (uint64_t i = 0; i < n; i++)
        (*out)[i] = (float)((double)(*out)[i] / scale);
    return APUS_OK;
}

typedef struct gradient_sum {
    double difference, norm, worst; /* squares over all parameters; worst relative one */
    const char *worst_name;
} gradient_sum;

/* One parameter against the reference; a line for it if `lines`. */
static void compare_gradient(golden_case *c, const apus_safetensors *grads, const apus_weight *w,
                             const float *got, gradient_sum *sum, bool lines)
{
    const uint64_t n = (uint64_t)w->rows * (w->cols ? w->cols : 1);
    char check[120];
    float *want = NULL;
    double norm = 0;

    snprintf(check, sizeof(check), "grad %s", w->name);
    if (!golden_ok(c, check, golden_floats(grads, w->name, n, &want)))
        return;
    const double relative = golden_relative(got, want, n);
    for (uint64_t i = 0; i < n; i++)
        norm += (double)want[i] * (double)want[i];
    sum->difference += relative * relative * (norm > 0 ? norm : 1);
    sum->norm += norm;
    if (!(relative <= sum->worst)) {
        sum->worst = relative;
        sum->worst_name = w->name;
    }
    if (lines)
        golden_check(c, check, relative, golden_tolerance(c, GOLDEN_GRADIENTS), NULL);
    apus_free(want);
}

static void compare_gradients(golden_case *c, apus_model *model, const apus_train_step *step,
                              const apus_safetensors *grads, const char *check, bool lines)
{
    gradient_sum sum = { .worst = -1, .worst_name = "" };
    const apus_addr slab = apus_train_gradients(step)->address;
    float *got = NULL;

    if (!golden_ok(c, check, golden_read_gradients(model, step, &got))) {
        apus_free(got);
        return;
    }
    const bool exact = c->run->kind == GOLDEN_EXACT;
    for (uint32_t i = 0; i < model->n_weights; i++)
        compare_gradient(c, grads, &model->weights[i],
                         got + (model->weights[i].grad - slab) / sizeof(float), &sum,
                         lines && exact);
    if (exact)
        golden_check(c, check, sum.worst, golden_tolerance(c, GOLDEN_GRADIENTS), sum.worst_name);
    else
        golden_check(c, check, sqrt(sum.difference / sum.norm),
                     golden_tolerance(c, GOLDEN_GRADIENTS), "all as one vector");
    apus_free(got);
}

/* Every recorded gradient belongs to a weight and the other way round. */
static void check_names(golden_case *c, apus_model *model, const apus_safetensors *grads)
{
    const char *missing = NULL;

    for (size_t i = 0; i < apus_safetensors_count(grads); i++)
        if (!apus_model_weight(model, apus_safetensors_at(grads, i)->name))
            missing = apus_safetensors_at(grads, i)->name;
    golden_check(c, "parameters",
                 fabs((double)apus_safetensors_count(grads) - (double)model->n_weights) +
                     (missing != NULL),
                 0, missing);
}

/* All sequences in one micro batch, and one after the other, added up. */
static void check_gradients(golden_case *c, apus_model *model, const golden_sequences *s)
{
    apus_safetensors *grads = NULL;
    apus_train_step *packed = NULL, *single = NULL;
    const double scale = 1.0 / s->n_labels;
    bool ok = golden_ok(c, "gradients", golden_open(c, "grads.safetensors", &grads)) &&
              golden_ok(c, "gradients", step_open(model, c, NULL, s->n, &packed));

    if (ok) {
        check_names(c, model, grads);
        if (golden_ok(c, "loss", apus_train_eval(packed, s->seq, s->n, NULL)))
            check_loss(c, "loss", packed, s);
        if (golden_ok(c, "gradients", apus_train_micro(packed, s->seq, s->n, scale, 1, 0, NULL))) {
            check_loss(c, "loss of a training step", packed, s);
            compare_gradients(c, model, packed, grads, "gradients, packed", true);
        }
    }
    ok = ok && golden_ok(c, "gradients, added up", step_open(model, c, NULL, 1, &single));
    for (uint32_t i = 0; ok && i < s->n; i++)
        ok = golden_ok(c, "gradients, added up",
                       apus_train_micro(single, &s->seq[i], 1, scale, 1, 0, NULL));
    if (ok) {
        check_loss(c, "loss, added up", single, s);
        compare_gradients(c, model, single, grads, "gradients, added up", false);
    }
    apus_train_step_destroy(&packed);
    apus_train_step_destroy(&single);
    apus_safetensors_close(&grads);
}

/* ---- full fine-tuning ---- */

/* Worst error of the losses before each step and after the last, and relative one of the norms. */
static bool run_trajectory(golden_case *c, apus_train_step *step, const golden_sequences *s,
                           const cJSON *reference, const cJSON *losses, const cJSON *norms)
{
    const int steps = cJSON_GetArraySize(norms);
    const double lr = apus_json_number(reference, "lr", (double)NAN);
    const double max_norm = apus_json_number(reference, "max_grad_norm", 0);
    const char *check = "full fine-tuning losses";
    double worst_loss = 0, worst_norm = 0;
    apus_train_numbers n = { 0 };
    char detail[64];

    for (int i = 0; i <= steps; i++) {
        const double want = cJSON_GetArrayItem(losses, i)->valuedouble;
        const uint64_t number = (uint64_t)i + 1;
        if (i == steps ? !golden_ok(c, check, apus_train_eval(step, s->seq, s->n, NULL))
                       : !golden_ok(c, check,
                                    apus_train_micro(step, s->seq, s->n, 1.0 / s->n_labels, number,
                                                     0, NULL)) ||
                             !golden_ok(c, check, apus_train_update(step, lr, max_norm, number)))
            return false;
        if (!golden_ok(c, check, apus_train_read(step, &n)))
            return false;
        worst_loss = golden_worse(worst_loss, fabs(n.loss / s->n_labels - want));
        if (i == steps)
            break;
        const double norm = cJSON_GetArrayItem(norms, i)->valuedouble;
        worst_norm = golden_worse(worst_norm, fabs(n.norm - norm) / norm);
    }
    snprintf(detail, sizeof(detail), "%d steps, last %.6f", steps, n.loss / s->n_labels);
    /* Twenty times the reference's own error, as the manifest derives its tolerances. */
    const double own = apus_json_number(reference, "fp32_vs_fp64_max_abs_loss_diff", 0);
    const double fall =
        cJSON_GetArrayItem(losses, 0)->valuedouble - cJSON_GetArrayItem(losses, steps)->valuedouble;
    golden_check(c, check, worst_loss,
                 golden_trajectory_tolerance(
                     c, GOLDEN_FULL_LOSSES, fmax(golden_tolerance(c, GOLDEN_LOSS), 20 * own), fall),
                 detail);
    golden_check(c, "full fine-tuning gradient norms", worst_norm,
                 golden_tolerance(c, GOLDEN_FULL_NORMS), NULL);
    return true;
}

static void check_full(golden_case *c, apus_model *model, const golden_sequences *s)
{
    cJSON *reference = NULL;
    apus_train_step *step = NULL;

    if (golden_ok(c, "full fine-tuning", golden_json(c, "fullft_ref.json", &reference)) &&
        golden_ok(c, "full fine-tuning", step_open(model, c, reference, s->n, &step))) {
        const cJSON *f32 = apus_json_get(reference, "float32");
        const cJSON *losses = apus_json_get(f32, "loss_before_each_step_then_final");
        const cJSON *norms = apus_json_get(f32, "grad_norm_before_clip");
        if (cJSON_GetArraySize(norms) > 0 &&
            cJSON_GetArraySize(losses) == cJSON_GetArraySize(norms) + 1)
            run_trajectory(c, step, s, reference, losses, norms);
        else
            golden_broken(c, "full fine-tuning", "fullft_ref.json has no losses and norms");
    }
    apus_train_step_destroy(&step);
    cJSON_Delete(reference);
}

void golden_train_case(golden_case *c, const golden_sequences *s)
{
    apus_model *model = NULL;
    char *path = golden_path(c, "model");

    if (path && golden_ok(c, "training", golden_model_open(c, path, true, &model))) {
        check_gradients(c, model, s);
        check_full(c, model, s); /* changes the weights */
    }
    apus_model_close(&model);
    apus_free(path);
}
