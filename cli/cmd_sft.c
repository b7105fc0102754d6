/* cmd_sft.c - `apus sft`: fine-tune a model. */
#include "args.h"
#include "base.h"
#include "options.h"

apus_status apus_cmd_sft(apus_args *args)
{
    apus_sft_options options;

    APUS_FORWARD(apus_sft_options_read(&options, args));
    return apus_fail(APUS_ERR_SUPPORT, "not supported yet");
}
