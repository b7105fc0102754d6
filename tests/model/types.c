/* types.c - tests of the number formats that a model is computed with. */
#include "types.h"

#include "harness.h"

static const apus_net_dims even = { .hidden = 64, .ffn = 112, .head_dim = 16 };
static const apus_net_dims odd = { .hidden = 64, .ffn = 110, .head_dim = 16 };
static const apus_caps gpu = { .device_class = APUS_CLASS_GPU },
                       cpu = { .device_class = APUS_CLASS_CPU };

TEST(by_flag_files_and_device)
{
    const apus_dtype none = APUS_DTYPE_COUNT;
    const struct {
        const char *flag;
        apus_dtype config;
        const apus_caps *caps;
        const apus_net_dims *dims;
        apus_dtype act, cache;
        const char *torch_dtype;
    } cases[] = {
        /* the flag wins everywhere */
        { "float32", APUS_BF16, &gpu, &even, APUS_F32, APUS_F32, "float32" },
        { "float16", APUS_BF16, &gpu, &even, APUS_F16, APUS_F16, "float16" },
        { "bfloat16", none, &cpu, &even, APUS_BF16, APUS_BF16, "bfloat16" },
        { "float16", none, NULL, &even, APUS_F16, APUS_F16, "float16" },
        /* then the files, on GPUs */
        { NULL, APUS_F32, &gpu, &even, APUS_F32, APUS_F32, "float32" },
        { NULL, APUS_F16, &gpu, &even, APUS_F16, APUS_F16, "float16" },
        { NULL, APUS_BF16, &gpu, &even, APUS_BF16, APUS_BF16, "bfloat16" },
        /* then the device */
        { NULL, none, &gpu, &even, APUS_BF16, APUS_BF16, "bfloat16" },
        { NULL, none, &cpu, &even, APUS_F32, APUS_F32, "float32" },
        { NULL, none, NULL, &even, APUS_F32, APUS_F32, "float32" },
        /* on CPUs activations are not 16 bits unless asked for */
        { NULL, APUS_BF16, &cpu, &even, APUS_F32, APUS_BF16, "float32" },
        { NULL, APUS_F16, NULL, &even, APUS_F32, APUS_F16, "float32" },
        /* rows that cannot be stored */
        { "float16", none, &gpu, &odd, APUS_F32, APUS_F16, "float16" },
        { NULL, APUS_BF16, &gpu, &odd, APUS_F32, APUS_BF16, "bfloat16" },
    };

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        apus_model_types t;
        if (!CHECK_OK(apus_types_choose(&t, cases[i].flag, cases[i].config, cases[i].dims,
                                        cases[i].caps)))
            continue;
        harness_check(t.act == cases[i].act && t.cache == cases[i].cache &&
                          (t.narrow != APUS_NARROW_NOT) == (cases[i].cache != APUS_F32) &&
                          !strcmp(t.torch_dtype, cases[i].torch_dtype),
                      __FILE__, __LINE__, "case %zu: activations %s, cache %s, narrow %d, %s", i,
                      apus_dtype_of(t.act)->name, apus_dtype_of(t.cache)->name, t.narrow,
                      t.torch_dtype);
    }
}

/* What a run says of itself leads to the same run. */
TEST(the_flag_that_is_told_gives_the_same)
{
    for (apus_dtype config = APUS_F32; config <= APUS_DTYPE_COUNT; config++)
        for (int device = 0; device < 2; device++)
            for (int fours = 0; fours < 2; fours++) {
                const apus_net_dims *dims = fours ? &even : &odd;
                const apus_caps *caps = device ? &gpu : &cpu;
                apus_model_types t, again;
                CHECK_OK(apus_types_choose(&t, NULL, config, dims, caps));
                CHECK_OK(apus_types_choose(&again, t.torch_dtype, config, dims, caps));
                CHECK(t.act == again.act);
                CHECK(device == 0 || t.narrow == again.narrow);
            }
}

TEST(others_are_refused)
{
    apus_model_types t;

    CHECK(apus_types_choose(&t, "int8", APUS_F32, &even, &gpu) == APUS_ERR_ARG);
    CHECK_EQ_STR(apus_error_text(), "torch_dtype is int8; it must be float32, float16 or bfloat16");
}
