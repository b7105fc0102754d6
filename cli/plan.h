/* plan.h - what `apus plan` prints. */
#ifndef APUSI_CLI_PLAN_H
#define APUSI_CLI_PLAN_H

#include "json.h"
#include "options.h"
#include "str.h"

/* A page about one class of devices. */
void apusi_plan_page(apus_str *out, const apus_plan_options *o, const apus_gpu_class *device,
                     const apus_forecast *f);
/* A line of a table of classes; NULL: its head. */
void apusi_plan_line(apus_str *out, const apus_forecast *f);
/* The same as an object.  NULL without memory. */
cJSON *apusi_plan_json(const apus_gpu_class *device, const apus_forecast *f);

#endif
