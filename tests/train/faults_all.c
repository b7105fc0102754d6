/* faults_all.c - on a tiny model: every single device allocation, host allocation and file call
 * failing.  A test of some ten minutes; faults.c is the quick one. */
#include "faults.h"

TEST(device_allocations)
{
    faults_each(APUS_FAULT_GPU_ALLOC, generate_once, 1, 1, 10);
    faults_each(APUS_FAULT_GPU_ALLOC, train_once, 1, 1, 16); /* those of steps are survived */
}

TEST(files)
{
    faults_each(APUS_FAULT_FILE, generate_once, 1, 1, 3);
    faults_each(APUS_FAULT_FILE, train_once, 1, 1, 90);
}

TEST(host_allocations_of_generation)
{
    faults_each(APUS_FAULT_HOST_ALLOC, generate_once, 1, 1, 600);
}

/* In four parts, which can be run at the same time. */
TEST(host_allocations_of_training_1)
{
    faults_each(APUS_FAULT_HOST_ALLOC, train_once, 1, 4, 1000);
}

TEST(host_allocations_of_training_2)
{
    faults_each(APUS_FAULT_HOST_ALLOC, train_once, 2, 4, 1000);
}

TEST(host_allocations_of_training_3)
{
    faults_each(APUS_FAULT_HOST_ALLOC, train_once, 3, 4, 1000);
}

TEST(host_allocations_of_training_4)
{
    faults_each(APUS_FAULT_HOST_ALLOC, train_once, 4, 4, 1000);
}
