/* types.h - the number formats that a model is computed with. */
#ifndef APUSI_MODEL_TYPES_H
#define APUSI_MODEL_TYPES_H

#include "caps.h"
#include "net.h"

typedef struct apus_model_types {
    apus_dtype act;          /* activations and their gradients */
    apus_dtype cache;        /* keys and values of a session */
    apus_narrow narrow;      /* how far algorithms may round their inputs in training */
    const char *torch_dtype; /* the flag that gives the same activations and algorithms */
} apus_model_types;

/* The format that a --torch_dtype names.  Errors: APUS_ERR_ARG (there is no such one). */
apus_status apus_torch_dtype_read(apus_dtype *out, const char *torch_dtype);

/* By flag (NULL: none), config (what the files say, APUS_DTYPE_COUNT: nothing) and device (NULL:
 * there is none).  Errors: APUS_ERR_ARG. */
apus_status apus_types_choose(apus_model_types *out, const char *torch_dtype, apus_dtype config,
                              const apus_net_dims *dims, const apus_caps *caps);

#endif
