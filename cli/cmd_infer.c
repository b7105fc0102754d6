/* cmd_infer.c - `apus infer`: chat, or answer the rows of a file. */
#include "args.h"
#include "base.h"
#include "options.h"

apus_status apus_cmd_infer(apus_args *args)
{
    apus_infer_options options;

    APUS_FORWARD(apus_infer_options_read(&options, args));
    return apus_fail(APUS_ERR_SUPPORT, "not supported yet");
}
