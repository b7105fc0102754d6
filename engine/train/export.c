/* export.c - models as Hugging Face folders: weights (adapters merged in), config.json and the
 * tokenizer's files. */
#include "adapters.h"
#include "apus/train.h"
#include "file.h"
#include "half.h"
#include "json.h"
#include "load.h"
#include "safetensors.h"
#include "trainer_internal.h"

#define SHARD_BYTES (5ull << 30)

/* One weight on its way into a file: decoded, merged, rounded, piece by piece. */
typedef struct source {
    apus_model *m;
    const apus_adapters *adapters;
    const apus_weight *w;
    apus_dtype dtype;
    float *values; /* of the tensor being written */
} source;

static apus_status fetch(source *s)
{
    const uint64_t n = (uint64_t)s->w->rows * (s->w->cols ? s->w->cols : 1);
    const apus_file_tensor *t;

    s->values = apus_alloc(4 * n);
    if (!s->values)
        return APUS_ERR_MEMORY;
    if (s->m->train_all) {
        const apus_buffer *slab = &s->m->slabs[0];
        return apus_buffer_read(s->m->gpu, slab, s->w->address - slab->address, s->values, 4 * n);
    }
    APUS_FORWARD(apus_checkpoint_need(s->m->checkpoint, s->w->name, &t));
    apus_model_decode(t, s->w->rows, s->w->cols, s->values);
    return s->adapters ? apus_adapters_merge(s->adapters, 0, s->w->name, s->values) : APUS_OK;
}

static apus_status read_piece(void *user, uint64_t offset, void *out, size_t bytes)
{
    source *s = user;
    const uint32_t each = apus_dtype_of(s->dtype)->block_bytes;
    const uint64_t first = offset / each, n = bytes / each;

    if (offset == 0)
        APUS_FORWARD(fetch(s));
    if (s->dtype == APUS_F32) {
        memcpy(out, s->values + first, bytes);
    } else {
        for (uint64_t i = 0; i < n; i++) {
            const float f = s->values[first + i];
            const uint16_t h = s->dtype == APUS_F16 ? apus_f32_to_f16(f) : apus_f32_to_bf16(f);
            memcpy((uint8_t *)out + 2 * i, &h, 2);
        }
    }
    if (first + n == (uint64_t)s->w->rows * (s->w->cols ? s->w->cols : 1)) {
        apus_free(s->values);
        s->values = NULL;
    }
    return APUS_OK;
}

static apus_status write_weights(apus_model *m, const apus_adapters *adapters, apus_dtype dtype,
                                 const char *folder)
{
    apus_status st;
    apus_safetensors_entry *e = apus_calloc(m->n_weights, sizeof(*e));
    source *sources = apus_calloc(m->n_weights, sizeof(*sources));

    if (!e || !sources)
        APUS_TRY(APUS_ERR_MEMORY);
    for (uint32_t i = 0; i < m->n_weights; i++) {
        const apus_weight *w = &m->weights[i];
        sources[i] = (source) { .m = m, .adapters = adapters, .w = w, .dtype = dtype };
        e[i] = (apus_safetensors_entry) { .name = w->name,
                                          .dtype = dtype,
                                          .n_dims = w->cols ? 2 : 1,
                                          .dims = { w->rows, w->cols },
                                          .read = read_piece,
                                          .user = &sources[i] };
    }
    APUS_TRY(apus_safetensors_write_sharded(folder, e, m->n_weights, SHARD_BYTES));
fail:
    for (uint32_t i = 0; sources && i < m->n_weights; i++)
        apus_free(sources[i].values);
    apus_free(sources);
    apus_free(e);
    return st;
}

static apus_status write_config(const apus_model *m, apus_dtype dtype, const char *folder)
{
    cJSON *c;
    const char *key;

    apus_json_begin();
    c = cJSON_Duplicate(apus_checkpoint_config(m->checkpoint), true);
    key = apus_json_get(c, "dtype") ? "dtype" : "torch_dtype";
    cJSON_DeleteItemFromObjectCaseSensitive(c, key);
    cJSON_AddStringToObject(c, key, apus_dtype_torch(dtype));
    const apus_status st = apus_json_write(c, folder, "config.json");
    cJSON_Delete(c);
    return st;
}

/* The tokenizer's files of a folder, as they are. */
static apus_status copy_tokenizer(const char *from, const char *to)
{
    static const char *const names[] = {
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "generation_config.json",
        "chat_template.jinja",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
    };

    for (size_t i = 0; i < APUS_COUNT(names); i++) {
        char *src = apus_path_join(from, names[i]), *dst = apus_path_join(to, names[i]),
             *data = NULL;
        size_t bytes = 0;
        apus_status st = src && dst ? APUS_OK : APUS_ERR_MEMORY;
        if (st == APUS_OK && apus_path_exists(src)) {
            st = apus_file_read(&data, &bytes, src, 1 << 30);
            if (st == APUS_OK)
                st = apus_file_write(dst, data, bytes);
        }
        apus_free(data);
        apus_free(src);
        apus_free(dst);
        APUS_FORWARD(st);
    }
    return APUS_OK;
}

apus_status apusi_export_folder(apus_model *m, const apus_adapters *adapters, apus_dtype dtype,
                                const char *folder)
{
    APUS_FORWARD(apus_dir_create(folder));
    APUS_FORWARD(write_config(m, dtype, folder));
    if (apus_checkpoint_is_gguf(m->checkpoint))
        APUS_FORWARD(apus_tokenizer_save(apus_checkpoint_path(m->checkpoint), folder));
    else
        APUS_FORWARD(copy_tokenizer(apus_checkpoint_path(m->checkpoint), folder));
    return write_weights(m, adapters, dtype, folder);
}

apus_status apus_merge_lora(const char *model, const char *adapter, const char *device,
                            const char *dtype, const char *output_dir)
{
    apus_status st;
    apus_model *m = NULL;
    apus_adapters *ad = NULL;
    apus_lora_config c;
    apus_dtype type = APUS_F32;
    apus_model_params open = { .device = device, .max_positions = 64 };

    if (dtype)
        APUS_FORWARD(apus_torch_dtype_read(&type, dtype));
    APUS_FORWARD(apus_adapter_peek(adapter, &c));
    st = apus_model_open(&m, model, &open);
    if (st == APUS_ERR_MEMORY) { /* the base weights are the files': they may lie anywhere */
        open.host_layers = UINT32_MAX;
        st = apus_model_open(&m, model, &open);
    }
    APUS_TRY(st);
    APUS_TRY(apus_adapters_create(&ad, m, 1, 1024));
    APUS_TRY(apus_adapters_load(ad, 0, adapter));
    APUS_TRY(apusi_export_folder(m, ad, type, output_dir));
fail:
    apus_adapters_destroy(&ad);
    apus_model_close(&m);
    return st;
}
