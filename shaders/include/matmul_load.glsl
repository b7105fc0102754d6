/* matmul_load.glsl - operands of matmul kernels that stage blocks in shared memory.
 *
 * Four elements along the rows of a matrix of any format, decoded to f32.  A block may hang over
 * the edge of the matrix and a chunk over the end of the sum: beyond k there are zeros, beyond the
 * other edge anything, which gives rows or columns of the result that are not stored.
 *
 * EDGES says what the host knows of the shapes.  A branch around a load keeps compilers from asking
 * for the next one before it is there, so that the kernels of models have none. */
#ifndef APUS_MATMUL_LOAD_GLSL
#define APUS_MATMUL_LOAD_GLSL
#include "quant.glsl"

/* Elements 4q .. 4q+3 of row `row` of (rows, cols).  `k_rows`: k is the row; `whole`: row or column
 * is below the end of the sum. */
vec4 matmul_load4(uint type, uvec2 at, uint row, uint rows, uint cols, uint q, bool k_rows,
                  bool whole)
{
    if (EDGES == APUS_MATMUL_ANY) {
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
    const uint last_row = max(rows, 1u) - 1, last_q = (cols >> 2) - 1;
    const uint r = k_rows && whole ? row : min(row, last_row);
    const uint c = !k_rows && whole ? q : min(q, last_q);
    const vec4 x = apus_weight4(type, at, p.scales, p.scale_words, r, cols >> 2, c);
    return whole || (k_rows ? row < rows : q <= last_q) ? x : vec4(0.0);
}

#endif
