/* families.h - declarations of the families' tables, from arch.def. */
#ifndef APUSI_FAMILIES_H
#define APUSI_FAMILIES_H

#include "arch.h"

#define ARCH(x) extern const apus_arch apus_arch_##x;
#include "arch.def"
#undef ARCH

#endif
