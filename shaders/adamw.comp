#version 450
/* One step of AdamW on a slab of parameters, with the clip factor of grad_norm:
 *
 *   g = grad * clip;  w -= lr * decay * w;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
 *   w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps);  grad = 0
 *
 *   w, grad, m, v (n) f32, in place;  copy (n) 16-bit: w rounded
 *
 * A clip of 0 leaves everything but grad as it was.  Four elements an invocation.
 * Loshchilov and Hutter, Decoupled weight decay regularization, 2019 (arXiv:1711.05101),
 * algorithm 2; the order of operations is PyTorch's. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/adamw.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_adamw_push p; };

void main()
{
    const uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                   + gl_LocalInvocationID.x;
    const float clip = BufF(p.state).v[APUS_STATE_CLIP];

    if (4 * i >= p.n)
        return;
    const vec4 g = BufF4(p.grad).v[i] * clip;
    BufF4(p.grad).v[i] = vec4(0.0);
    if (clip == 0.0)
        return;
    const float lr = uintBitsToFloat(BufU(p.step).v[p.lr_var]);
    const float bias1 = uintBitsToFloat(BufU(p.step).v[p.bias1_var]);
    const float bias2 = uintBitsToFloat(BufU(p.step).v[p.bias2_var]);
    vec4 w = BufF4(p.w).v[i];
    if (4 * i < p.n_decay)
        w *= 1.0 - lr * p.decay;
    const vec4 m = p.beta1 * BufF4(p.m).v[i] + (1.0 - p.beta1) * g;
    const vec4 v = p.beta2 * BufF4(p.v).v[i] + (1.0 - p.beta2) * g * g;
    w -= lr / bias1 * (m / (sqrt(v) / bias2 + p.eps));
    BufF4(p.w).v[i] = w;
    BufF4(p.m).v[i] = m;
    BufF4(p.v).v[i] = v;
    if (!apus_none(p.copy))
        apus_store4(p.copy_type, p.copy, i, w);
}
