/* matmul_args.glsl - the arguments `p` of a product's kernel: the push block; BATCH: those of
 * product gl_WorkGroupID.z in the array whose address is the push block's `a`. */
#ifndef APUS_MATMUL_ARGS_GLSL
#define APUS_MATMUL_ARGS_GLSL
#include "args/matmul.h"

layout(push_constant) uniform Push { apus_matmul_push only; };
layout(buffer_reference, std430, buffer_reference_align = 8) readonly
    buffer BufProducts { apus_matmul_push v[]; };

apus_matmul_push p;

void take_product()
{
    p = only;
    if (BATCH == 1)
        p = BufProducts(only.a).v[gl_WorkGroupID.z];
}

/* The number of the workgroup along columns: x, continued by z where products are single. */
uint column_group()
{
    return gl_WorkGroupID.x + (BATCH == 1 ? 0 : gl_WorkGroupID.z * gl_NumWorkGroups.x);
}

#endif
