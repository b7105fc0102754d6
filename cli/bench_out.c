/* bench_out.c - the forms of a bench's result.  Names of fields and columns are llama-bench's, so
 * that what reads its results reads ours; what is ours alone stands behind. */
#include <math.h>
#include <stdio.h>

#include "base.h"
#include "bench.h"
#include "json.h"
#include "os.h"
#include "sizes.h"
#include "str.h"

typedef struct figures {
    double avg_s, stddev_s; /* seconds */
    double avg_ts, stddev_ts;
    double tokens;
} figures;

static double mean(const double *x, uint32_t n)
{
    double sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += x[i];
    return sum / n;
}

static double deviation(const double *x, uint32_t n)
{
    const double m = mean(x, n);
    double sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += (x[i] - m) * (x[i] - m);
    return n > 1 ? sqrt(sum / (n - 1)) : 0;
}

static double tokens_of(const apusi_bench_row *row)
{
    const double tokens = (double)row->test.prompt + row->test.gen;

    return row->train ? row->train : tokens * row->test.sequences;
}

static void figure(figures *f, const apusi_bench_row *row)
{
    double rates[APUSI_BENCH_SAMPLES];

    f->tokens = tokens_of(row);
    for (uint32_t i = 0; i < row->n; i++)
        rates[i] = f->tokens / row->seconds[i];
    f->avg_s = mean(row->seconds, row->n);
    f->stddev_s = deviation(row->seconds, row->n);
    f->avg_ts = mean(rates, row->n);
    f->stddev_ts = deviation(rates, row->n);
}

void apusi_bench_name(char *out, size_t room, const apusi_bench_row *row, bool full)
{
    char behind[40] = "";
    const apus_bench_test *t = &row->test;

    if (t->sequences > 1)
        snprintf(behind, sizeof(behind), " x%u", t->sequences);
    if (t->depth)
        snprintf(behind + strlen(behind), 24, " @ d%u", t->depth);
    if (row->train && row->recomputed)
        snprintf(out, room, "%s%u r%u", full ? "full" : "train", row->train, row->recomputed);
    else if (row->train)
        snprintf(out, room, "%s%u", full ? "full" : "train", row->train);
    else if (!t->gen)
        snprintf(out, room, "pp%u%s", t->prompt, behind);
    else if (!t->prompt)
        snprintf(out, room, "tg%u%s", t->gen, behind);
    else
        snprintf(out, room, "pp%u+tg%u%s", t->prompt, t->gen, behind);
}

/* ---- one row as an object ---- */

static void add_host(cJSON *o, const apusi_bench_setting *s)
{
    cJSON_AddStringToObject(o, "build_commit", APUS_VERSION);
    cJSON_AddNumberToObject(o, "build_number", 0);
    cJSON_AddStringToObject(o, "cpu_info", s->cpu);
    cJSON_AddStringToObject(o, "gpu_info", s->device.name);
    cJSON_AddStringToObject(o, "backends", "Vulkan");
    cJSON_AddStringToObject(o, "model_filename", s->model_path);
    cJSON_AddStringToObject(o, "model_type", s->model_type);
    cJSON_AddNumberToObject(o, "model_size", (double)s->about.model_bytes);
    cJSON_AddNumberToObject(o, "model_n_params", (double)s->model.n_params);
    cJSON_AddNumberToObject(o, "n_batch", s->about.chunk);
    cJSON_AddNumberToObject(o, "n_ubatch", s->about.chunk);
    cJSON_AddNumberToObject(o, "n_threads", apus_cpu_count());
    cJSON_AddStringToObject(o, "cpu_mask", "0x0");
    cJSON_AddBoolToObject(o, "cpu_strict", false);
    cJSON_AddNumberToObject(o, "poll", 0);
    cJSON_AddStringToObject(o, "type_k", s->about.cache_type);
    cJSON_AddStringToObject(o, "type_v", s->about.cache_type);
    cJSON_AddStringToObject(o, "type_act", s->about.act_type);
    cJSON_AddNumberToObject(o, "n_gpu_layers", s->model.layers);
    cJSON_AddStringToObject(o, "split_mode", "none");
    cJSON_AddNumberToObject(o, "main_gpu", s->device.index);
    cJSON_AddBoolToObject(o, "no_kv_offload", false);
    cJSON_AddBoolToObject(o, "flash_attn", true);
    cJSON_AddStringToObject(o, "tensor_split", "0.00");
    cJSON_AddBoolToObject(o, "use_mmap", true);
    cJSON_AddBoolToObject(o, "embeddings", false);
}

