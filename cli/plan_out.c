/* plan_out.c - what `apus plan` prints: a page, a line of a table, or an object. */
#include "plan.h"

#include <stdio.h>

#include "base.h"
#include "sizes.h"

/* ---- a page ---- */

static void add_bytes(apus_str *s, const char *what, uint64_t bytes)
{
    char text[32];

    apusi_bytes_text(text, sizeof(text), bytes);
    apus_str_addf(s, "%s%s %s", s->data[s->len - 1] == ' ' ? "" : ", ", what, text);
}

static void add_seconds(apus_str *s, double seconds)
{
    if (seconds < 1e-3)
        apus_str_addf(s, "%.0f us", seconds * 1e6);
    else if (seconds < 1)
        apus_str_addf(s, "%.3g ms", seconds * 1e3);
    else
        apus_str_addf(s, "%.3g s", seconds);
}

static void add_step(apus_str *s, const char *name, const apus_forecast_step *x)
{
    apus_str_addf(s, "  %-10s%u dispatches, %.4g GFLOP, %.4g GB: ", name, x->dispatches,
                  x->flops * 1e-9, x->bytes * 1e-9);
    add_seconds(s, x->seconds);
}

static void add_memory(apus_str *s, const apus_forecast *f, uint64_t device, bool fits)
{
    char all[32], heap[32];

    apusi_bytes_text(all, sizeof(all), device);
    apusi_bytes_text(heap, sizeof(heap), f->device_heap);
    apus_str_addf(s, "  memory    planned peak %s of %s%s\n            ", all, heap,
                  fits ? "" : ": does not fit");
}

/* The host's part of the weights. */
static void add_host(apus_str *s, uint64_t weights, uint32_t host_layers, uint32_t layers)
{
    if (host_layers == 0)
        return;
    add_bytes(s, "of which weights", weights);
    apus_str_addf(s, " (%u of %u layers)", host_layers, layers);
}

static void add_training(apus_str *s, const apus_plan_options *o, const apus_forecast *f)
{
    const apus_forecast_training *x = &f->training;
    char trained[32];

    apusi_millions_text(trained, sizeof(trained), x->n_trained);
    apus_str_addf(s,
                  "training  %s: %s trained, %u x %u tokens in a micro batch, %u in a step, %s\n",
                  o->full ? "all weights" : "LoRA", trained, x->rows, x->row_tokens,
                  x->micro_batches, x->dtype ? x->dtype : "");
    add_memory(s, f, x->device, x->fits);
    add_bytes(s, "weights", x->weights);
    if (!o->full)
        add_bytes(s, "adapter", x->adapter);
    add_bytes(s, "gradients", x->gradients);
    add_bytes(s, "optimizer", x->optimizer);
    add_bytes(s, "activations", x->scratch);
    add_bytes(s, "other", x->other);
    apus_str_add(s, "\n  host      ");
    add_bytes(s, "buffers", x->host);
    add_host(s, x->host_weights, x->host_layers, x->layers);
    if (x->host_optimizer)
        add_bytes(s, "of which optimizer", x->host_optimizer);
    apus_str_addf(s, "\n  layers    %u of %u are recomputed in the backward pass", x->recomputed,
                  x->layers);
    if (x->twice)
        apus_str_addf(s, ", %u twice", x->twice);
    apus_str_add(s, "\n");
    add_step(s, "micro", &x->micro);
    apus_str_add(s, "\n");
    add_step(s, "update", &x->update);
    apus_str_addf(s, "\n  speed     %.4g tokens/s; a step takes ", x->tokens_s);
    add_seconds(s, x->step_s);
    apus_str_add(s, "\n");
}

static void add_inference(apus_str *s, const apus_forecast *f)
{
    const apus_forecast_inference *x = &f->inference;

    apus_str_addf(s, "inference a context of %u tokens\n", x->context);
    add_memory(s, f, x->device, x->fits);
    add_bytes(s, "weights", x->weights);
    add_bytes(s, "cache", x->cache);
    add_bytes(s, "activations", x->scratch);
    add_bytes(s, "other", x->other);
    if (x->host_layers) {
        apus_str_add(s, "\n  host      ");
        add_bytes(s, "buffers", x->host);
        add_host(s, x->host_weights, x->host_layers, x->layers);
    }
    apus_str_add(s, "\n");
    add_step(s, "prompt", &x->prompt);
    apus_str_addf(s, ", %.4g tokens/s (of %u)\n", x->prompt.tokens / x->prompt.seconds,
                  x->prompt.tokens);
    add_step(s, "decode", &x->decode);
    apus_str_addf(s, ", %.4g tokens/s (the context full)\n", 1 / x->decode.seconds);
}

void apusi_plan_page(apus_str *s, const apus_plan_options *o, const apus_gpu_class *device,
                     const apus_forecast *f)
{
    char params[32];

    apusi_millions_text(params, sizeof(params), f->n_params);
    apus_str_addf(s, "model     %s, %s parameters\n", f->model, params);
    apus_str_addf(s, "device    %s: %.4g TFLOP/s", f->device, device->f32_flops_s * 1e-12);
    if (device->matrix_flops_s > 0)
        apus_str_addf(s, ", matrices %.4g", device->matrix_flops_s * 1e-12);
    apus_str_addf(s, ", %.4g GB/s\n", device->bytes_s * 1e-9);
    if (f->training.device)
        add_training(s, o, f);
    for (const char *at = f->training.advice; at && *at; at += at[0] == '\n') {
        const size_t n = strcspn(at, "\n");

        apus_str_addf(s, "  instead   %.*s\n", (int)n, at);
        at += n;
    }
    add_inference(s, f);
}

