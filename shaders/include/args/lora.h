/* lora.h - arguments of lora.comp and lora_vec.comp (down) and lora_up.comp, and the table of
 * adapters. */
#ifndef APUS_LORA_H
#define APUS_LORA_H
#include "dual.h"

/* One adapter of one module; the table is [module][slot]. */
struct apus_lora_entry {
    APUS_ADDR a, b; /* a (rank, K), b (N, rank), f32; 0: the slot is empty */
    float scale;
    uint rank;
    uint pad0, pad1;
};

struct apus_lora_push {
    APUS_ADDR x, table, index, h, acc, y, step; /* table: entry of the module's slot 0 */
    APUS_ROWS_FIELDS
    uint k, n;
    uint rank;  /* columns of h: the largest rank */
    uint slots; /* adapters in the table; an index past them means none */
};

#define APUS_LORA_MODULES 3 /* at most, in a dispatch for few rows */

/* Few rows of modules that read the same x. */
struct apus_lora_vec_push {
    APUS_ADDR x, norm, h, index, step;  /* norm: weights (K) of the norm of x, or 0 */
    APUS_ADDR entry[APUS_LORA_MODULES]; /* of each module's slot 0 */
    APUS_ROWS_FIELDS
    uint k;
    uint rank;                          /* columns of h for each module: the largest rank */
    uint slots;
    float eps;                          /* of the norm */
};

#endif
