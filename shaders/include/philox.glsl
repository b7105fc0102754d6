/* philox.glsl - Philox 4x32-10: the same bits as engine/base/rng.c.  Salmon et al., SC 2011. */
#ifndef APUS_PHILOX_GLSL
#define APUS_PHILOX_GLSL

uvec4 apus_philox(uvec2 key, uvec4 c)
{
    for (int round = 0; round < 10; round++) {
        uint hi0, lo0, hi1, lo1;
        umulExtended(0xD2511F53u, c.x, hi0, lo0);
        umulExtended(0xCD9E8D57u, c.z, hi1, lo1);
        c = uvec4(hi1 ^ c.y ^ key.x, lo1, hi0 ^ c.w ^ key.y, lo0);
        key += uvec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

/* 32 bits to [0, 1) by the upper 24. */
float apus_uniform(uint bits)
{
    return float(bits >> 8) * (1.0 / 16777216.0);
}

#endif
