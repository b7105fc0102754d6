/* Model files that are cut or lie, through the command line: each is refused with a sentence that
 * names the file and what is wrong in it. */
#include "json.h"
#include "place.h"
#include "str.h"

/* ---- safetensors ---- */

TEST(truncated_safetensors)
{
    const char *folder = new_folder();

    put_model(folder, 1000);
    put_text(folder, "rows.jsonl", ROW("red", "red"));
    fails(folder, SFT, 1, "m/model.safetensors", "of the data, which has ");
    fails(folder, "inspect m", 1, "m/model.safetensors", "of the data, which has ");
    fails(folder, "infer --model m --template chatml", 1, "m/model.safetensors", NULL);
    put(folder, "m/model.safetensors", "\1\0\0", 3);
    fails(folder, "inspect m", 1, "m/model.safetensors: ", "3 bytes are too few");
    put(folder, "m/model.safetensors", "\100\0\0\0\0\0\0\0{}", 10);
    fails(folder, "inspect m", 1, "m/model.safetensors: truncated",
          "the header has 64 bytes, the file only 10");
}

TEST(lying_safetensors)
{
    static const struct {
        const char *header, *words;
    } cases[] = {
        { "\"dtype\":\"BF16\",\"shape\":[272,64],\"data_offsets\":[0,18446744073709551615]",
          "has no valid data_offsets" },
        { "\"dtype\":\"BF16\",\"shape\":[272,64],\"data_offsets\":[0,34816]",
          "ends at byte 34816 of the data, which has 8" },
        { "\"dtype\":\"BF16\",\"shape\":[4294967296,4294967296,4294967296],"
          "\"data_offsets\":[0,8]",
          "the shape of tensor 'model.embed_tokens.weight' overflows" },
        { "\"dtype\":\"F32\",\"shape\":[4503599627370496,128],\"data_offsets\":[0,8]",
          "the shape of tensor 'model.embed_tokens.weight' overflows" },
        { "\"dtype\":\"BF16\",\"shape\":[272,64],\"data_offsets\":[8,0]",
          "has no valid data_offsets" },
        { "\"dtype\":\"BF16\",\"shape\":[5],\"data_offsets\":[0,8]",
          "has 8 bytes, but 5 elements of BF16 do not take them" },
        { "\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[4,8]",
          "begins at byte 4 of the data, but 0 is next" },
        { "\"dtype\":\"BF16\",\"shape\":[-4],\"data_offsets\":[0,8]",
          "dimension 0 is not a whole number" },
        { "\"dtype\":\"X7\",\"shape\":[4],\"data_offsets\":[0,8]", "the unknown dtype 'X7'" },
        { "\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]",
          "the tensors take 4 bytes of 8" },
    };
    static const char lie[] = "\x7f\xff\xff\xff\xff\xff\xff\x7f{}";
    const char *folder = workplace();

    put(folder, "m/model.safetensors", lie, sizeof(lie) - 1);
    fails(folder, "inspect m", 1, "m/model.safetensors: a header of ", "is too long");
    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        char *header = apus_format("{\"model.embed_tokens.weight\":{%s}}", cases[i].header);
        const uint64_t n = strlen(header);
        char *file = apus_calloc(8 + n + 8, 1);

        memcpy(file, &n, 8);
        memcpy(file + 8, header, n);
        put(folder, "m/model.safetensors", file, 8 + n + 8);
        apus_free(file);
        apus_free(header);
        fails(folder, "inspect m", 1, "m/model.safetensors: ", cases[i].words);
    }
}

/* Whole files that do not belong together: the config says another shape. */
TEST(a_config_of_another_model)
{
    const char *folder = workplace();
    char *path = apus_path_join(folder, "m/config.json"), *text = NULL;
    cJSON *config = NULL;

    if (!has_device())
        return;
    REQUIRE_OK(apus_json_read(&config, path));
    cJSON_ReplaceItemInObject(config, "intermediate_size", cJSON_CreateNumber(160));
    text = apus_json_text(config, 2);
    put_text(folder, "m/config.json", text);
    fails(folder, SFT, 1, "mlp.gate_proj.weight is ", "the config says 160 x 64");
    put_text(folder, "m/config.json", "{\"model_type\": \"llama\", ");
    fails(folder, SFT, 1, "m/config.json", "line 1");
    put_text(folder, "m/config.json", "{\"model_type\": \"nobody\"}");
    fails(folder, SFT, 1, "nobody", "not supported yet");
    cJSON_Delete(config);
    apus_free(text);
    apus_free(path);
}

