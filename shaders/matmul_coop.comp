#version 450
//! needs coop
/* y = alpha * op(a) op(b) + bias + acc on matrix cores, operands rounded to f16: see the header. */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define T float16_t
#define T4 f16vec4
#define T_LARGEST 65504.0
#include "matmul_coop.glsl"
