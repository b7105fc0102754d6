/* os_interrupt.h - Ctrl-C as a request to stop. */
#ifndef APUSI_OS_INTERRUPT_H
#define APUSI_OS_INTERRUPT_H

#include "apus/base.h"

/* From now on the first Ctrl-C (or SIGTERM) sets cancel->requested and a second one ends the
 * process.  A read that waits for input is interrupted too. */
void apusi_interrupt_catch(apus_cancel *cancel);
/* Whether it was SIGTERM: nobody is there to be asked again. */
bool apusi_interrupt_is_final(void);
/* Ctrl-C ends the process again. */
void apusi_interrupt_leave(void);

#endif
