/* sizes.h - numbers as people read them. */
#ifndef APUSI_SIZES_H
#define APUSI_SIZES_H

#include "apus/base.h"

/* "812.4 MiB", "15.6 GiB". */
void apusi_bytes_text(char *out, size_t room, uint64_t bytes);
/* "134.5150M" params, as swift counts them. */
void apusi_millions_text(char *out, size_t room, uint64_t n);
/* "40 s", "12 min", "3 h 20 min". */
void apusi_duration_text(char *out, size_t room, double seconds);

#endif
