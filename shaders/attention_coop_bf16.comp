#version 450
//! needs coop bf16
/* Attention on matrix cores, operands rounded to bf16: see the header. */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_bfloat16 : require
#define T bfloat16_t
#define T_TYPE APUS_BF16
#define T_BITS(x) uvec2(apus_bf16_pair((x).xy), apus_bf16_pair((x).zw))
#include "attention_coop.glsl"
