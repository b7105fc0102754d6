/* faults.c - on a tiny model: device allocations, host allocations and file calls failing, some of
 * them each (faults_all.c: every one of them), give a status with a text, and never a crash. */
#include "faults.h"

TEST(device_allocations)
{
    faults_each(APUS_FAULT_GPU_ALLOC, generate_once, 1, 1, 10);
    faults_each(APUS_FAULT_GPU_ALLOC, train_once, 1, 2, 8); /* those of steps are survived */
}

TEST(files)
{
    faults_each(APUS_FAULT_FILE, generate_once, 1, 1, 3);
    faults_each(APUS_FAULT_FILE, train_once, 1, 11, 8);
}

TEST(host_allocations)
{
    faults_each(APUS_FAULT_HOST_ALLOC, generate_once, 1, 37, 15);
    faults_each(APUS_FAULT_HOST_ALLOC, train_once, 1, 211, 20);
}
