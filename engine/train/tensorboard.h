/* tensorboard.h - an event file for TensorBoard: scalars and texts by tag and step.
 *
 * The file is runs/events.out.tfevents.SECONDS.HOST.PID.0 under the run's folder, as torch's writer
 * names it.  Belongs to one thread. */
#ifndef APUSI_TENSORBOARD_H
#define APUSI_TENSORBOARD_H

#include "run_log.h"

typedef struct apus_tensorboard apus_tensorboard;

typedef struct apus_tensorboard_params {
    const char *folder; /* runs/ of the run; made with its parents */
    const char *host;   /* NULL: what /etc/hostname says, or localhost */
    uint64_t pid;       /* 0: a number from the clock */
} apus_tensorboard_params;

/* Errors: APUS_ERR_IO, APUS_ERR_MEMORY. */
apus_status apus_tensorboard_open(apus_tensorboard **out, const apus_tensorboard_params *params);
void apus_tensorboard_close(apus_tensorboard **board);
/* The file's path; borrowed until close. */
const char *apus_tensorboard_path(const apus_tensorboard *board);

/* Each record is appended and flushed.  Errors: APUS_ERR_IO, APUS_ERR_MEMORY. */
apus_status apus_tensorboard_scalar(apus_tensorboard *board, const char *tag, uint64_t step,
                                    double value);
/* Shown as Markdown.  `name` becomes the tag NAME/text_summary ("args", "model_config"). */
apus_status apus_tensorboard_text(apus_tensorboard *board, const char *name, const char *text);
/* The values of a log and its epoch, under train/ and eval/. */
apus_status apus_tensorboard_log(apus_tensorboard *board, const apus_log_entry *entry);

/* CRC-32C with TensorFlow's mask, which guards lengths and records. */
uint32_t apusi_masked_crc(const void *data, size_t bytes);

#endif
