/* env.c - the only reader of the environment, and the faults that tests ask for through it. */
#include "env.h"

#include <stdatomic.h>
#include <threads.h>

typedef struct env_row {
    const char *name, *or_else, *help;
} env_row;

static const env_row rows[APUS_ENV_COUNT] = {
#define X(name, or_else, help) [name] = { #name, or_else, help },
#include "env.def"
#undef X
};

const char *apus_env_get(apus_env which)
{
    APUS_BUG_IF((unsigned)which >= APUS_ENV_COUNT);
    const char *value = getenv(rows[which].name);
    return value ? value : rows[which].or_else;
}

bool apus_env_on(apus_env which)
{
    const char *value = apus_env_get(which);

    return value[0] && strcmp(value, "0") != 0;
}

void apus_env_row(apus_env which, const char **name, const char **or_else, const char **help)
{
    APUS_BUG_IF((unsigned)which >= APUS_ENV_COUNT);
    *name = rows[which].name;
    *or_else = rows[which].or_else;
    *help = rows[which].help;
}

static const char *const fault_names[APUS_FAULT_COUNT] = {
    [APUS_FAULT_GPU_ALLOC] = "gpu_alloc",
    [APUS_FAULT_HOST_ALLOC] = "host_alloc",
    [APUS_FAULT_FILE] = "file",
    [APUS_FAULT_GPU_LOST] = "gpu_lost",
};

/* Calls until the one that fails; 0: none will. */
static _Atomic uint64_t fault_left[APUS_FAULT_COUNT];
static once_flag fault_once = ONCE_FLAG_INIT;

/* One "kind:N" of the list; returns what follows it. */
static const char *read_fault(const char *text)
{
    const size_t n = strcspn(text, ",");
    const char *colon = memchr(text, ':', n);
    bool known = false;

    for (int i = 0; colon && i < APUS_FAULT_COUNT; i++) {
        if (strlen(fault_names[i]) != (size_t)(colon - text) ||
            memcmp(fault_names[i], text, (size_t)(colon - text)) != 0)
            continue;
        char *end;
        const unsigned long long at = strtoull(colon + 1, &end, 10);
        known = end == text + n && end != colon + 1;
        if (known)
            atomic_store(&fault_left[i], at);
    }
    if (!known)
        apus_log(APUS_LOG_WARN, "APUS_FAULT: \"%.*s\" is not kind:N", (int)n, text);
    return text + n + (text[n] == ',');
}

static void read_faults(void)
{
    const char *text = apus_env_get(APUS_FAULT);

    while (*text)
        text = read_fault(text);
}

bool apus_fault_now(apus_fault kind)
{
    call_once(&fault_once, read_faults);
    uint64_t left = atomic_load_explicit(&fault_left[kind], memory_order_relaxed);
    while (left && !atomic_compare_exchange_weak(&fault_left[kind], &left, left - 1))
        ;
    return left == 1;
}

void apus_fault_set(apus_fault kind, uint64_t n)
{
    call_once(&fault_once, read_faults);
    atomic_store(&fault_left[kind], n);
}

bool apus_fault_pending(apus_fault kind)
{
    call_once(&fault_once, read_faults);
    return atomic_load(&fault_left[kind]) != 0;
}
