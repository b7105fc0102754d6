/* cmd_inspect.c - `apus inspect`: what a model is made of. */
#include "args.h"
#include "base.h"
#include "options.h"

apus_status apus_cmd_inspect(apus_args *args)
{
    apus_inspect_options options;

    APUS_FORWARD(apus_inspect_options_read(&options, args));
    return apus_fail(APUS_ERR_SUPPORT, "not supported yet");
}
