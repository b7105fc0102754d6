/* cmd_export.c - `apus export`: merge an adapter into its model. */
#include "args.h"
#include "base.h"
#include "options.h"

apus_status apus_cmd_export(apus_args *args)
{
    apus_export_options options;

    APUS_FORWARD(apus_export_options_read(&options, args));
    return apus_fail(APUS_ERR_SUPPORT, "not supported yet");
}
