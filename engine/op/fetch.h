/* fetch.h - a copy of bytes that lie in the host's memory. */
#ifndef APUSI_OP_FETCH_H
#define APUSI_OP_FETCH_H

#include "graph.h"

/* Rows of a matrix product up to which b is read once, so that it may lie anywhere. */
#define APUS_FETCH_ROWS 8

/* The bytes of x in planned memory.
 *
 *   x (any shape and format, all rows live)  ->  the same shape and format
 *
 * `beside` (or NULL) is not read: the copy begins when that is there, so that it runs beside what
 * does read it.  Gradient: none.  Errors: APUS_ERR_SHAPE (16 bits in rows of no whole fours). */
apus_tensor *apus_fetch(apus_graph *g, apus_tensor *x, apus_tensor *beside);

#endif
