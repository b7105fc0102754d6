/* duration.c - the time of a list that no device has run.  See duration.h. */
#include "duration.h"

#include "bound.h"

#define BUS_SHARE 0.8 /* that copies reach of a bus: an assumption */

enum { PEAK_F32, PEAK_MATRIX };

static const struct {
    const char *kernel;
    apus_device_class class;
    int peak;
    double flops, bytes;
} efficiency[] = {
#define X(kernel, class, peak, flops, bytes)                                                       \
    { kernel, APUS_CLASS_##class, PEAK_##peak, flops, bytes },
#include "efficiency.def"
#undef X
};

static double kernel_time(const apus_gpu_class *device, apus_device_class class, const char *kernel,
                          double flops, double bytes)
{
    size_t i = 0;

    while (efficiency[i].class != class ||
           strncmp(kernel, efficiency[i].kernel, strlen(efficiency[i].kernel)) != 0)
        i++; /* the last row of each class fits all */
    const double peak =
        efficiency[i].peak == PEAK_MATRIX ? device->matrix_flops_s : device->f32_flops_s;
    const double arithmetic = flops / (peak * efficiency[i].flops);
    const double traffic = bytes / (device->bytes_s * efficiency[i].bytes);
    return arithmetic > traffic ? arithmetic : traffic;
}

/* Seconds that the bus is busy with what the item reads and writes of the host's memory. */
static double bus_time(const apus_gpu_class *device, const apus_item *item, double bytes)
{
    const apus_node *n = item->node;
    double crossing = 0;

    for (uint32_t i = 0; n && i < n->n_in; i++)
        if (n->in[i] && n->in[i]->place.host)
            crossing += (n->mutates >> i & 1 ? 2.0 : 1.0) * (double)n->in[i]->bytes;
    if (crossing > bytes) /* of a table only rows are read */
        crossing = bytes;
    return device->bus_s > 0 ? crossing / (BUS_SHARE * device->bus_s) : 0;
}

/* Add what an item does; its estimates are of the largest grid. */
static void add(apus_list_time *sum, const apus_list *list, const apus_item *item,
                const apus_gpu_class *device, apus_device_class class, const apus_list_work *work)
{
    const double part = apusi_live_part(apusi_item_rows(list, item), work->vars);
    double flops = item->flops * part, bytes = item->fixed + (item->moved - item->fixed) * part;

    if (item->kind != APUS_ITEM_DISPATCH) {
        sum->bytes += (double)item->bytes;
        sum->seconds += (double)item->bytes / device->bytes_s;
        return;
    }
    if (item->rough) { /* attention: all pairs of the rows that there may be */
        const double rows = item->node->in[0]->dims[0];
        flops = item->flops * work->pairs / (rows * rows);
        bytes += work->cache_bytes;
    }
    const double kernel = kernel_time(device, class, item->kernel.name, flops, bytes);
    const double bus = bus_time(device, item, bytes);
    sum->dispatches++;
    sum->flops += flops;
    sum->bytes += bytes;
    sum->seconds += (kernel > bus ? kernel : bus) + device->dispatch_s;
}

apus_list_time apus_list_duration(const apus_list *list, const apus_gpu_class *device,
                                  apus_device_class class, const apus_list_work *work)
{
    apus_list_time sum = { 0 };

    for (uint32_t i = 0; i < list->n_items; i++)
        add(&sum, list, &list->items[i], device, class, work);
    return sum;
}
