/* narrow.glsl - operands of matrix cores: four numbers rounded to T (T_BITS).  What is finite and
 * beyond T_LARGEST, if T has such a bound, becomes its largest number, not infinity; infinity and
 * NaN stay what they are. */
#ifndef APUS_NARROW_GLSL
#define APUS_NARROW_GLSL

uvec2 narrowed(vec4 x, uint type)
{
#ifdef T_LARGEST
    if (type != APUS_F16) /* what is stored in it, or rounded to one of f32's, needs nothing */
        [[unroll]] for (uint i = 0; i < 4; i++)
            x[i] = abs(x[i]) > T_LARGEST && !isinf(x[i]) ? sign(x[i]) * T_LARGEST : x[i];
#endif
    return T_BITS(x);
}

#endif
