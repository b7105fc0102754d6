/* files.c - recorded files: tensors, JSON, comparisons of arrays, the temporary folder. */
#include <math.h>
#include <stdio.h>

#include "file.h"
#include "golden.h"

double golden_number(const cJSON *object, const char *a, const char *b)
{
    return apus_json_number(apus_json_get(object, a), b, (double)NAN);
}

char *golden_path(const golden_case *c, const char *name)
{
    return apus_path_join(c->folder, name);
}

apus_status golden_open(const golden_case *c, const char *name, apus_safetensors **out)
{
    char *path = golden_path(c, name);
    const apus_status st = path ? apus_safetensors_open(out, path) : APUS_ERR_MEMORY;

    apus_free(path);
    return st;
}

apus_status golden_json(const golden_case *c, const char *name, cJSON **out)
{
    char *path = golden_path(c, name);
    const apus_status st = path ? apus_json_read(out, path) : APUS_ERR_MEMORY;

    apus_free(path);
    return st;
}

apus_status golden_json_text(const golden_case *c, const char *name, cJSON **out)
{
    apus_status st;
    char *text = NULL, *path = golden_path(c, name);
    size_t n = 0;

    if (!path)
        return APUS_ERR_MEMORY;
    APUS_TRY(apus_file_read(&text, &n, path, 64u << 20));
    for (char *p = text; (p = strstr(p, "\\u0000")); p += 6)
        memcpy(p + 2, "f8f7", 4);
    APUS_TRY(apus_json_parse(out, text, n, path));
fail:
    apus_free(text);
    apus_free(path);
    return st;
}

apus_status golden_tensor(const apus_safetensors *file, const char *name, apus_dtype dtype,
                          uint64_t count, const apus_file_tensor **out)
{
    APUS_FORWARD(apus_safetensors_need(file, name, out));
    if ((*out)->dtype != dtype || (count && apus_file_tensor_elements(*out) != count))
        return apus_fail(APUS_ERR_FORMAT, "%s: %llu elements of format %s, %llu of %s are wanted",
                         name, (unsigned long long)apus_file_tensor_elements(*out), (*out)->format,
                         (unsigned long long)count, apus_dtype_of(dtype)->name);
    return APUS_OK;
}

static apus_status copy(const apus_file_tensor *t, void **out)
{
    *out = apus_alloc(t->bytes);
    if (!*out)
        return APUS_ERR_MEMORY;
    memcpy(*out, t->data, t->bytes);
    return APUS_OK;
}

apus_status golden_floats(const apus_safetensors *file, const char *name, uint64_t count,
                          float **out)
{
    const apus_file_tensor *t;
    void *bytes;

    APUS_FORWARD(golden_tensor(file, name, APUS_F32, count, &t));
    APUS_FORWARD(copy(t, &bytes));
    *out = bytes;
    return APUS_OK;
}

apus_status golden_ints(const apus_safetensors *file, const char *name, int32_t **out,
                        uint64_t *count)
{
    const apus_file_tensor *t;
    void *bytes;

    APUS_FORWARD(golden_tensor(file, name, APUS_I32, 0, &t));
    APUS_FORWARD(copy(t, &bytes));
    *out = bytes;
    *count = apus_file_tensor_elements(t);
    return APUS_OK;
}

const char *golden_temporary(golden *run)
{
    const char *base = getenv("TMPDIR");

    if (run->temporary[0])
        return run->temporary;
    snprintf(run->temporary, sizeof(run->temporary), "%s/apus-golden-XXXXXX",
             base && *base ? base : "/tmp");
    if (!mkdtemp(run->temporary)) {
        apus_fail(APUS_ERR_IO, "%s cannot be made", run->temporary);
        run->temporary[0] = 0;
        return NULL;
    }
    return run->temporary;
}

golden_worst golden_compare(const float *got, const float *want, uint64_t n)
{
    golden_worst w = { 0 };
    double sum = 0;

    for (uint64_t i = 0; i < n; i++) {
        const double d = fabs((double)got[i] - (double)want[i]);
        if (!(d <= w.max))
            w.max = d;
        if (isnan(d))
            return (golden_worst) { d, d };
        sum += d;
    }
    w.mean = n ? sum / (double)n : 0;
    return w;
}

double golden_worse(double worst, double error)
{
    return error <= worst || isnan(worst) ? worst : error;
}

double golden_relative(const float *got, const float *want, uint64_t n)
{
    double difference = 0, norm = 0;

    for (uint64_t i = 0; i < n; i++) {
        const double d = (double)got[i] - (double)want[i];
        difference += d * d;
        norm += (double)want[i] * (double)want[i];
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

/* ---- sequences ---- */

static apus_status read_sequence(golden_sequences *s, uint32_t i)
{
    char name[48];
    uint64_t n = 0, n_labels = 0;

    snprintf(name, sizeof(name), "seq%u.input_ids", i);
    APUS_FORWARD(golden_ints(s->ref, name, &s->ids[i], &n));
    snprintf(name, sizeof(name), "seq%u.labels", i);
    APUS_FORWARD(golden_ints(s->ref, name, &s->labels[i], &n_labels));
    if (n != n_labels || n < 2 || n > 100000)
        return apus_fail(APUS_ERR_FORMAT, "seq%u: %llu ids, %llu labels", i, (unsigned long long)n,
                         (unsigned long long)n_labels);
    /* Recorded as int32, never negative. */
    s->seq[i] = (apus_train_sequence) {
        .ids = (const uint32_t *)s->ids[i],
        .labels = s->labels[i],
        .n = (uint32_t)n,
        .row_id = i,
    };
    for (uint64_t t = 1; t < n; t++)
        s->n_labels += s->labels[i][t] >= 0;
    s->longest = n > s->longest ? (uint32_t)n : s->longest;
    s->tokens += (uint32_t)n;
    return APUS_OK;
}

apus_status golden_sequences_open(golden_sequences *s, const golden_case *c)
{
    char name[48];

    APUS_FORWARD(golden_open(c, "ref.safetensors", &s->ref));
    for (; s->n < GOLDEN_MOST_SEQUENCES; s->n++) {
        snprintf(name, sizeof(name), "seq%u.input_ids", s->n);
        if (!apus_safetensors_find(s->ref, name))
            break;
        APUS_FORWARD(read_sequence(s, s->n));
    }
    if (s->n == 0 || s->n_labels == 0)
        return apus_fail(APUS_ERR_FORMAT, "%s has no sequences with labels", c->name);
    return APUS_OK;
}

void golden_sequences_close(golden_sequences *s)
{
    for (uint32_t i = 0; i < GOLDEN_MOST_SEQUENCES; i++) {
        apus_free(s->ids[i]);
        apus_free(s->labels[i]);
    }
    apus_safetensors_close(&s->ref);
}
