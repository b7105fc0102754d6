/* lora_table.glsl - reading the table of adapters. */
#ifndef APUS_LORA_TABLE_GLSL
#define APUS_LORA_TABLE_GLSL

layout(buffer_reference, std430, buffer_reference_align = 8) readonly
    buffer BufLora { apus_lora_entry v[]; };

/* The entry of row t, or one with a = 0. */
apus_lora_entry lora_entry(uint t)
{
    const uint slot = BufU(p.index).v[t];
    apus_lora_entry none;

    none.a = none.b = uvec2(0);
    none.scale = 0.0;
    none.rank = 0;
    if (slot >= p.slots)
        return none;
    return BufLora(p.table).v[slot];
}

#endif
