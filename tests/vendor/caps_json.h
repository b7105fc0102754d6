/* caps_json.h - what a device can do, as a JSON file: recorded from drivers, read by tests. */
#ifndef VENDOR_CAPS_JSON_H
#define VENDOR_CAPS_JSON_H

#include "gpu.h"
#include "json.h"

/* Without the uuid, which names one machine's device.  NULL without memory. */
cJSON *caps_to_json(const apus_caps *caps);
/* Errors: APUS_ERR_FORMAT (a key is missing or of another type: which), those of reading. */
apus_status caps_from_file(apus_caps *caps, const char *path);

#endif
