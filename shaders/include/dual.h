/* dual.h - lets one header hold a kernel's argument struct for C and for GLSL.
 *
 *     struct apus_x_push {
 *         APUS_ADDR x, y;   (addresses first: they are 8-byte aligned)
 *         APUS_ROWS_FIELDS  (which rows are live, for apus_live_rows() of mem.glsl)
 *         uint cols;
 *         float eps;
 *     };
 *
 * An address is a uint64_t in C and a uvec2 (low word first) in GLSL, so that no shader needs
 * 64-bit integers; GL_EXT_buffer_reference_uvec2 turns it into a reference.  Both languages give
 * such a struct the same layout when 8-byte members come first; use only APUS_ADDR, uint, int
 * and float. (APUS_U32 and the like are number formats of engine/base/dtype.h: not types.) GLSL:
 * layout(push_constant) uniform Push { apus_x_push p; }; */
#ifndef APUS_DUAL_H
#define APUS_DUAL_H

#ifdef GL_core_profile
#define APUS_ADDR uvec2
#else
#include <stdint.h>
#define APUS_ADDR uint64_t
typedef unsigned int uint; /* glibc declares it too; the same typedef twice is fine in C11 */
#endif

/* Live rows: min(step[rows_var] - rows_skip, rows_max) * rows_mul, or rows_max * rows_mul where
 * rows_var is 0xffffffff. */
#define APUS_ROWS_FIELDS uint rows_var, rows_skip, rows_max, rows_mul;

#endif
