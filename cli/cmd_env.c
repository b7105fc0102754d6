/* cmd_env.c - `apus env`: the environment variables of env.def with the values in force. */
#include <stdio.h>

#include "args.h"
#include "base.h"
#include "env.h"

apus_status apus_cmd_env(apus_args *args)
{
    (void)args;
    printf("%-20s %-24s %-8s %s\n", "name", "value", "default", "meaning");
    for (int i = 0; i < APUS_ENV_COUNT; i++) {
        const char *name, *or_else, *help;
        const char *value = apus_env_get((apus_env)i);

        apus_env_row((apus_env)i, &name, &or_else, &help);
        printf("%-20s %-24s %-8s %s\n", name, value[0] ? value : "-", or_else[0] ? or_else : "-",
               help);
    }
    if (fflush(stdout) != 0)
        return apus_fail(APUS_ERR_IO, "env: the table could not be written");
    return APUS_OK;
}