/* ---- a line ---- */

static void add_cell(apus_str *s, uint64_t bytes, bool fits, double rate)
{
    char need[32], speed[32];

    apusi_bytes_text(need, sizeof(need), bytes);
    snprintf(speed, sizeof(speed), "%.4g", rate);
    apus_str_addf(s, " %11s %10s", bytes ? need : "-", fits ? speed : "-");
}

void apusi_plan_line(apus_str *s, const apus_forecast *f)
{
    char heap[32];

    if (!f) {
        apus_str_addf(s, "%-46s %10s %11s %10s %11s %10s\n", "class", "memory", "training",
                      "tokens/s", "inference", "tokens/s");
        return;
    }
    apusi_bytes_text(heap, sizeof(heap), f->device_heap);
    apus_str_addf(s, "%-46s %10s", f->device, heap);
    add_cell(s, f->training.device, f->training.fits, f->training.tokens_s);
    add_cell(s, f->inference.device, f->inference.fits, 1 / f->inference.decode.seconds);
    apus_str_add(s, "\n");
}

/* ---- an object ---- */

static void json_bytes(cJSON *to, const char *name, uint64_t bytes)
{
    cJSON_AddNumberToObject(to, name, (double)bytes);
}

static void json_step(cJSON *to, const char *name, const apus_forecast_step *x)
{
    cJSON *o = cJSON_AddObjectToObject(to, name);

    if (!o)
        return;
    cJSON_AddNumberToObject(o, "tokens", x->tokens);
    cJSON_AddNumberToObject(o, "dispatches", x->dispatches);
    cJSON_AddNumberToObject(o, "flops", x->flops);
    cJSON_AddNumberToObject(o, "bytes", x->bytes);
    cJSON_AddNumberToObject(o, "seconds", x->seconds);
}

static void json_training(cJSON *o, const apus_forecast_training *x)
{
    cJSON_AddBoolToObject(o, "fits", x->fits);
    json_bytes(o, "trained", x->n_trained);
    cJSON_AddNumberToObject(o, "rows", x->rows);
    cJSON_AddNumberToObject(o, "row_tokens", x->row_tokens);
    cJSON_AddNumberToObject(o, "micro_batches", x->micro_batches);
    cJSON_AddStringToObject(o, "dtype", x->dtype ? x->dtype : "");
    cJSON_AddNumberToObject(o, "recomputed", x->recomputed);
    cJSON_AddNumberToObject(o, "recomputed_twice", x->twice);
    cJSON_AddNumberToObject(o, "layers", x->layers);
    json_bytes(o, "weights_bytes", x->weights);
    json_bytes(o, "adapter_bytes", x->adapter);
    json_bytes(o, "gradient_bytes", x->gradients);
    json_bytes(o, "optimizer_bytes", x->optimizer);
    cJSON_AddNumberToObject(o, "host_layers", x->host_layers);
    json_bytes(o, "host_weights_bytes", x->host_weights);
    json_bytes(o, "host_optimizer_bytes", x->host_optimizer);
    json_bytes(o, "activation_bytes", x->scratch);
    json_bytes(o, "other_bytes", x->other);
    json_bytes(o, "device_bytes", x->device);
    json_bytes(o, "host_bytes", x->host);
    json_step(o, "micro", &x->micro);
    json_step(o, "update", &x->update);
    cJSON_AddNumberToObject(o, "step_seconds", x->step_s);
    cJSON_AddNumberToObject(o, "tokens_s", x->tokens_s);
    if (x->advice)
        cJSON_AddStringToObject(o, "advice", x->advice);
}

static void json_inference(cJSON *o, const apus_forecast_inference *x)
{
    cJSON_AddBoolToObject(o, "fits", x->fits);
    cJSON_AddNumberToObject(o, "context", x->context);
    cJSON_AddNumberToObject(o, "host_layers", x->host_layers);
    json_bytes(o, "host_weights_bytes", x->host_weights);
    json_bytes(o, "weights_bytes", x->weights);
    json_bytes(o, "cache_bytes", x->cache);
    json_bytes(o, "activation_bytes", x->scratch);
    json_bytes(o, "other_bytes", x->other);
    json_bytes(o, "device_bytes", x->device);
    json_bytes(o, "host_bytes", x->host);
    json_step(o, "prompt", &x->prompt);
    json_step(o, "decode", &x->decode);
}

cJSON *apusi_plan_json(const apus_gpu_class *device, const apus_forecast *f)
{
    cJSON *o = cJSON_CreateObject(), *training, *inference;

    cJSON_AddStringToObject(o, "model", f->model);
    json_bytes(o, "parameters", f->n_params);
    cJSON_AddStringToObject(o, "device_class", device->name);
    cJSON_AddStringToObject(o, "device", f->device);
    json_bytes(o, "device_memory", f->device_heap);
    cJSON_AddNumberToObject(o, "peak_f32_flops_s", device->f32_flops_s);
    cJSON_AddNumberToObject(o, "peak_matrix_flops_s", device->matrix_flops_s);
    cJSON_AddNumberToObject(o, "peak_bytes_s", device->bytes_s);
    training = cJSON_AddObjectToObject(o, "training");
    inference = cJSON_AddObjectToObject(o, "inference");
    if (training)
        json_training(training, &f->training);
    if (inference)
        json_inference(inference, &f->inference);
    return o;
}
