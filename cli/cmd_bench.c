/* cmd_bench.c - `apus bench`: measure speed on a device. */
#include "args.h"
#include "base.h"
#include "options.h"

apus_status apus_cmd_bench(apus_args *args)
{
    apus_bench_options options;

    APUS_FORWARD(apus_bench_options_read(&options, args));
    return apus_fail(APUS_ERR_SUPPORT, "not supported yet");
}
