/* matmul_epilogue.glsl - the end of every matmul kernel: y = alpha * sum + bias + acc.
 *
 * Y_TYPE is the format of y and acc.  16-bit elements are written as whole words: by pairs, fours,
 * or lanes that have neighbours. */
#ifndef APUS_MATMUL_EPILOGUE_GLSL
#define APUS_MATMUL_EPILOGUE_GLSL

float matmul_end1(uint m, uint n, float sum)
{
    float y = p.alpha * sum;

    if (!apus_none(p.bias))
        y += BufF(p.bias).v[n];
    if (!apus_none(p.acc))
        y += apus_load1(Y_TYPE, p.acc, m * p.n + n);
    return y;
}

/* y[m,n]; f32 only. */
void matmul_store1(uint m, uint n, float sum)
{
    BufF(p.y).v[m * p.n + n] = matmul_end1(m, n, sum);
}

/* y[m,n] and y[m,n+1] where it exists; n is even. */
void matmul_put2(uint m, uint n, vec2 y)
{
    if (Y_TYPE == APUS_F32) {
        BufF(p.y).v[m * p.n + n] = y.x;
        if (n + 1 < p.n)
            BufF(p.y).v[m * p.n + n + 1] = y.y;
        return;
    }
    apus_store2(Y_TYPE, p.y, (m * p.n + n) >> 1, y);
}

void matmul_store2(uint m, uint n, vec2 sum)
{
    matmul_put2(m, n, vec2(matmul_end1(m, n, sum.x),
                           matmul_end1(m, min(n + 1, p.n - 1), sum.y)));
}

void matmul_store4(uint m, uint n4, vec4 sum)
{
    const uint at = m * (p.n >> 2) + n4;
    vec4 y = p.alpha * sum;

    if (!apus_none(p.bias))
        y += BufF4(p.bias).v[n4];
    if (!apus_none(p.acc))
        y += apus_load4(Y_TYPE, p.acc, at);
    apus_store4(Y_TYPE, p.y, at, y);
}

/* y[m,n] .. y[m,n+3], those that exist; n is a multiple of 4, and p.n too in 16 bits. */
void matmul_store_quad(uint m, uint n, vec4 sum)
{
    if (Y_TYPE != APUS_F32 || (p.n & 3u) == 0u) {
        matmul_store4(m, n / 4, sum);
        return;
    }
    [[unroll]] for (uint c = 0; c < 4; c++)
        if (n + c < p.n)
            matmul_store1(m, n + c, sum[c]);
}

#ifdef MATMUL_LANES
/* y[m,n] of a lane whose neighbour, of the other parity, has the other column of the pair. */
void matmul_put_lane(uint m, uint n, float y)
{
    if (Y_TYPE == APUS_F32) {
        BufF(p.y).v[m * p.n + n] = y;
        return;
    }
    const float other = subgroupShuffleXor(y, 1);
    if ((n & 1u) == 0u)
        apus_store2(Y_TYPE, p.y, (m * p.n + n) >> 1, vec2(y, other));
}

void matmul_store_lane(uint m, uint n, float sum)
{
    matmul_put_lane(m, n, matmul_end1(m, n, sum));
}
#endif

#endif
