/* shaders.h - the SPIR-V modules of this build, by name.  Generated table, hand-written
 * interface. */
#ifndef APUS_SHADERS_H
#define APUS_SHADERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct apus_shader {
    const char *name; /* "<file>" or "<file>.<variant>" */
    const uint32_t *words;
    size_t bytes;
} apus_shader;

extern const apus_shader apus_shaders[]; /* sorted by name */
extern const size_t apus_n_shaders;
extern const int apus_shaders_coop; /* 1: glslc knew KHR cooperative matrices */

#endif
