/* half.c - 16-bit floats: all patterns there and back, ties, limits, and a slow definition. */
#include "half.h"

#include <math.h>

#include "harness.h"

static double f16_value(uint16_t h)
{
    const int exponent = h >> 10 & 31;
    const double fraction = (double)(h & 1023);
    const double magnitude =
        exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);

    return h & 0x8000 ? -magnitude : magnitude;
}

static float from_bits(uint32_t u)
{
    union {
        uint32_t u;
        float f;
    } v = { .u = u };

    return v.f;
}

TEST(f16_all_patterns_there_and_back)
{
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = apus_f16_to_f32((uint16_t)h);
        const bool special = (h & 0x7c00) == 0x7c00;
        if (special && (h & 0x3ff))
            CHECK(isnan(f));
        else if (special)
            CHECK((double)f == (h & 0x8000 ? -HUGE_VAL : HUGE_VAL));
        else
            CHECK((double)f == f16_value((uint16_t)h));
        if (!CHECK_EQ_U64(apus_f32_to_f16(f), h))
            return;
    }
}

/* Between each two neighbours: the middle goes to the even one, and the floats beside the middle
 * to the nearer. */
TEST(f16_ties_go_to_even)
{
    for (uint32_t h = 0; h < 0x7bff; h++) {
        const float low = apus_f16_to_f32((uint16_t)h), high = apus_f16_to_f32((uint16_t)(h + 1));
        const float middle = (float)(((double)low + (double)high) / 2);
        const uint32_t even = h & 1 ? h + 1 : h;
        bool good = CHECK_EQ_U64(apus_f32_to_f16(middle), even);
        good &= CHECK_EQ_U64(apus_f32_to_f16(-middle), even | 0x8000);
        good &= CHECK_EQ_U64(apus_f32_to_f16(nextafterf(middle, 0.0f)), h);
        good &= CHECK_EQ_U64(apus_f32_to_f16(nextafterf(middle, 1e9f)), h + 1);
        if (!good)
            return;
    }
}

TEST(f16_limits)
{
    CHECK_EQ_U64(apus_f32_to_f16(65504.0f), 0x7bff);
    CHECK_EQ_U64(apus_f32_to_f16(nextafterf(65520.0f, 0.0f)), 0x7bff);
    CHECK_EQ_U64(apus_f32_to_f16(65520.0f), 0x7c00);
    CHECK_EQ_U64(apus_f32_to_f16(-1e30f), 0xfc00);
    CHECK_EQ_U64(apus_f32_to_f16(0x1p-25f), 0);
    CHECK_EQ_U64(apus_f32_to_f16(nextafterf(0x1p-25f, 1.0f)), 1);
    CHECK_EQ_U64(apus_f32_to_f16(-0x1p-140f), 0x8000);
    /* A NaN whose payload lies below what f16 keeps is no infinity. */
    CHECK_EQ_U64(apus_f32_to_f16(from_bits(0x7f800001)), 0x7e00);
}

TEST(bf16_all_patterns_there_and_back)
{
    for (uint32_t h = 0; h < 65536; h++) {
        if (!CHECK_EQ_U64(apus_f32_to_bf16(apus_bf16_to_f32((uint16_t)h)), h))
            return;
    }
}

TEST(bf16_rounding)
{
    CHECK_EQ_U64(apus_f32_to_bf16(1.0f), 0x3f80);
    CHECK_EQ_U64(apus_f32_to_bf16(from_bits(0x3f808000)), 0x3f80); /* tie to even, down */
    CHECK_EQ_U64(apus_f32_to_bf16(from_bits(0x3f818000)), 0x3f82); /* tie to even, up */
    CHECK_EQ_U64(apus_f32_to_bf16(from_bits(0x3f808001)), 0x3f81);
    CHECK_EQ_U64(apus_f32_to_bf16(from_bits(0x3f807fff)), 0x3f80);
    CHECK_EQ_U64(apus_f32_to_bf16(from_bits(0x7f7fffff)), 0x7f80); /* the largest overflows */
    CHECK_EQ_U64(apus_f32_to_bf16(from_bits(0x7f800001)), 0x7fc0); /* NaN stays NaN */
    CHECK_EQ_U64(apus_f32_to_bf16(from_bits(0xff800001)), 0xffc0);
}
