/* cmds.h - the commands of the program, from cmds.def. */
#ifndef APUS_CLI_CMDS_H
#define APUS_CLI_CMDS_H

#include "apus/base.h"

typedef struct apus_args apus_args;

typedef enum apus_cmd {
#define X(name, state, positional, help) APUS_CMD_##name,
#include "cmds.def"
#undef X
    APUS_CMD_COUNT
} apus_cmd;

/* The body of a command.  `args` is parsed and stays the caller's; a body may put the values in
 * force back into it (apus_args_set) before it writes args.json.  apus_fail describes a failure. */
typedef apus_status apus_cmd_run(apus_args *args);

typedef struct apus_cmd_row {
    const char *name;       /* with '_' between words */
    apus_cmd_run *run;      /* NULL: known and not supported yet */
    const char *positional; /* row of args.def that takes a bare word, or NULL */
    const char *help;
} apus_cmd_row;

const apus_cmd_row *apus_cmd_of(apus_cmd cmd);
/* By name, with '-' or '_' between words. */
bool apus_cmd_find(const char *name, apus_cmd *cmd);

#define APUS_CMD_BUILT(name) apus_status apus_cmd_##name(apus_args *args);
#define APUS_CMD_REFUSED(name)
#define X(name, state, positional, help) APUS_CMD_##state(name)
#include "cmds.def"
#undef X
#undef APUS_CMD_BUILT
#undef APUS_CMD_REFUSED

/* The whole program: parse, run, describe a failure on stderr.  Returns the exit code: 0 done, 1
 * failed, 2 called wrongly (a command or flag that is unknown, not supported yet or out of its
 * limits), 130 interrupted. */
int apus_cli_main(int argc, char **argv);

#endif
