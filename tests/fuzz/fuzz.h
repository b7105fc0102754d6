/* fuzz.h - what a fuzz target defines; libFuzzer or replay.c calls it. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Try one input, of exactly `bytes` bytes.  Returns 0; a fault is a crash, an abort or a
 * sanitizer's report. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#endif
