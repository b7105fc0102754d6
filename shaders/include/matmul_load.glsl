/* matmul_load.glsl - operands of matmul kernels that stage blocks in shared memory.
 *
 * Four elements along the rows of a matrix (rows, cols) of any format, decoded to f32; zero
 * outside, so that a block may hang over the edge and a sum may run over the padding. */
#ifndef APUS_MATMUL_LOAD_GLSL
#define APUS_MATMUL_LOAD_GLSL
#include "quant.glsl"

/* Elements 4q .. 4q+3 of row `row`. */
vec4 matmul_load4(uint type, uvec2 at, uint row, uint rows, uint cols, uint q)
{
    if (row >= rows || 4 * q >= cols)
        return vec4(0.0);
    if (type > APUS_BF16)
        return apus_weight4(type, at, p.scales, p.scale_words, row, cols >> 2, q);
    if ((cols & 3u) == 0u)
        return apus_load4(type, at, row * (cols >> 2) + q);
    vec4 x = vec4(0.0); /* rows do not start at multiples of 16 bytes */
    [[unroll]] for (uint i = 0; i < 4; i++)
        if (4 * q + i < cols)
            x[i] = apus_load1(type, at, row * cols + 4 * q + i);
    return x;
}

#endif
