/* env.h - environment variables by table (env.def). */
#ifndef APUSI_ENV_H
#define APUSI_ENV_H

#include "base.h"

typedef enum apus_env {
#define X(name, or_else, help) name,
#include "env.def"
#undef X
    APUS_ENV_COUNT
} apus_env;

/* The value, or the default of the table when it is unset.  Never NULL. */
const char *apus_env_get(apus_env which);
bool apus_env_on(apus_env which); /* set, and neither "" nor "0" */
void apus_env_row(apus_env which, const char **name, const char **or_else, const char **help);

/* Faults for tests: true when this is the n-th call of `kind` that APUS_FAULT asks to fail. */
typedef enum apus_fault {
    APUS_FAULT_GPU_ALLOC,
    APUS_FAULT_HOST_ALLOC,
    APUS_FAULT_FILE,
    APUS_FAULT_GPU_LOST, /* a submission or a wait */
    APUS_FAULT_COUNT
} apus_fault;
bool apus_fault_now(apus_fault kind);
/* Set from a test: fail the n-th call from now (1 is the next); 0 switches it off. */
void apus_fault_set(apus_fault kind, uint64_t n);
/* Whether a fault that was asked for has not fired yet. */
bool apus_fault_pending(apus_fault kind);

#endif
