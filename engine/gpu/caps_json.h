/* caps_json.h - what a device can do, as JSON: recorded from drivers (classes/), read again where
 * the device is not there.  Private. */
#ifndef APUSI_CAPS_JSON_H
#define APUSI_CAPS_JSON_H

#include "caps.h"
#include "json.h"

/* Without the uuid, which names one machine's device.  NULL without memory. */
cJSON *apus_caps_to_json(const apus_caps *caps);
/* `where` names the source in error texts.
 * Errors: APUS_ERR_FORMAT (a key is missing or of another type: which). */
apus_status apus_caps_from_json(apus_caps *caps, const cJSON *json, const char *where);

#endif