/* ---- GGUF ---- */

/* One metadata pair and one tensor of 2 x 4 f32; what is set replaces what is true. */
typedef struct gguf {
    uint64_t n_tensors, n_pairs, key_bytes, dims[2], offset;
    uint32_t version, value_type, n_dims, format;
    size_t cut; /* bytes missing at the end */
} gguf;

#define TRUE_GGUF                                                                                  \
    {                                                                                              \
        .n_tensors = 1, .n_pairs = 1, .key_bytes = 20, .dims = { 4, 2 }, .version = 3,             \
        .value_type = 8, .n_dims = 2                                                               \
    }

static void number(apus_str *out, uint64_t value, size_t bytes)
{
    apus_str_add_bytes(out, (const char *)&value, bytes);
}

static void put_gguf(const char *folder, const gguf *g)
{
    apus_str out = { 0 };

    apus_str_add(&out, "GGUF");
    number(&out, g->version, 4);
    number(&out, g->n_tensors, 8);
    number(&out, g->n_pairs, 8);
    number(&out, g->key_bytes, 8);
    apus_str_add(&out, "general.architecture");
    number(&out, g->value_type, 4);
    number(&out, 5, 8);
    apus_str_add(&out, "llama");
    number(&out, 17, 8);
    apus_str_add(&out, "token_embd.weight");
    number(&out, g->n_dims, 4);
    for (uint32_t i = 0; i < 2; i++)
        number(&out, g->dims[i], 8);
    number(&out, g->format, 4);
    number(&out, g->offset, 8);
    while (out.len % 32)
        number(&out, 0, 1);
    for (int i = 0; i < 8; i++)
        number(&out, 0, 4);
    put(folder, "a.gguf", out.data, out.len - g->cut);
    apus_str_release(&out);
}

TEST(truncated_and_lying_gguf)
{
    const char *folder = new_folder();
    gguf g = TRUE_GGUF;

    /* Whole, but without the numbers of a model. */
    put_gguf(folder, &g);
    fails(folder, "inspect a.gguf", 1, "a.gguf", "no metadata 'llama.");
#define LIES(field, value, text)                                                                   \
    do {                                                                                           \
        g = (gguf)TRUE_GGUF;                                                                       \
        g.field = (value);                                                                         \
        put_gguf(folder, &g);                                                                      \
        fails(folder, "inspect a.gguf", 1, "a.gguf: ", text);                                      \
    } while (0)
    LIES(n_tensors, UINT64_C(1) << 60, "1152921504606846976 tensors do not fit in ");
    LIES(n_pairs, UINT64_MAX, "18446744073709551615 metadata pairs do not fit in ");
    LIES(n_tensors, 2, "truncated");
    LIES(key_bytes, UINT64_C(1) << 62, "needs 4611686018427387904 bytes");
    LIES(version, 9, "GGUF version 9: not supported yet");
    LIES(value_type, 99, "'general.architecture' has the unknown value type 99");
    LIES(value_type, 9, "general.architecture");
    LIES(n_dims, 7, "tensor 'token_embd.weight' has 7 dimensions, GGUF has at most 4");
    LIES(dims[0], UINT64_C(1) << 63, "tensor 'token_embd.weight' overflows");
    LIES(dims[0], UINT64_C(1) << 40, "truncated: tensor 'token_embd.weight' needs 8796093022208 ");
    LIES(offset, UINT64_MAX - 31, "truncated: tensor 'token_embd.weight' needs 32 bytes at ");
    LIES(offset, 3, "is at offset 3, not a multiple of 32");
    LIES(format, 8, "rows of 4 elements are not whole blocks of ");
    LIES(cut, 1, "truncated: tensor 'token_embd.weight' needs 32 bytes at 0");
    LIES(cut, 40, "truncated");
    LIES(cut, 80, "truncated at byte ");
    put(folder, "a.gguf", "not a model", 11);
    fails(folder, "infer --model a.gguf", 1, "a.gguf", "not a GGUF file");
    put(folder, "a.gguf", "", 0);
    fails(folder, "inspect a.gguf", 1, "a.gguf", NULL);
}
