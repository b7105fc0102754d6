/* matmul_epilogue.glsl - the end of every matmul kernel: y = alpha * sum + bias + acc. */
#ifndef APUS_MATMUL_EPILOGUE_GLSL
#define APUS_MATMUL_EPILOGUE_GLSL

void matmul_store1(uint m, uint n, float sum)
{
    const uint at = m * p.n + n;
    float y = p.alpha * sum;

    if (!apus_none(p.bias))
        y += BufF(p.bias).v[n];
    if (!apus_none(p.acc))
        y += BufF(p.acc).v[at];
    BufF(p.y).v[at] = y;
}

void matmul_store4(uint m, uint n4, vec4 sum)
{
    const uint at = m * (p.n >> 2) + n4;
    vec4 y = p.alpha * sum;

    if (!apus_none(p.bias))
        y += BufF4(p.bias).v[n4];
    if (!apus_none(p.acc))
        y += BufF4(p.acc).v[at];
    BufF4(p.y).v[at] = y;
}

#endif
