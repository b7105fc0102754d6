/* lora_table.glsl - reading the table of adapters. */
#ifndef APUS_LORA_TABLE_GLSL
#define APUS_LORA_TABLE_GLSL
#include "args/lora.h"

layout(buffer_reference, std430, buffer_reference_align = 8) readonly
    buffer BufLora { apus_lora_entry v[]; };

/* The entry of row t among a module's `slots`, which begin at `table`, or one with a = 0. */
apus_lora_entry lora_entry(uvec2 table, uvec2 index, uint slots, uint t)
{
    const uint slot = BufU(index).v[t];
    apus_lora_entry none;

    none.a = none.b = uvec2(0);
    none.scale = 0.0;
    none.rank = 0;
    if (slot >= slots)
        return none;
    return BufLora(table).v[slot];
}

#endif
