/* types.c - which number formats a model is computed with: by flag, files and device. */
#include "types.h"

#include "base.h"

apus_status apus_torch_dtype_read(apus_dtype *out, const char *torch_dtype)
{
    if (apus_dtype_by_torch(torch_dtype, out))
        return APUS_OK;
    return apus_fail(APUS_ERR_ARG, "torch_dtype is %s; it must be float32, float16 or bfloat16",
                     torch_dtype);
}

/* ms-swift's rule: what the files say, else 16 bits on GPUs and float32 on CPUs.  bfloat16, since
 * models that were made with it leave float16's range, and it needs no feature of the device. */
static apus_dtype by_default(apus_dtype config, bool cpu)
{
    if (config == APUS_F32 || config == APUS_F16 || config == APUS_BF16)
        return config;
    return cpu ? APUS_F32 : APUS_BF16;
}

/* Rows of 16-bit activations are whole fours (graph.h). */
static bool whole_fours(const apus_net_dims *d)
{
    return d->hidden % 4 == 0 && d->ffn % 4 == 0 && d->head_dim % 4 == 0;
}

apus_status apus_types_choose(apus_model_types *out, const char *torch_dtype, apus_dtype config,
                              const apus_net_dims *dims, const apus_caps *caps)
{
    const bool cpu = !caps || caps->device_class == APUS_CLASS_CPU;
    apus_dtype type = by_default(config, cpu);

    if (torch_dtype)
        APUS_FORWARD(apus_torch_dtype_read(&type, torch_dtype));
    /* On CPUs 16-bit activations cost time: they are there for whom asks for them. */
    const apus_dtype asked = !torch_dtype && cpu ? APUS_F32 : type;
    *out = (apus_model_types) {
        .act = whole_fours(dims) ? asked : APUS_F32,
        .cache = type,
        .narrow = type != APUS_F32 ? APUS_NARROW_16 : APUS_NARROW_NOT,
        .torch_dtype = apus_dtype_torch(asked),
    };
    return APUS_OK;
}
