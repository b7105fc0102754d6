#version 450
//! needs coop
/* Attention on matrix cores, operands rounded to f16: see the header. */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define T float16_t
#define T_TYPE APUS_F16
#define T_BITS(x) uvec2(packFloat2x16(f16vec2((x).xy)), packFloat2x16(f16vec2((x).zw)))
#define T_LARGEST 65504.0
#include "attention_coop.glsl"