static void add_own(cJSON *o, const apusi_bench_setting *s, const apusi_bench_row *row,
                    const figures *f)
{
    char choices[32];

    snprintf(choices, sizeof(choices), "%016llx", (unsigned long long)s->about.choices);
    cJSON_AddNumberToObject(o, "n_train", row->train);
    cJSON_AddStringToObject(o, "tuner_type", s->tuner_type);
    cJSON_AddNumberToObject(o, "recomputed", row->recomputed);
    cJSON_AddStringToObject(o, "gpu_kind", s->device.kind);
    cJSON_AddNumberToObject(o, "n_parallel", row->train ? 1 : row->test.sequences);
    cJSON_AddStringToObject(o, "gpu_driver", s->device.driver);
    cJSON_AddStringToObject(o, "choices", choices);
    cJSON_AddNumberToObject(o, "flops", row->flops);
    cJSON_AddNumberToObject(o, "bytes", row->bytes);
    cJSON_AddNumberToObject(o, "peak_fma_flops_s", s->peaks.fma_flops_s);
    cJSON_AddNumberToObject(o, "peak_copy_bytes_s", s->peaks.copy_bytes_s);
    cJSON_AddNumberToObject(o, "percent_of_fma",
                            100 * row->flops / f->avg_s / s->peaks.fma_flops_s);
    cJSON_AddNumberToObject(o, "percent_of_copy",
                            100 * row->bytes / f->avg_s / s->peaks.copy_bytes_s);
    cJSON_AddNumberToObject(o, "device_peak_bytes", (double)row->device_peak);
    cJSON_AddNumberToObject(o, "host_peak_bytes", (double)row->host_peak);
    cJSON_AddNumberToObject(o, "host_ns_per_step", round(mean(row->host_s, row->n) * 1e9));
    cJSON_AddNumberToObject(o, "submissions_per_step", row->submissions);
}

static void add_samples(cJSON *o, const apusi_bench_row *row, double tokens)
{
    cJSON *ns = cJSON_AddArrayToObject(o, "samples_ns");
    cJSON *ts = cJSON_AddArrayToObject(o, "samples_ts");

    for (uint32_t i = 0; ns && ts && i < row->n; i++) {
        cJSON_AddItemToArray(ns, cJSON_CreateNumber(round(row->seconds[i] * 1e9)));
        cJSON_AddItemToArray(ts, cJSON_CreateNumber(tokens / row->seconds[i]));
    }
}

static cJSON *object_of(const apusi_bench_setting *s, const apusi_bench_row *row, bool samples)
{
    cJSON *o = cJSON_CreateObject();
    figures f;

    figure(&f, row);
    add_host(o, s);
    cJSON_AddNumberToObject(o, "n_prompt", row->test.prompt);
    cJSON_AddNumberToObject(o, "n_gen", row->test.gen);
    cJSON_AddNumberToObject(o, "n_depth", row->test.depth);
    cJSON_AddStringToObject(o, "test_time", row->time);
    cJSON_AddNumberToObject(o, "avg_ns", round(f.avg_s * 1e9));
    cJSON_AddNumberToObject(o, "stddev_ns", round(f.stddev_s * 1e9));
    cJSON_AddNumberToObject(o, "avg_ts", f.avg_ts);
    cJSON_AddNumberToObject(o, "stddev_ts", f.stddev_ts);
    if (samples)
        add_samples(o, row, f.tokens);
    add_own(o, s, row, &f);
    return o;
}

/* ---- forms ---- */

static apus_status print(const char *text)
{
    if (fputs(text, stdout) < 0 || fflush(stdout) != 0)
        return apus_fail(APUS_ERR_IO, "bench: the result could not be written");
    return APUS_OK;
}

