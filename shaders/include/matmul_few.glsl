/* matmul_few.glsl - what the kernels for few rows of a share: matrices side by side, the norm of a,
 * the gate.
 *
 * MEMBERS matrices are multiplied by the same rows; a workgroup has rows of one of them.  NORM: a
 * is normalized on the way (rms_norm.comp): y = s * sum_k a[k] w[k] b[n,k], s = 1 / sqrt(mean(a^2)
 * + eps), so that no rows of a are written and read again.  PAIR: the two matrices are the gate and
 * what it gates, a workgroup has the same rows of both, and y = act(gate) * up, with act the one
 * that PAIR is the number of (gate.glsl).
 * ADAPTED: a low-rank term is added to products whose modules have one: lora_vec.comp made h, this
 * adds scale * sum_r h[m,r] b[n,r] of each row's adapter. */
#ifndef APUS_MATMUL_FEW_GLSL
#define APUS_MATMUL_FEW_GLSL
#include "args/matmul.h"
#include "args/matmul_few.h"
#include "gate.glsl"
#include "lora_table.glsl"

layout(push_constant) uniform Push { apus_matmul_few_push few; };
layout(buffer_reference, std430, buffer_reference_align = 8) readonly
    buffer BufMembers { apus_matmul_member v[]; };

apus_matmul_push p; /* of the matrix that the workgroup has rows of; PAIR: of the gate */
apus_matmul_member own, up; /* that matrix; PAIR: the other one */

#include "matmul_epilogue.glsl"

/* The workgroup's number; a grid of two dimensions may end with some that have no rows. */
uint few_group()
{
    return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
}

/* Set p; returns the number of the workgroup among those of its matrix. */
uint take_member(uint group)
{
    uint i = 0;

    if (PAIR == 0)
        [[unroll]] for (uint j = 1; j < MEMBERS; j++)
            i = group >= BufMembers(few.members).v[j].first ? j : i;
    own = BufMembers(few.members).v[i];
    p.a = few.a;
    p.b = own.b;
    p.scales = own.scales;
    p.y = own.y;
    p.acc = own.acc;
    p.bias = own.bias;
    p.step = few.step;
    p.rows_var = few.rows_var;
    p.rows_skip = few.rows_skip;
    p.rows_max = few.rows_max;
    p.rows_mul = few.rows_mul;
    p.n = own.n;
    p.k = few.k;
    p.scale_words = few.scale_words;
    p.alpha = few.alpha;
    if (PAIR != 0)
        up = BufMembers(few.members).v[1];
    return group - own.first;
}

/* What the sums of a row are multiplied by, given its sum of squares. */
float norm_scale(float squares)
{
    return NORM == 1 ? inversesqrt(squares / float(p.k) + few.eps) : 1.0;
}

/* What the adapter of row m adds to column n of a matrix's product. */
float adapted(apus_matmul_member matrix, uint m, uint n)
{
    if (ADAPTED == 0 || apus_none(matrix.entry))
        return 0.0;
    const apus_lora_entry e = lora_entry(matrix.entry, few.index, few.slots, m);
    const uint from = m * few.h_cols + matrix.h_at;
    float sum = 0.0;
    uint r = 0;
    if (e.rank > 0)
        do
            sum = fma(BufF(few.h).v[from + r], BufF(e.b).v[n * e.rank + r], sum);
        while (++r < e.rank);
    return e.scale * sum;
}

/* The result of a column that one lane has, given the sum. */
float few_end1(uint m, uint n, float sum)
{
    return matmul_end1(m, n, sum) + adapted(own, m, n);
}

/* Those of columns n and n + 1. */
vec2 few_end2(uint m, uint n, vec2 sum)
{
    const uint next = min(n + 1, p.n - 1);

    return vec2(few_end1(m, n, sum.x), few_end1(m, next, sum.y));
}

/* act(gate) * up, given the sums. */
float gated1(uint m, uint n, float gate_sum, float up_sum)
{
    const float gate = p.alpha * gate_sum + adapted(own, m, n);

    return apus_gate(PAIR, vec4(gate)).x * (p.alpha * up_sum + adapted(up, m, n));
}

vec2 gated2(uint m, uint n, vec2 gate_sum, vec2 up_sum)
{
    const uint next = min(n + 1, p.n - 1);

    return vec2(gated1(m, n, gate_sum.x, up_sum.x), gated1(m, next, gate_sum.y, up_sum.y));
}

#endif