static apus_status print_json(cJSON *o, int indent, const char *before, const char *after)
{
    char *text = apus_json_text(o, indent);
    apus_status st = text ? APUS_OK : APUS_ERR_MEMORY;

    if (st == APUS_OK)
        st = print(before);
    if (st == APUS_OK)
        st = print(text);
    if (st == APUS_OK)
        st = print(after);
    apus_free(text);
    return st;
}

static void add_cell(apus_str *s, const cJSON *value)
{
    char *text = cJSON_IsString(value) ? apus_strdup(value->valuestring) : apus_json_text(value, 0);

    s->failed |= !text;
    apus_str_add(s, "\"");
    for (const char *c = text ? text : ""; *c; c++) {
        if (*c == '"')
            apus_str_add(s, "\"");
        apus_str_add_bytes(s, c, 1);
    }
    apus_str_add(s, "\"");
    apus_free(text);
}

/* Each value in quotation marks, as llama-bench writes them. */
static apus_status print_csv(const cJSON *o, bool head)
{
    const cJSON *at;
    apus_str s = { 0 };
    apus_status st;

    for (at = o->child; head && at; at = at->next)
        apus_str_addf(&s, "%s%s", at->string, at->next ? "," : "\n");
    for (at = o->child; at; at = at->next) {
        add_cell(&s, at);
        apus_str_add(&s, at->next ? "," : "\n");
    }
    st = s.failed ? APUS_ERR_MEMORY : print(s.data);
    apus_str_release(&s);
    return st;
}

static apus_status print_md(const apusi_bench_setting *s, const apusi_bench_row *row)
{
    char name[64], size[32], line[512], rate[48], fma[16], copy[16] = "-";
    figures f;

    figure(&f, row);
    apusi_bench_name(name, sizeof(name), row, s->full);
    apusi_bytes_text(size, sizeof(size), s->about.model_bytes);
    snprintf(rate, sizeof(rate), "%.2f ± %.2f", f.avg_ts, f.stddev_ts);
    snprintf(fma, sizeof(fma), "%.1f", 100 * row->flops / f.avg_s / s->peaks.fma_flops_s);
    if (row->bytes > 0)
        snprintf(copy, sizeof(copy), "%.1f", 100 * row->bytes / f.avg_s / s->peaks.copy_bytes_s);
    /* "±" is two bytes and one column */
    snprintf(line, sizeof(line), "| %-26s | %10s | %10.2f M | %-7s | %18s | %21s | %7s | %7s |\n",
             s->model_type, size, (double)s->model.n_params / 1e6, "Vulkan", name, rate, fma, copy);
    return print(line);
}

apus_status apusi_bench_begin(apusi_bench_form form)
{
    if (form == APUSI_BENCH_JSON)
        return print("[");
    if (form != APUSI_BENCH_MD)
        return APUS_OK;
    return print("| model                      |       size |       params | backend |          "
                 "     test |                  t/s |   % fma |  % copy |\n"
                 "| -------------------------- | ---------: | -----------: | ------- | -------"
                 "----------: | -------------------: | ------: | ------: |\n");
}

apus_status apusi_bench_add(apusi_bench_form form, const apusi_bench_setting *setting,
                            const apusi_bench_row *row, bool first)
{
    cJSON *o;
    apus_status st;

    if (form == APUSI_BENCH_MD)
        return print_md(setting, row);
    o = object_of(setting, row, form != APUSI_BENCH_CSV);
    if (!o)
        return apus_fail(APUS_ERR_MEMORY, "bench: out of memory");
    if (form == APUSI_BENCH_CSV)
        st = print_csv(o, first);
    else if (form == APUSI_BENCH_JSONL)
        st = print_json(o, 0, "", "\n");
    else
        st = print_json(o, 2, first ? "\n" : ",\n", "");
    cJSON_Delete(o);
    return st;
}

apus_status apusi_bench_end(apusi_bench_form form)
{
    return form == APUSI_BENCH_JSON ? print("\n]\n") : APUS_OK;
}
